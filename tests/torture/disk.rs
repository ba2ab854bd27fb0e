//! A disk that is full, and a disk that fails: refused honestly, nothing half stored, and well again by itself.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use fini_bridge::sandbox::Personality;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    args::Args,
    book::Posted,
    bridge::Bridge,
    kills,
    mount::{self, Mounted},
    world::World,
};

/// How a test of the disk ended, where it did not fail.
pub enum Outcome {
    Passed,
    NotRun(String),
}

/// Full: refused with 503, readiness is false, and all is well as soon as there is room.
pub async fn full(args: &Args) -> Result<Outcome> {
    if let Some(why) = mount::obstacle(&["mount"]) {
        return Ok(Outcome::NotRun(why));
    }
    let folder = tempfile::Builder::new().prefix("fini-bridge-disk-").tempdir()?;
    let disk = Mounted::tmpfs(folder.path(), 8)?;
    let store = format!("sqlite://{}", disk.at.join("bridge.db").display());
    let mut servers = JoinSet::new();
    let world = World::start(args, folder.path(), &store, Personality::plain(), &mut servers).await?;
    // Answers come while the disk is full.
    world.sandbox.set(|settings| settings.reply_latency_ms = 1_000);
    let mut bridge = Bridge::new(folder.path(), folder.path().join("bridge.toml"), world.public)?;
    bridge.start()?;
    bridge.ready().await?;
    for number in 0..20 {
        ensure!(post(&world, number).await? == StatusCode::ACCEPTED, "a message was refused on a healthy disk");
    }
    // Until nothing fits any more: an error is what is wanted.
    drop(mount::run("dd", &["if=/dev/zero", &format!("of={}", disk.at.join("filler").display()), "bs=4096"]));
    let mut refused = Vec::new();
    for number in 20..3_000 {
        match post(&world, number).await? {
            StatusCode::ACCEPTED => {}
            StatusCode::SERVICE_UNAVAILABLE => refused.push(number),
            other => bail!("a full disk was answered {other}"),
        }
        if refused.len() >= 20 {
            break;
        }
    }
    ensure!(refused.len() >= 20, "the disk never became full");
    until("readiness is false", || async { Ok(!ready(&world).await?) }).await?;
    bridge.alive()?;
    std::fs::remove_file(disk.at.join("filler"))?;
    until("readiness is true again", || ready(&world)).await?;
    for number in &refused {
        // A refused message is not there: posting it again is new, not a repeat.
        let told = told(&world, *number).await?;
        ensure!(told.0 == StatusCode::ACCEPTED && told.1["duplicate"] == json!(false), "half stored: {told:?}");
    }
    well(&world, &mut bridge).await?;
    println!("full disk: {} messages refused with 503, all others kept, well again by itself", refused.len());
    drop(servers);
    Ok(Outcome::Passed)
}

/// Read-only from one moment to the next: refused with 503 and still running. Such a file system has to be repaired, which
/// nobody can while it is in use; after that and a restart everything that was accepted is there.
pub async fn read_only(args: &Args) -> Result<Outcome> {
    if let Some(why) = mount::obstacle(&["mkfs.ext4", "mount", "findmnt", "e2fsck"]) {
        return Ok(Outcome::NotRun(why));
    }
    let folder = tempfile::Builder::new().prefix("fini-bridge-disk-").tempdir()?;
    let disk = Mounted::ext4(folder.path())?;
    let store = format!("sqlite://{}", disk.at.join("bridge.db").display());
    let mut servers = JoinSet::new();
    let world = World::start(args, folder.path(), &store, Personality::plain(), &mut servers).await?;
    // Answers come while nothing can be written down.
    world.sandbox.set(|settings| settings.reply_latency_ms = 1_000);
    let mut bridge = Bridge::new(folder.path(), folder.path().join("bridge.toml"), world.public)?;
    bridge.start()?;
    bridge.ready().await?;
    for number in 0..20 {
        ensure!(post(&world, number).await? == StatusCode::ACCEPTED, "a message was refused on a healthy disk");
    }
    disk.turn_read_only()?;
    for number in 20..40 {
        let told = post(&world, number).await?;
        ensure!(told == StatusCode::SERVICE_UNAVAILABLE, "a disk that is read-only was answered {told}");
    }
    until("readiness is false", || async { Ok(!ready(&world).await?) }).await?;
    bridge.kill().await?;
    disk.repaired()?;
    bridge.start()?;
    bridge.ready().await?;
    until("readiness is true again", || ready(&world)).await?;
    for number in 20..40 {
        let told = told(&world, number).await?;
        ensure!(told.0 == StatusCode::ACCEPTED && told.1["duplicate"] == json!(false), "half stored: {told:?}");
    }
    well(&world, &mut bridge).await?;
    println!("read-only disk: 20 messages refused with 503, all others kept");
    drop(servers);
    Ok(Outcome::Passed)
}

