//! Power loss: the file system is cut off under load, mounted again, and every message that was answered 202 must be there.
//!
//! A control runs the same kind of commits without waiting for the disk and has to lose some of them: where it does not, the
//! cut proves nothing.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use fini_bridge::sandbox::Personality;
use serde_json::Value;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    args::Args,
    bridge::Bridge,
    client,
    disk::Outcome,
    kills,
    mount::{self, Mounted},
    world::World,
};

/// Runs so many rounds, and the control.
pub async fn run(args: &Args, rounds: u32) -> Result<Outcome> {
    if let Some(why) = mount::obstacle(&["mkfs.ext4", "mount", "python3"]) {
        return Ok(Outcome::NotRun(why));
    }
    let mut dice = fastrand::Rng::with_seed(args.seed);
    let mut answered = 0;
    for round in 1..=rounds {
        answered += cut(args, &mut dice).await.with_context(|| format!("round {round}"))?;
    }
    println!("power loss: {rounds} cuts, {answered} messages answered 202, none lost, none doubled");
    let lost = control().context("the control")?;
    ensure!(lost > 0, "the control without synchronous commits lost nothing: the cut proves nothing");
    println!("control: without synchronous commits {lost} answered commits were lost, as they must be");
    Ok(Outcome::Passed)
}

async fn cut(args: &Args, dice: &mut fastrand::Rng) -> Result<usize> {
    let folder = tempfile::Builder::new().prefix("fini-bridge-power-").tempdir()?;
    let disk = Mounted::ext4(folder.path())?;
    let store = format!("sqlite://{}", disk.at.join("bridge.db").display());
    let mut servers = JoinSet::new();
    let world = World::start(args, folder.path(), &store, Personality::plain(), &mut servers).await?;
    let mut bridge = Bridge::new(folder.path(), folder.path().join("bridge.toml"), world.public)?;
    bridge.start()?;
    bridge.ready().await?;
    let mut people = JoinSet::new();
    for slot in 0..args.slots {
        let (world, dice) = (Arc::clone(&world), dice.fork());
        people.spawn(async move { client::customers(&world, slot, dice).await });
    }
    sleep(Duration::from_millis(dice.u64(1_500..4_000))).await;
    let pid = bridge.pid().context("the bridge is not running")?.to_string();
    // Stopped first, so that nothing is answered that was written after the cut.
    mount::run("kill", &["-STOP", &pid])?;
    sleep(Duration::from_millis(50)).await;
    disk.cut_off()?;
    bridge.kill().await?;
    let answered = world.book.open().talks.values().flatten().filter(|message| message.accepted).count();
    disk.again()?;
    bridge.start()?;
    bridge.ready().await?;
    world.end();
    let missing = unknown(&world).await?;
    while let Some(ended) = people.join_next().await {
        ended??;
    }
    ensure!(missing.is_empty(), "answered 202 and lost: {}", missing.join(", "));
    let verdict = kills::drain(&world, std::slice::from_mut(&mut bridge)).await?;
    bridge.kill().await?;
    if let Some(first) = verdict.violations.first() {
        bail!("{} violations after the power came back, the first: {first}", verdict.violations.len());
    }
    drop(servers);
    Ok(answered)
}

/// Which accepted messages the bridge does not show.
async fn unknown(world: &World) -> Result<Vec<String>> {
    let talks: Vec<_> = world.book.open().talks.clone().into_iter().collect();
    let mut missing = Vec::new();
    for (conversation, messages) in talks {
        let url = world.url(&format!("/v1/conversations/{conversation}/events?limit=500"));
        let shown: Value = world.http.get(url).bearer_auth(&world.token).send().await?.json().await?;
        let events = shown["events"].as_array().cloned().unwrap_or_default();
        for message in messages.iter().filter(|message| message.accepted) {
            if !events.iter().any(|event| event["data"]["message"]["id"] == message.id.as_str()) {
                missing.push(format!("{conversation}/{}", message.id));
            }
        }
    }
    Ok(missing)
}

/// Commits that do not wait for the disk; how many of them a cut takes away.
fn control() -> Result<u64> {
    let folder = tempfile::Builder::new().prefix("fini-bridge-power-").tempdir()?;
    let disk = Mounted::ext4(folder.path())?;
    let path = disk.at.join("control.db");
    let database = open(&path)?;
    database.execute("CREATE TABLE commits (number INTEGER PRIMARY KEY, text TEXT NOT NULL)", [])?;
    // What is old enough would be written out by itself.
    mount::run("sync", &[])?;
    let answered = 500_u64;
    for number in 0..answered {
        let text = "as long as a message of a customer usually is";
        database.execute("INSERT INTO commits (number, text) VALUES (?, ?)", (i64::try_from(number)?, text))?;
    }
    disk.cut_off()?;
    // It cannot close in order any more.
    drop(database.close());
    disk.again()?;
    let database = open(&path)?;
    let kept: i64 = database.query_row("SELECT COUNT(*) FROM commits", [], |row| row.get(0)).unwrap_or(0);
    drop(database);
    Ok(answered.saturating_sub(u64::try_from(kept)?))
}

fn open(path: &Path) -> Result<rusqlite::Connection> {
    let database = rusqlite::Connection::open(path)?;
    database.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")?;
    Ok(database)
}
