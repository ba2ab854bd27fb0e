//! Paging, compared with a plain sort over everything, and with very many conversations.

use std::time::Instant;

use super::*;

/// Reads all pages from the newest on, and then all the way back.
async fn walk(bench: &Bench, query: &str) -> (Vec<String>, Vec<String>) {
    let (mut down, mut path) = (Vec::new(), query.to_owned());
    let mut page = bench.list(&path).await;
    loop {
        down.extend(ids(&page["interactions"]));
        assert_eq!(page["hasMore"], page["nextCursor"].is_string());
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("{query}&direction=next&cursor={cursor}");
        page = bench.list(&path).await;
    }
    let mut up: Vec<String> = ids(&page["interactions"]);
    while let Some(cursor) = page["prevCursor"].as_str() {
        page = bench.list(&format!("{query}&direction=previous&cursor={cursor}")).await;
        up.splice(0..0, ids(&page["interactions"]));
        assert_eq!(page["hasMore"], page["prevCursor"].is_string());
    }
    (down, up)
}

#[tokio::test]
async fn pages_add_up_to_a_plain_sort_in_both_directions() {
    for seed in 0..20 {
        let bench = Bench::with(|config| config.settings.rate_limit = None);
        let mut dice = fastrand::Rng::with_seed(seed);
        // Few distinct times, so that many conversations share theirs.
        for _ in 0..dice.u32(0..60) {
            let at = START - dice.i64(0..20) * 1_000;
            let source = ["widget", "ui", "api"][dice.usize(0..3)];
            let seed = Seed {
                conversations: 1,
                events_each: dice.u32(1..5),
                from_ms: Some(at),
                to_ms: Some(at),
                source: source.into(),
                ..Seed::default()
            };
            bench.sandbox.seed(&seed).unwrap();
        }
        bench
            .sandbox
            .set(|settings| settings.since_reading = [SinceReading::Created, SinceReading::Updated][dice.usize(0..2)]);
        let (since, until) = (START - dice.i64(5..20) * 1_000, START + dice.i64(-4..4) * 1_000);
        let created = bench.sandbox.settings().since_reading == SinceReading::Created;

        let mut wanted = bench.sandbox.conversations(usize::MAX);
        wanted.retain(|known| (since..=until).contains(if created { &known.created_at } else { &known.latest_at }));
        wanted.retain(|known| known.source != "api");
        wanted.sort_by_key(|known| std::cmp::Reverse((known.latest_at, known.id)));
        let wanted: Vec<String> = wanted.iter().map(|known| known.id.to_string()).collect();

        let query = format!("limit={}&since={since}&until={until}&source=widget,ui", dice.u32(1..8));
        let (down, up) = walk(&bench, &query).await;
        assert_eq!(down, wanted, "seed {seed}, {query}");
        assert_eq!(up, wanted, "seed {seed}, {query}");
    }
}

#[tokio::test]
async fn a_cursor_follows_its_conversation() {
    let bench = Bench::new();
    let mut started = Vec::new();
    for _ in 0..4 {
        started.push(bench.start("Hello").await.0);
        bench.pass(1_000);
    }
    let page = bench.list("limit=2").await;
    let cursor = page["nextCursor"].as_str().unwrap();
    assert_eq!(cursor, started[2]);
    // It moves to the top between two pages: everything else now follows it.
    bench.sandbox.agent_message(cursor, "Hi").unwrap();
    let rest = bench.listed(&format!("cursor={cursor}")).await;
    assert_eq!(rest, [started[3].clone(), started[1].clone(), started[0].clone()]);
}

#[tokio::test]
async fn a_hundred_thousand_conversations_page_quickly() {
    let bench = Bench::with(|config| config.settings.rate_limit = None);
    let begun = Instant::now();
    let seeded = bench.sandbox.seed(&Seed { conversations: 100_000, ..Seed::default() }).unwrap();
    println!("seeding 100,000 conversations: {:?}", begun.elapsed());
    assert_eq!(bench.sandbox.conversation_count(), 100_000);
    bench.pass(10_000);

    let begun = Instant::now();
    let mut page = bench.list("limit=100").await;
    println!("first page of 100: {:?}", begun.elapsed());
    assert_eq!(ids(&page["interactions"]).first(), seeded.last_id.as_ref());
    let (begun, mut seen) = (Instant::now(), 0);
    for _ in 0..100 {
        seen += ids(&page["interactions"]).len();
        let cursor = page["nextCursor"].as_str().unwrap().to_owned();
        page = bench.list(&format!("limit=100&cursor={cursor}")).await;
    }
    println!("100 further pages, parsed: {:?}", begun.elapsed());
    assert_eq!(seen, 10_000);
    let begun = Instant::now();
    assert_eq!(bench.listed("limit=100&source=nowhere").await.len(), 0);
    println!("a filter that matches none of 100,000: {:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(bench.sandbox.conversation("seed:77777").unwrap().user_attributes["seed"], 77_777);
    bench.start("Hello").await;
    println!("a look-up by attribute and a turn among them: {:?}", begun.elapsed());
}
