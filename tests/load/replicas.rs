//! Intake and delivery by one, two and three replicas on one PostgreSQL, beside one process with SQLite, in one run.
//!
//! All of them, the database included, share the machine's cores with this tool: what further replicas add on two cores is
//! small, and what they cost is what this shows.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::{join_all, try_join_all};

use crate::{
    Bench,
    bridge::{self, Bridge, Setup},
    client::{self, Run, Target},
    histogram::{Histogram, millis},
    postgres::Server,
    say,
};

const CONNECTIONS: usize = 64;
/// Conversations that messages to existing ones go to.
const EXISTING: u64 = 2_000;
/// Replies per second whose way is timed.
const PER_SECOND: u64 = 200;

/// What is wanted of PostgreSQL on two cores: durable intakes per second, and the 95th percentile of recorded → received.
const WANTED: (f64, Duration) = (2_000.0, Duration::from_millis(30));
/// It ends by then, whatever happens.
const ENDS_WITHIN: Duration = Duration::from_mins(6);

/// What one set of replicas came to.
struct Figures {
    name: String,
    /// Intakes per second in new and in existing conversations.
    intakes: [f64; 2],
    /// The 95th percentile of recorded → received; `None` where the machine did not keep up with that rate.
    delivered: Option<Duration>,
}

/// Runs it on every store that is wanted, with at most so many replicas.
pub async fn run(bench: &Bench, store: Option<&str>, most: usize) -> Result<()> {
    let mut figures = Vec::new();
    if let Ok(ended) = tokio::time::timeout(ENDS_WITHIN, measure_all(bench, store, most, &mut figures)).await {
        ended?;
    } else {
        say!("replicas  ENDED EARLY: {} s are over", ENDS_WITHIN.as_secs());
    }
    close(&figures);
    Ok(())
}

async fn measure_all(bench: &Bench, store: Option<&str>, most: usize, figures: &mut Vec<Figures>) -> Result<()> {
    if store != Some("postgres") {
        figures.push(measure(bench, "SQLite", None, 1).await?);
    }
    if store == Some("sqlite") {
        return Ok(());
    }
    let Some(server) = Server::start("") else {
        say!("replicas  NOT RUN: no PostgreSQL (initdb) on this machine");
        return Ok(());
    };
    for replicas in 1..=most {
        figures.push(measure(bench, "PostgreSQL", Some(&server), replicas).await?);
    }
    Ok(())
}

/// All figures at a glance, beside what is wanted. A slow machine is no defect: whoever reads this knows which one it was.
fn close(figures: &[Figures]) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    say!(
        "replicas  wanted: {:.0} durable intakes/s and p95 {} ms at {PER_SECOND}/s on 2 cores ; load now {} (1, 5, 15 min)",
        WANTED.0,
        WANTED.1.as_millis(),
        load.split(' ').take(3).collect::<Vec<_>>().join(" ")
    );
    for Figures { name, intakes: [new, existing], delivered } in figures {
        let enough = |is_met: bool| if is_met { "met" } else { "MISSED" };
        let delivered = delivered.map_or_else(
            || "delivery not at that rate, MISSED".to_owned(),
            |p95| format!("delivery p95 {} ms, {}", millis(p95), enough(p95 <= WANTED.1)),
        );
        say!(
            "          {name}: {new:.0} and {existing:.0} intakes/s in new and existing conversations, {} ; {delivered}",
            enough(new.min(*existing) >= WANTED.0)
        );
    }
}

async fn measure(bench: &Bench, store: &str, server: Option<&Server>, replicas: usize) -> Result<Figures> {
    let name = format!("{store}, {replicas} replica{}", if replicas == 1 { "" } else { "s" });
    let mut figures = Figures { name: name.clone(), intakes: [0.0; 2], delivered: None };
    for sends in [false, true] {
        let database = match server {
            Some(server) => Some(server.database().await),
            None => None,
        };
        let mut fleet = Vec::new();
        for number in 0..replicas {
            let folder = bridge::folder(&bench.folder, &format!("replicas-{store}-{replicas}-{number}-{sends}"))?;
            let setup = Setup { sends, store: database.clone(), ..bench.setup(folder) };
            fleet.push(setup.start().await?);
        }
        let targets: Vec<Target> = fleet.iter().map(|bridge| bridge.target(0)).collect();
        if sends {
            figures.delivered = deliver(bench, &name, &fleet, &targets).await?;
        } else {
            figures.intakes = take_in(bench, &name, &fleet, &targets).await?;
        }
        for stopped in join_all(fleet.into_iter().map(Bridge::stop)).await {
            stopped?;
        }
    }
    Ok(figures)
}

