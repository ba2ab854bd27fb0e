//! What the figures were taken on: without it they say nothing.
//!
//! Measures the machine in the same run as the bridge: a durable write by hand, a durable commit by the bridge's own store,
//! and what loopback HTTP alone can do with both ends in this process.

use std::{fs, io::Write as _, os::unix::fs::FileExt as _, path::Path, sync::Arc, time::Duration};

use anyhow::Result;
use fini_bridge::{
    domain::{conversation::StatusPolicy, destination::Subscriptions, handoff::HandoffPolicies, ids::FrontendName},
    store::{Rules, SqliteStore, Store as _, WatchPolicy},
    system::{SystemClock, SystemEntropy},
};

use crate::{
    client::{self, Target},
    histogram::Histogram,
    receiver::Receiver,
    say,
};

/// Durable writes per measurement.
const WRITES: usize = 300;

/// Prints the machine and what it can do without the bridge.
pub async fn describe(folder: &Path, receiver: &Receiver) -> Result<()> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, key: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        found.trim_start_matches([' ', '\t', ':']).to_owned()
    };
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let memory: u64 = after(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    say!("machine   {cpus} cores of {}, {:.1} GiB", after(&read("/proc/cpuinfo"), "model name"), mib(memory) / 1024.0);
    say!("kernel    {}", read("/proc/sys/kernel/osrelease").trim());
    say!("load      {} (1, 5, 15 min) before the run; everything below shares the cores", read("/proc/loadavg").trim());
    say!("by hand   4 KiB appended + fdatasync: {}", by_hand(folder)?.summary());
    say!(
        "store     one durable commit at a time, SQLite in WAL, synchronous=FULL: {}",
        by_store(folder).await?.summary()
    );
    let (calls, took) = bare(receiver).await?;
    say!(
        "loopback  bare HTTP/1.1, 64 connections, both ends in this tool: {:.0} requests/s",
        calls / took.as_secs_f64()
    );
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a size to be shown")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn by_hand(folder: &Path) -> Result<Histogram> {
    let mut file = fs::File::create(folder.join("by-hand"))?;
    let page = [7; 4096];
    let mut times = Histogram::default();
    for _ in 0..WRITES {
        let started = std::time::Instant::now();
        file.write_all(&page)?;
        file.sync_data()?;
        times.add(started.elapsed());
    }
    // Freed blocks must not be the next measurement's gift.
    file.write_all_at(&page, 0)?;
    Ok(times)
}

async fn by_store(folder: &Path) -> Result<Histogram> {
    let store = SqliteStore::open(&folder.join("ping.db"), rules(Vec::new())).await?;
    let mut times = Histogram::default();
    for _ in 0..WRITES {
        let started = std::time::Instant::now();
        store.ping().await?;
        times.add(started.elapsed());
    }
    store.close().await;
    Ok(times)
}

/// The rules of a store in this process, with what each frontend wants called back.
pub fn rules(wanted: Vec<(FrontendName, Vec<String>)>) -> Rules {
    Rules {
        entropy: Arc::new(SystemEntropy),
        wall: Arc::new(SystemClock),
        subscriptions: Subscriptions::of_main(wanted),
        statuses: StatusPolicy::new(&["Escalated to Human Agent".to_owned()], &[], &[]),
        hold_window: Duration::from_secs(20),
        watch: WatchPolicy { idle: Duration::from_hours(24), escalated: Duration::from_hours(168) },
        handoffs: HandoffPolicies::default(),
        formats: std::collections::HashMap::new(),
    }
}

async fn bare(receiver: &Receiver) -> Result<(f64, Duration)> {
    let target = Target { address: receiver.address, token: String::new() };
    let for_long = Duration::from_secs(3);
    let run = client::flat_out(&target, 64, for_long, |_, out| {
        out.extend_from_slice(b"POST /nothing HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}");
    });
    let run = run.await?;
    #[expect(clippy::cast_precision_loss, reason = "a count to be divided")]
    Ok((run.answers() as f64, run.took))
}