/// Writing to it fails now and then: refused with 503, and what was accepted survives the process.
pub async fn failing(args: &Args) -> Result<Outcome> {
    if let Some(why) = mount::obstacle(&["mkfs.ext4", "mount", "strace"]) {
        return Ok(Outcome::NotRun(why));
    }
    let folder = tempfile::Builder::new().prefix("fini-bridge-disk-").tempdir()?;
    let disk = Mounted::ext4(folder.path())?;
    let store = format!("sqlite://{}", disk.at.join("bridge.db").display());
    let mut servers = JoinSet::new();
    let world = World::start(args, folder.path(), &store, Personality::plain(), &mut servers).await?;
    let mut bridge = Bridge::new(folder.path(), folder.path().join("bridge.toml"), world.public)?;
    // With -D the program keeps the process id, and strace steps aside.
    let trace = folder.path().join("strace.log").display().to_string();
    let inject = "inject=fdatasync,fsync:error=EIO:when=40..70";
    bridge.under = ["strace", "-D", "-f", "-qq", "-o", &trace, "-e", "trace=fdatasync,fsync", "-e", inject]
        .map(str::to_owned)
        .to_vec();
    bridge.start()?;
    bridge.ready().await?;
    let mut refused = 0;
    for number in 0..400 {
        match post(&world, number).await? {
            StatusCode::ACCEPTED => {}
            StatusCode::SERVICE_UNAVAILABLE => refused += 1,
            other => bail!("a failing disk was answered {other}"),
        }
    }
    ensure!(refused > 0, "no fdatasync failed");
    bridge.alive()?;
    // What was answered 202 has to survive the process, whose memory may know more than the disk.
    bridge.kill().await?;
    bridge.under.clear();
    bridge.start()?;
    bridge.ready().await?;
    let accepted: Vec<(String, String)> = {
        let pages = world.book.open();
        let all = pages.talks.iter().flat_map(|(talk, messages)| messages.iter().map(move |message| (talk, message)));
        all.filter(|(_, message)| message.accepted).map(|(talk, message)| (talk.clone(), message.id.clone())).collect()
    };
    for (conversation, id) in &accepted {
        let told = send(&world, conversation, id).await?;
        ensure!(told.1["duplicate"] == json!(true), "answered 202 and lost: {conversation}/{id}: {told:?}");
    }
    well(&world, &mut bridge).await?;
    println!("failing disk: {refused} messages refused with 503, {} kept", accepted.len());
    drop(servers);
    Ok(Outcome::Passed)
}

/// Everything that was accepted ends as it should.
async fn well(world: &World, bridge: &mut Bridge) -> Result<()> {
    world.receiver.trouble.store(0, std::sync::atomic::Ordering::Relaxed);
    let verdict = kills::drain(world, std::slice::from_mut(bridge)).await?;
    bridge.kill().await?;
    match verdict.violations.first() {
        Some(first) => bail!("{} violations, the first: {first}", verdict.violations.len()),
        None => Ok(()),
    }
}

/// Posts message `number`, of one of twenty conversations, and books it where it is accepted.
async fn post(world: &World, number: u32) -> Result<StatusCode> {
    Ok(told(world, number).await?.0)
}

async fn told(world: &World, number: u32) -> Result<(StatusCode, Value)> {
    let conversation = format!("d{}", number % 20);
    let id = format!("m{number}");
    let told = send(world, &conversation, &id).await?;
    if told.0 == StatusCode::ACCEPTED {
        world.book.writes(&conversation, Posted { id, text: String::new(), role: "user", accepted: true });
    }
    Ok(told)
}

async fn send(world: &World, conversation: &str, id: &str) -> Result<(StatusCode, Value)> {
    let attributes = json!({"torture_conversation": conversation, "torture_message": id});
    let text = format!("{conversation} {id}: {}", "a long message ".repeat(40));
    let body =
        json!({"conversation_id": conversation, "message_id": id, "text": text, "user": {"attributes": attributes}});
    let sent = world.http.post(world.url("/v1/messages")).bearer_auth(&world.token).json(&body);
    let answer = sent.send().await.context("a disk fault must not cost an answer")?;
    Ok((answer.status(), answer.json().await?))
}

async fn ready(world: &World) -> Result<bool> {
    Ok(world.http.get(format!("http://{}/readyz", world.admin)).send().await?.status().is_success())
}

async fn until<F: Future<Output = Result<bool>>>(what: &str, is_so: impl Fn() -> F) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so().await? {
        ensure!(Instant::now() < deadline, "not within 30 s: {what}");
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