/// Durable intakes per second, with sends paused.
async fn take_in(bench: &Bench, name: &str, fleet: &[Bridge], targets: &[Target]) -> Result<[f64; 2]> {
    let mut rates = [0.0; 2];
    for existing in [false, true] {
        let mode = if existing { "existing" } else { "new" };
        let (long, each) = (bench.long(8), CONNECTIONS / targets.len());
        let used = cpu(fleet);
        let runs = targets.iter().enumerate().map(|(number, target)| {
            let to = target.clone();
            client::flat_out(target, each, long, move |n, out| {
                let conversation = if existing { format!("old-{}", n % EXISTING) } else { format!("{number}-{n}") };
                to.message(&conversation, &format!("{mode}-{number}-{n}"), "Where is my order?", out);
            })
        });
        let runs = try_join_all(runs).await?;
        let used = cpu(fleet).saturating_sub(used);
        let (rate, refused) =
            (runs.iter().map(Run::rate).sum::<f64>(), runs.iter().map(|run| run.refused).sum::<u64>());
        let times = merged(runs);
        say!(
            "replicas  {name}: intake, {mode} conversations: {rate:.0}/s at {CONNECTIONS} connections ; {} ; refused {refused} ; {:.1} cores in the bridge",
            times.summary(),
            used.as_secs_f64() / long.as_secs_f64()
        );
        rates[usize::from(existing)] = rate;
    }
    Ok(rates)
}

/// The way of replies, recorded → received, at a steady rate; gives the 95th percentile.
async fn deliver(bench: &Bench, name: &str, fleet: &[Bridge], targets: &[Target]) -> Result<Option<Duration>> {
    bench.receiver.reset();
    let seconds = bench.long(15).as_secs();
    let each = PER_SECOND * seconds / targets.len() as u64;
    let count = each * targets.len() as u64;
    #[expect(clippy::cast_precision_loss, reason = "a small rate")]
    let rate = PER_SECOND as f64 / targets.len() as f64;
    let (used, began) = (cpu(fleet), Instant::now());
    let runs = targets.iter().enumerate().map(|(number, target)| {
        let write = move |n: u64, out: &mut Vec<u8>| {
            target.message(&format!("d-{number}-{n}"), &format!("d-{number}-{n}"), "Where is my order?", out);
        };
        client::paced(target, rate, each, write, |_| ())
    });
    let runs = match try_join_all(runs).await {
        Ok(runs) => runs,
        Err(error) => {
            say!("replicas  {name}: delivery at {PER_SECOND}/s: the messages could not be sent at that rate: {error}");
            return Ok(None);
        }
    };
    let came = bench.receiver.acknowledged(count, Duration::from_secs(30)).await;
    let whole = began.elapsed();
    let used = cpu(fleet).saturating_sub(used);
    let audit = bench.receiver.audit();
    let ages = audit.ages.values().next().cloned().unwrap_or_default();
    let missing = count.saturating_sub(came.saturating_sub(audit.duplicates));
    say!(
        "replicas  {name}: delivery at {PER_SECOND}/s: recorded → received {} ; {} after {:.1} s ; missing {missing}, twice {}, out of order {} of {count} ; {:.1} cores in the bridge",
        ages.summary(),
        if missing == 0 { "all there" } else { "given up on the rest" },
        whole.as_secs_f64(),
        audit.duplicates,
        audit.disordered,
        used.as_secs_f64() / whole.as_secs_f64()
    );
    drop(audit);
    say!("          202 after {}", merged(runs).summary());
    Ok((missing == 0).then(|| ages.quantile(0.95)))
}

fn merged(runs: Vec<Run>) -> Histogram {
    let mut times = Histogram::default();
    for run in runs {
        times.merge(run.times);
    }
    times
}

fn cpu(fleet: &[Bridge]) -> Duration {
    fleet.iter().map(Bridge::cpu).sum()
}
