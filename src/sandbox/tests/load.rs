//! Many callers at once: nothing is lost, nothing is stored twice, and the throttle is exact.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_turns_are_each_stored_and_answered_once() {
    let bench = Arc::new(Bench::with(|config| {
        config.settings.rate_limit = None;
        config.settings.reply_latency_ms = 5;
    }));
    let begun = std::time::Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..20 {
        let bench = Arc::clone(&bench);
        callers.spawn(async move {
            let (id, _) = bench.start(&format!("c{caller}")).await;
            for turn in 0..20 {
                let events = bench.go_on(&id, &format!("c{caller} t{turn}")).await;
                assert_eq!(kinds(&events), ["user/message", "finibot/message"]);
            }
            id
        });
    }
    let started = callers.join_all().await;
    println!("420 turns by 20 callers: {:?}", begun.elapsed());
    let report = bench.sandbox.audit(0, true);
    for (id, stored) in &report.inbound {
        assert!(started.contains(id));
        let mut texts: Vec<&str> = stored.iter().map(|inbound| inbound.content.as_str()).collect();
        texts.dedup();
        assert_eq!(texts.len(), 21);
        assert_eq!(bench.sandbox.conversation(id).unwrap().events.len(), 42);
    }
    assert_eq!((report.inbound.len(), report.count(Route::GenerateAnswer, 200)), (20, 420));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_throttle_admits_exactly_its_number() {
    let bench = Arc::new(Bench::new());
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..150 {
        let bench = Arc::clone(&bench);
        callers.spawn(async move { bench.get("/v2/bots/public").await.status.as_u16() });
    }
    let answers = callers.join_all().await;
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 100);
    assert_eq!(bench.sandbox.audit(0, true).throttled, 50);
}
