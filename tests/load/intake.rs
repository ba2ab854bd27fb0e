//! Messages in: how many are durable per second, how fast the program starts, and how long a reply is under way.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    Bench,
    bridge::{self, Setup},
    client::{self, Run},
    histogram::{Histogram, millis},
    say,
};

const CONNECTIONS: usize = 64;
/// Conversations that messages to existing ones go to.
const EXISTING: u64 = 2_000;

/// Start to ready, and memory at rest.
pub async fn start(bench: &Bench) -> Result<()> {
    let mut fresh = Histogram::default();
    let mut again = Histogram::default();
    for n in 0..5 {
        let setup = bench.setup(bridge::folder(&bench.folder, &format!("start-{n}"))?);
        let first = setup.start().await?;
        fresh.add(first.ready_after);
        first.stop().await?;
        let second = setup.start().await?;
        again.add(second.ready_after);
        second.stop().await?;
    }
    say!(
        "start     process start to /readyz 200: new database {} ms, existing {} ms (medians of 5)",
        millis(fresh.quantile(0.5)),
        millis(again.quantile(0.5))
    );
    let bridge = bench.setup(bridge::folder(&bench.folder, "idle")?).start().await?;
    tokio::time::sleep(Duration::from_secs(if bench.quick { 3 } else { 15 })).await;
    let before = (bridge.cpu(), Instant::now());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let busy = (bridge.cpu() - before.0).as_secs_f64() / before.1.elapsed().as_secs_f64();
    say!("idle      {:.1} MiB resident, {:.1} % of a core", bridge.resident(), busy * 100.0);
    bridge.stop().await?;
    Ok(())
}

/// Durable intakes per second: new and existing conversations, with sends paused and with Fini answering.
pub async fn intake(bench: &Bench) -> Result<()> {
    for sends in [false, true] {
        let setup = Setup {
            sends,
            events: "conversation.escalated",
            ..bench.setup(bridge::folder(&bench.folder, &format!("intake-{sends}"))?)
        };
        let bridge = setup.start().await?;
        let target = bridge.target(0);
        let long = bench.long(10);
        for existing in [false, true] {
            let mode = if existing { "existing" } else { "new" };
            let (cpu, to) = (bridge.cpu(), target.clone());
            let run = client::flat_out(&target, CONNECTIONS, long, move |n, out| {
                let conversation = if existing { format!("old-{}", n % EXISTING) } else { format!("new-{n}") };
                to.message(
                    &conversation,
                    &format!("{mode}-{n}"),
                    "Where is my order? I have been waiting since Monday.",
                    out,
                );
            })
            .await?;
            let used = bridge.cpu() - cpu;
            say!(
                "intake    {}, {mode} conversations: {} ; {} ; refused {}",
                if sends { "Fini answering" } else { "sends paused" },
                rate(&run, used),
                run.times.summary(),
                run.refused
            );
        }
        say!("          {:.0} MiB resident afterwards", bridge.resident());
        bridge.stop().await?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts to be divided")]
fn rate(run: &Run, cpu: Duration) -> String {
    format!(
        "{:.0}/s at {CONNECTIONS} connections, {:.0} µs of bridge CPU each",
        run.rate(),
        cpu.as_secs_f64() * 1e6 / run.answers() as f64
    )
}

/// From the answer 202 to the arrival of the callback that holds the reply, with a Fini that answers at once.
pub async fn reply(bench: &Bench) -> Result<()> {
    for per_second in [50, 200] {
        let setup = bench.setup(bridge::folder(&bench.folder, &format!("reply-{per_second}"))?);
        let bridge = setup.start().await?;
        bench.receiver.reset();
        let count = per_second * bench.long(15).as_secs();
        let accepted = Arc::new(Mutex::new(vec![None; usize::try_from(count)?]));
        let note = Arc::clone(&accepted);
        let target = bridge.target(0);
        let cpu = bridge.cpu();
        #[expect(clippy::cast_precision_loss, reason = "a small rate")]
        let run = client::paced(
            &target,
            per_second as f64,
            count,
            |n, out| target.message(&format!("c-{n}"), &format!("r-{n}"), "Where is my order?", out),
            move |n| {
                let n = usize::try_from(n).unwrap_or(usize::MAX);
                note.lock().unwrap_or_else(PoisonError::into_inner)[n] = Some(Instant::now());
            },
        )
        .await?;
        let came = bench.receiver.acknowledged(count, Duration::from_secs(20)).await;
        let used = bridge.cpu() - cpu;
        let audit = bench.receiver.audit();
        let mut times = Histogram::default();
        for (n, accepted) in accepted.lock().unwrap_or_else(PoisonError::into_inner).iter().enumerate() {
            if let (Some(accepted), Some(answered)) = (accepted, audit.answered.get(&format!("r-{n}"))) {
                times.add(answered.saturating_duration_since(*accepted));
            }
        }
        let lost = count.saturating_sub(came);
        say!(
            "reply     accepted → callback received at {per_second}/s: {} ; 202 after {} ; lost {lost}, twice {}, out of order {} ; {:.0} µs of bridge CPU per message",
            times.summary(),
            run.times.summary(),
            audit.duplicates,
            audit.disordered,
            micros_each(used, count)
        );
        drop(audit);
        bridge.stop().await?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts to be divided")]
fn micros_each(used: Duration, count: u64) -> f64 {
    used.as_secs_f64() * 1e6 / count as f64
}
