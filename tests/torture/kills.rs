//! SIGKILL at random moments, restart at once, and in the end the audit.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    args::Args,
    audit::{Evidence, Verdict},
    bridge::Bridge,
    client, feed, personality, weather,
    world::{LATE_REPLY, World},
};

/// How long what is still open may take once everything works: the longest wait for a reply, and a search.
const DRAIN: Duration = Duration::from_secs(LATE_REPLY.as_secs() * 2 + 40);

/// What a run came to.
pub struct Report {
    pub kills: u32,
    pub took: Duration,
    pub verdict: Verdict,
    pub faults: Vec<(String, u64)>,
    pub folder: tempfile::TempDir,
}

/// Runs it.
pub async fn run(args: &Args) -> Result<Report> {
    println!("torture: seed {}, {} customers", args.seed, args.slots);
    let began = Instant::now();
    let folder = tempfile::Builder::new().prefix("fini-bridge-torture-").tempdir()?;
    let store =
        args.postgres.clone().unwrap_or_else(|| format!("sqlite://{}", folder.path().join("bridge.db").display()));
    let mut servers = JoinSet::new();
    let personality = personality::drawn(args);
    println!("vendor: {}", personality::described(&personality));
    let world = World::start(args, folder.path(), &store, personality, &mut servers).await?;
    println!("settings: {}", serde_json::to_string(&world.sandbox.settings())?);
    let mut bridge = Bridge::new(folder.path(), folder.path().join("bridge.toml"), world.public)?;
    let mut dice = fastrand::Rng::with_seed(args.seed ^ 0x5eed);
    let mut people = JoinSet::new();
    for slot in 0..args.slots {
        let (world, dice) = (Arc::clone(&world), dice.fork());
        people.spawn(async move { client::customers(&world, slot, dice).await });
    }
    let (shared, forked) = (Arc::clone(&world), dice.fork());
    people.spawn(async move { client::desk(&shared, forked).await });
    let (shared, forked) = (Arc::clone(&world), dice.fork());
    people.spawn(async move { weather::blow(&shared, forked).await });

    let mut kills = 0;
    let goes_on = |kills, took| args.time.map_or(Some(kills) < args.kills && took < args.within, |time| took < time);
    while goes_on(kills, began.elapsed()) {
        bridge.start()?;
        live(&world, &mut bridge, &mut dice).await?;
        bridge.kill().await?;
        kills += 1;
        if kills % 25 == 0 {
            let accepted = world.book.open().counts.get("accepted").copied().unwrap_or(0);
            println!("{kills} kills, {accepted} messages, {:.0} s", began.elapsed().as_secs_f64());
        }
    }
    bridge.start()?;
    bridge.ready().await?;
    world.end();
    while let Some(ended) = people.join_next().await {
        ended?.context("a customer, the desk or the weather")?;
    }
    weather::calm(&world.sandbox);
    world.receiver.trouble.store(0, Ordering::Relaxed);
    println!("{kills} kills done, waiting for what is open");
    let verdict = drain(&world, std::slice::from_mut(&mut bridge)).await?;
    bridge.kill().await?;
    let faults = world.sandbox.audit(0, false).faults.into_iter().map(|(kind, count)| (kind.to_owned(), count));
    Ok(Report { kills, took: began.elapsed(), verdict, faults: faults.collect(), folder })
}

/// One life of the bridge, until a moment at which it is killed.
async fn live(world: &World, bridge: &mut Bridge, dice: &mut fastrand::Rng) -> Result<()> {
    if dice.u8(..100) < 12 {
        // In the middle of its start: migration, recovery, opening.
        sleep(Duration::from_millis(dice.u64(0..250))).await;
        return Ok(());
    }
    bridge.ready().await?;
    match dice.u8(..100) {
        0..50 => sleep(Duration::from_millis(dice.u64(50..2_800))).await,
        50..80 => {
            let requests = || world.sandbox.audit(0, false).requests;
            sleep(Duration::from_millis(dice.u64(0..1_500))).await;
            changed(requests, dice).await;
        }
        _ => {
            sleep(Duration::from_millis(dice.u64(0..1_500))).await;
            changed(|| world.receiver.attempts.load(Ordering::Relaxed), dice).await;
        }
    }
    Ok(())
}

/// Waits until something happens, and a very short moment longer.
async fn changed(figure: impl Fn() -> u64, dice: &mut fastrand::Rng) {
    let before = figure();
    let deadline = Instant::now() + Duration::from_secs(2);
    while figure() == before && Instant::now() < deadline {
        sleep(Duration::from_millis(1)).await;
    }
    sleep(Duration::from_micros(dice.u64(0..40_000))).await;
}

/// Audits until all is well, and once more a while later; what is still wrong at the end is the verdict.
pub async fn drain(world: &World, bridges: &mut [Bridge]) -> Result<Verdict> {
    let deadline = Instant::now() + DRAIN;
    let mut calm_since: Option<Instant> = None;
    loop {
        bridges.iter_mut().try_for_each(Bridge::alive)?;
        // Reading every feed takes the machine from the bridge, so that it comes when little is left to wait for.
        if calm_since.is_none() && Instant::now() < deadline && is_busy(world).await? {
            sleep(Duration::from_millis(500)).await;
            continue;
        }
        let mut verdict = Evidence::gather(world, feed::read(world).await?).judge();
        verdict.violations.extend(world.receiver.violations());
        let now = Instant::now();
        if verdict.violations.is_empty() {
            let since = *calm_since.get_or_insert(now);
            if now.duration_since(since) >= Duration::from_secs(4) {
                return Ok(verdict);
            }
        } else {
            calm_since = None;
            if now >= deadline {
                return Ok(verdict);
            }
        }
        sleep(Duration::from_secs(2)).await;
    }
}

/// Whether the bridge itself says that something is still to be done.
async fn is_busy(world: &World) -> Result<bool> {
    let text = world.http.get(format!("http://{}/metrics", world.admin)).send().await?.text().await?;
    Ok(["turns", "bindings", "deliveries"].iter().any(|kind| {
        let sample = format!("fini_bridge_backlog{{kind=\"{kind}\"}} ");
        text.lines().filter_map(|line| line.strip_prefix(&sample)).any(|figure| figure.trim() != "0")
    }))
}

impl Report {
    /// Prints it, and says whether all is well.
    pub fn close(self, args: &Args) -> bool {
        println!("seed {}: {} kills in {:.0} s", args.seed, self.kills, self.took.as_secs_f64());
        for (what, count) in &self.verdict.counts {
            println!("  {what}: {count}");
        }
        let faults: Vec<String> = self.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        println!("  faults: {}", faults.join(", "));
        let wrong = &self.verdict.violations;
        if args.keep || !wrong.is_empty() {
            println!("database and log: {}", self.folder.keep().display());
        }
        if wrong.is_empty() {
            println!("PASSED: every message exactly once or truthfully failed");
            return true;
        }
        for what in wrong.iter().take(60) {
            println!("  WRONG {what}");
        }
        println!("FAILED: {} violations\nagain: {}", wrong.len(), args.again());
        false
    }
}
