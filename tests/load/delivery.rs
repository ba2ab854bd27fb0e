//! Callbacks out: how old they are when they arrive, how many per second, and what trouble elsewhere costs.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    Bench,
    bridge::{self, Bridge, Setup},
    client,
    histogram::Histogram,
    receiver::Mood,
    say,
    seed::{self, Backlog},
};

/// Recorded → arrived at the receiver, at several rates of replies, one callback per conversation at a time.
pub async fn paced(bench: &Bench) -> Result<()> {
    for per_second in [50, 200, 1000] {
        let bridge = bench.setup(bridge::folder(&bench.folder, &format!("paced-{per_second}"))?).start().await?;
        bench.receiver.reset();
        let count = per_second * bench.long(15).as_secs();
        let (cpu, began) = (bridge.cpu(), Instant::now());
        let sent = send(&bridge, 0, per_second, count).await;
        let sending = began.elapsed();
        let came = bench.receiver.acknowledged(count, Duration::from_secs(30)).await;
        let whole = began.elapsed();
        let used = bridge.cpu() - cpu;
        let audit = bench.receiver.audit();
        let ages = audit.ages.values().next().cloned().unwrap_or_default();
        say!(
            "delivery  {per_second}/s: recorded → received {} ; offered for {:.1} s, all there after {:.1} s ; {} ; {:.0} % of a core",
            ages.summary(),
            sending.as_secs_f64(),
            whole.as_secs_f64(),
            verdict(count, came, audit.duplicates, audit.disordered),
            100.0 * used.as_secs_f64() / whole.as_secs_f64()
        );
        if let Err(error) = sent {
            say!("          the messages could not be sent at that rate: {error}");
        }
        drop(audit);
        bridge.stop().await?;
    }
    Ok(())
}

async fn send(bridge: &Bridge, frontend: usize, per_second: u64, count: u64) -> Result<()> {
    let target = bridge.target(frontend);
    #[expect(clippy::cast_precision_loss, reason = "a small rate")]
    let rate = per_second as f64;
    let write =
        |n: u64, out: &mut Vec<u8>| target.message(&format!("c-{n}"), &format!("m-{n}"), "Where is my order?", out);
    client::paced(&target, rate, count, write, |_| ()).await?;
    Ok(())
}

fn verdict(owed: u64, came: u64, duplicates: u64, disordered: u64) -> String {
    format!(
        "lost {}, twice {duplicates}, out of order {disordered} of {owed}",
        owed.saturating_sub(came.saturating_sub(duplicates))
    )
}

/// A backlog drained flat out: alone, beside intake flat out, and with one lane in ten failing.
pub async fn drain(bench: &Bench) -> Result<()> {
    let scale = if bench.quick { 4 } else { 1 };
    let (alone, _) = backlog(bench, "drain-short", 20_000 / scale, 1, Mood::Well, false).await?;
    say!("drain     many conversations, one callback each: {alone}");
    let (deep, _) = backlog(bench, "drain-deep", 2_000 / scale, 16, Mood::Well, false).await?;
    say!("drain     2,000 conversations, 16 callbacks each, in order: {deep}");
    let (busy, _) = backlog(bench, "drain-busy", 2_000 / scale, 16, Mood::Well, true).await?;
    say!("drain     the same while intake runs flat out: {busy}");
    let (well, rate) = backlog(bench, "drain-wide", 10_000 / scale, 10, Mood::Well, false).await?;
    say!("drain     10,000 conversations, 10 callbacks each, none failing: {well}");
    let (ill, failing) = backlog(bench, "drain-failing", 10_000 / scale, 10, Mood::OneInTenFails, false).await?;
    say!(
        "drain     the same with one conversation in ten failing: {ill} = {:.0} % of the rate without",
        100.0 * failing / rate
    );
    Ok(())
}

async fn backlog(
    bench: &Bench,
    name: &str,
    lanes: usize,
    each: usize,
    mood: Mood,
    intake: bool,
) -> Result<(String, f64)> {
    let frontends = vec!["web".to_owned()];
    let setup =
        Setup { sends: false, frontends: frontends.clone(), ..bench.setup(bridge::folder(&bench.folder, name)?) };
    seed::fill(&setup.database(), &Backlog { frontends, lanes, each }).await?;
    bench.receiver.reset();
    bench.receiver.mood("web", mood);
    let failing = if mood == Mood::OneInTenFails { lanes / 10 } else { 0 };
    let owed = u64::try_from((lanes - failing) * each)?;
    let bridge = setup.start().await?;
    let cpu = bridge.cpu();
    let beside = async {
        if !intake {
            return Ok(None);
        }
        let (target, to) = (bridge.target(0), bridge.target(0));
        let long = bench.long(8);
        let write = move |n: u64, out: &mut Vec<u8>| {
            to.message(&format!("new-{n}"), &format!("m-{n}"), "Where is my order?", out)
        };
        client::flat_out(&target, 64, long, write).await.map(Some)
    };
    let (came, beside) = tokio::join!(bench.receiver.acknowledged(owed, Duration::from_secs(60)), beside);
    let used = bridge.cpu() - cpu;
    let audit = bench.receiver.audit();
    let span = audit.span.map_or(Duration::ZERO, |(first, last)| last.duration_since(first));
    #[expect(clippy::cast_precision_loss, reason = "counts to be divided")]
    let (rate, each) = (came as f64 / span.as_secs_f64(), used.as_secs_f64() * 1e6 / came.max(1) as f64);
    let beside = beside?.map_or(String::new(), |run| format!(" ; beside {:.0} intakes/s", run.rate()));
    let cpu = if intake { String::new() } else { format!(" ; {each:.0} µs of bridge CPU each") };
    let told = format!(
        "{rate:.0}/s ; {}{beside}{cpu} ; attempts that failed {}",
        verdict(owed, came, audit.duplicates, audit.disordered),
        audit.failed
    );
    drop(audit);
    bridge.stop().await?;
    Ok((told, rate))
}

/// Ten frontends; what the others notice when one of them fails, and when it hangs.
pub async fn neighbours(bench: &Bench) -> Result<()> {
    let frontends: Vec<String> = (0..10).map(|n| format!("shop-{n}")).collect();
    for (name, mood) in [("all well", Mood::Well), ("one fails", Mood::Fails), ("one takes 2 s", Mood::Slow)] {
        let folder = bridge::folder(&bench.folder, &format!("neighbours-{mood:?}"))?;
        let bridge = Setup { frontends: frontends.clone(), ..bench.setup(folder) }.start().await?;
        bench.receiver.reset();
        bench.receiver.mood(&frontends[0], mood);
        let count = 20 * bench.long(15).as_secs();
        let (_, sent) = tokio::join!(
            async {},
            futures_util::future::join_all((0..10).map(|frontend| send(&bridge, frontend, 20, count)))
        );
        for one in sent {
            one?;
        }
        bench.receiver.acknowledged(count * if mood == Mood::Well { 10 } else { 9 }, Duration::from_secs(20)).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let audit = bench.receiver.audit();
        let mut others = Histogram::default();
        for (_, ages) in audit.ages.iter().filter(|(path, _)| **path != format!("/{}", frontends[0])) {
            others.merge(ages.clone());
        }
        say!(
            "ten       {name}: the nine others, 20/s each: {} ; twice {}, out of order {}, failed attempts {}",
            others.summary(),
            audit.duplicates,
            audit.disordered,
            audit.failed
        );
        drop(audit);
        bridge.stop().await?;
    }
    Ok(())
}
