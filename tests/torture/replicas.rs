//! Several replicas on one PostgreSQL, each killed, frozen for longer than any lease, or stopped at random moments, while the
//! database is restarted and its connections are cut. Customers write to all of them alternately.
//!
//! The server is the program's own. Where `libfaketime` is installed, the replicas' clocks lie ten minutes apart: the
//! signatures that the receiver verifies and the limit that the vendor counts then show whose time counts.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    process::Command,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    args::Args,
    bridge::Bridge,
    client,
    kills::{self, Report},
    personality,
    postgres::{Server, Stop, cut_connections},
    weather,
    world::World,
};

/// A frozen replica stays so for longer than its longest lease here: that of a send.
const LONGER_THAN_A_LEASE: Duration = Duration::from_millis(1_500 + 20_000 + 1_500);
/// How far the clocks of the second and the third replica are off.
const SKEW: [&str; 3] = ["+0", "+600s", "-600s"];

/// Runs it; `None` where there is no PostgreSQL.
pub async fn run(args: &Args, replicas: usize, time: Duration) -> Result<Option<Report>> {
    println!("torture: seed {}, {replicas} replicas, {} customers, {} s", args.seed, args.slots, time.as_secs());
    let Some(server) = Server::start("") else { return Ok(None) };
    let (server, began) = (Arc::new(server), Instant::now());
    let folder = tempfile::Builder::new().prefix("fini-bridge-torture-").tempdir()?;
    let database = server.database().await;
    let mut servers = JoinSet::new();
    let personality = personality::drawn(args);
    println!("vendor: {}", personality::described(&personality));
    let world = World::start(args, folder.path(), &database, personality, &mut servers).await?;
    println!("settings: {}", serde_json::to_string(&world.sandbox.settings())?);
    let faketime = faketime();
    println!(
        "clocks: {}",
        if faketime.is_some() { "ten minutes apart" } else { "alike (libfaketime is not installed)" }
    );

    let mut bridges = Vec::new();
    for number in 0..replicas {
        let (config, public) = world.replica(folder.path(), number).await?;
        let mut bridge = Bridge::new(folder.path(), config, public)?;
        if let Some(library) = &faketime {
            bridge.env = vec![
                ("LD_PRELOAD".into(), library.into()),
                ("FAKETIME".into(), SKEW[number % SKEW.len()].into()),
                ("FAKETIME_DONT_FAKE_MONOTONIC".into(), "1".into()),
                ("DONT_FAKE_MONOTONIC".into(), "1".into()),
            ];
        }
        bridge.revive().await?;
        bridges.push(bridge);
    }
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

    let end = began + time;
    let mut fates = JoinSet::new();
    for (number, bridge) in bridges.into_iter().enumerate() {
        let dice = dice.fork();
        fates.spawn(async move { torment(bridge, number, dice, end).await });
    }
    let counts = trouble_database(&world, &server, &database, dice.fork(), end).await;
    for (what, count) in counts {
        world.book.open().counts.insert(what.to_owned(), count);
    }
    let (mut bridges, mut kills) = (Vec::new(), 0);
    while let Some(fate) = fates.join_next().await {
        let (mut bridge, counts) = fate??;
        bridge.ready().await?;
        bridges.push(bridge);
        for (what, count) in counts {
            kills += if what == KILLED { u32::try_from(count)? } else { 0 };
            *world.book.open().counts.entry(what.to_owned()).or_default() += count;
        }
    }
    world.end();
    while let Some(ended) = people.join_next().await {
        ended?.context("a customer, the desk or the weather")?;
    }
    weather::calm(&world.sandbox);
    world.receiver.trouble.store(0, Ordering::Relaxed);
    println!("{:.0} s of trouble done, waiting for what is open", began.elapsed().as_secs_f64());
    let verdict = kills::drain(&world, &mut bridges).await?;
    for bridge in &mut bridges {
        bridge.kill().await?;
    }
    let faults = world.sandbox.audit(0, false).faults.into_iter().map(|(kind, count)| (kind.to_owned(), count));
    Ok(Some(Report { kills, took: began.elapsed(), verdict, faults: faults.collect(), folder }))
}

const KILLED: &str = "replicas killed";

/// What befalls one replica. It runs in the end.
async fn torment(
    mut bridge: Bridge,
    number: usize,
    mut dice: fastrand::Rng,
    end: Instant,
) -> Result<(Bridge, BTreeMap<&'static str, u64>)> {
    let mut counts = BTreeMap::new();
    // Of the three, one after the other is frozen for long, whatever the dice say.
    let mut freeze_at = Some(Instant::now() + Duration::from_secs(5 + 18 * u64::try_from(number)?));
    while Instant::now() < end {
        sleep(Duration::from_millis(dice.u64(300..6_000))).await;
        let long = freeze_at.is_some_and(|at| Instant::now() >= at && Instant::now() + LONGER_THAN_A_LEASE < end);
        if long || dice.u8(..100) < 25 {
            let pause = if long { LONGER_THAN_A_LEASE } else { Duration::from_millis(dice.u64(200..7_000)) };
            freeze_at = freeze_at.filter(|_| !long);
            signal(&bridge, "STOP").await?;
            sleep(pause).await;
            signal(&bridge, "CONT").await?;
            *counts.entry(if long { "replicas frozen beyond their leases" } else { "replicas frozen" }).or_default() +=
                1;
        } else if dice.u8(..100) < 25 {
            signal(&bridge, "TERM").await?;
            bridge.ended().await?;
            *counts.entry("replicas stopped in order").or_default() += 1;
            sleep(Duration::from_millis(dice.u64(..1_500))).await;
            bridge.revive().await?;
        } else {
            bridge.kill().await?;
            *counts.entry(KILLED).or_default() += 1;
            sleep(Duration::from_millis(if dice.bool() { 0 } else { dice.u64(..4_000) })).await;
            bridge.revive().await?;
        }
    }
    Ok((bridge, counts))
}

/// Cuts connections and takes the server away now and then; it is there in the end.
async fn trouble_database(
    world: &World,
    server: &Server,
    database: &str,
    mut dice: fastrand::Rng,
    end: Instant,
) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    while Instant::now() < end && !world.is_over() {
        sleep(Duration::from_millis(dice.u64(1_000..9_000))).await;
        if dice.u8(..100) < 70 {
            let cut = cut_connections(database).await;
            *counts.entry("connections cut").or_default() += u64::try_from(cut).unwrap_or(u64::MAX);
        } else {
            server.down(if dice.bool() { Stop::Fast } else { Stop::Immediate });
            sleep(Duration::from_millis(dice.u64(..2_500))).await;
            server.up().await;
            *counts.entry("restarts of the database").or_default() += 1;
        }
    }
    counts
}

async fn signal(bridge: &Bridge, name: &str) -> Result<()> {
    let id = bridge.pid().context("it runs")?;
    Command::new("kill").arg(format!("-{name}")).arg(id.to_string()).status().await?;
    Ok(())
}

/// The library that shifts a program's wall clock, where it is installed.
fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
    folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|library| library.exists())
}
