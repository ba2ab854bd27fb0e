//! Receivers with a limit, on real sockets: each gets what it takes with few refusals, and none slows another down.
//! The same is shown in virtual time, for more limits and longer ways, beside `domain::pace`.

use std::time::{Duration, Instant};

use crate::harness::{Destination, Reply, Setup, within};

/// Receivers by name, with their limit in events a second and as they keep it.
const LIMITED: [(&str, f64, bool); 8] = [
    ("window-1", 1.0, false),
    ("bucket-1", 1.0, true),
    ("window-2", 2.0, false),
    ("bucket-2", 2.0, true),
    ("window-10", 10.0, false),
    ("bucket-10", 10.0, true),
    ("window-50", 50.0, false),
    ("bucket-50", 50.0, true),
];
const CONVERSATIONS: usize = 40;

#[tokio::test]
async fn receivers_of_every_pace_get_what_they_take_beside_one_without_a_limit() {
    let mut setup = Setup::new();
    for (name, rate, _) in LIMITED {
        let mut destination = Destination::new(name);
        if rate < 10.0 {
            destination.callback_events = vec!["turn.*".to_owned()];
        }
        setup = setup.destination(destination.set("retry_schedule", "[\"1s\", \"5s\", \"20s\"]"));
    }
    let mut bridge = setup.start().await;
    bridge.admin("POST", "/admin/v1/frontends/web/pause").send().await.expect(200);
    let conversations: Vec<_> = (0..CONVERSATIONS).map(|n| format!("c-{n}")).collect();
    for (conversation, id) in bridge.say_in_each(conversations, "Where is my order?").await {
        bridge.end_of(&conversation, &id).await;
    }
    for (name, rate, is_bucket) in LIMITED {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and whole")]
        let limit = if is_bucket { Reply::Bucket(rate, rate) } else { Reply::PerSecond(rate as usize) };
        bridge.receiver.always_at(&format!("web-{name}"), Some(limit));
    }
    let started = Instant::now();
    bridge.admin("POST", "/admin/v1/frontends/web/resume").send().await.expect(200);
    within(Duration::from_secs(240), "everything to be delivered", async || {
        bridge.deliveries("state=pending").await.is_empty().then_some(())
    })
    .await;
    println!("{:<10} {:>6} {:>8} {:>8} {:>8}", "receiver", "events", "ideal s", "took s", "refused");
    let mut failed = Vec::new();
    for (name, rate, _) in LIMITED {
        let attempts = bridge.receiver.at(&format!("web-{name}"));
        let taken: Vec<_> = attempts.iter().filter(|one| one.is_delivered()).map(|one| one.at).collect();
        let took = taken.iter().max().expect("some were taken").duration_since(started).as_secs_f64();
        let share = (attempts.len() - taken.len()) as f64 / attempts.len() as f64;
        let ideal = (taken.len() as f64 - rate).max(0.0) / rate;
        let line = format!("{name:<10} {:>6} {ideal:>8.1} {took:>8.1} {:>7.1}%", taken.len(), share * 100.0);
        println!("{line}");
        // The bars of time are kept in virtual time: here the machine's own pauses count, and are printed.
        if share >= 0.2 || taken.len() < CONVERSATIONS {
            failed.push(line);
        }
    }
    let neighbour = bridge.receiver.at("web").iter().map(|one| one.at).max().expect("it is called back, too");
    let slowest = bridge.receiver.at("web-window-1");
    let meanwhile = slowest.iter().filter(|one| one.is_delivered() && one.at < neighbour).count();
    println!("the one without a limit has everything after {:.1} s", neighbour.duration_since(started).as_secs_f64());
    assert!(meanwhile * 2 < CONVERSATIONS, "the one without a limit waits for those with one: {meanwhile}");
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
    bridge.finish().await;
}
