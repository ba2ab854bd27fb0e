//! Many workspaces: what one costs its PostgreSQL server, measured, and how many servers a thousand of them need, simulated
//! with those figures.
//!
//! Measured: some workspaces as they are released, each with two replicas, a database and a vendor of its own, all on one
//! server; first with nothing to watch, then watching conversations in which nothing is said, then with messages at the rate that
//! Fini's budget allows. Simulated: see [`crate::fleet`].

#![allow(clippy::cast_precision_loss, reason = "counts to be divided")]

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::{join_all, try_join_all};
use sqlx::{Connection as _, PgConnection, Row as _};

use crate::{
    Bench,
    bridge::{self, Bridge, Setup, cpu_of},
    client::Connection,
    fleet::{self, Costs, Days, Placing, Plan},
    postgres::Server,
    say, vendor,
};

const WORKSPACES: usize = 6;
const REPLICAS: usize = 2;
/// Messages a minute in each: what Fini's 100 requests leave for sending, and a bit less.
const PER_MINUTE: u32 = 45;
/// Messages of one conversation, one after the other.
const TALK: u64 = 3;
/// Connections of a pool as it is built, and the one that listens.
const POOL: usize = 16;
/// Connections that a server keeps for its operators.
const RESERVED: usize = 10;

/// Measures and simulates.
pub async fn run(bench: &Bench) -> Result<()> {
    let Some(server) = Server::start("") else {
        say!("workspace NOT RUN: no PostgreSQL (initdb) on this machine");
        return Ok(());
    };
    let costs = measure(bench, &server).await?;
    drop(server);
    simulate(costs)
}

/// What the server has done and holds, for all workspaces together.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    transactions: f64,
    wal: f64,
    cpu: f64,
    connections: usize,
    /// Memory of the backends of workspaces, in MiB: their share of everything, and what is theirs alone.
    pss: f64,
    anonymous: f64,
    bridges: f64,
    at: Option<Instant>,
}

/// Looks at the server, past the bridges.
struct Watcher {
    connection: PgConnection,
    postmaster: u32,
    own: u32,
}

impl Watcher {
    async fn open(server: &Server) -> Result<Self> {
        let mut connection = PgConnection::connect(&server.url("postgres")).await?;
        let own: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await?;
        let own = u32::try_from(own)?;
        let postmaster = parent(own).context("the server's processes can be seen")?;
        Ok(Self { connection, postmaster, own })
    }

    async fn sample(&mut self, fleet: &[Bridge]) -> Result<Sample> {
        let asked = "SELECT CAST(SUM(xact_commit + xact_rollback) AS FLOAT8) AS transactions, \
                     CAST(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') AS FLOAT8) AS wal \
                     FROM pg_stat_database WHERE datname LIKE 'test%'";
        let row = sqlx::query(asked).fetch_one(&mut self.connection).await?;
        let mut sample = Sample {
            transactions: row.try_get("transactions")?,
            wal: row.try_get("wal")?,
            bridges: fleet.iter().map(|bridge| bridge.cpu().as_secs_f64()).sum(),
            at: Some(Instant::now()),
            ..Sample::default()
        };
        // Those that have ended are counted with their parent.
        sample.cpu = on_cpu(self.postmaster) + children_cpu(self.postmaster);
        for process in processes().into_iter().filter(|one| *one != self.own && parent(*one) == Some(self.postmaster)) {
            sample.cpu += on_cpu(process);
        }
        for backend in self.backends().await? {
            sample.connections += 1;
            let (pss, anonymous) = memory(backend);
            sample.pss += pss;
            sample.anonymous += anonymous;
        }
        Ok(sample)
    }

    /// The processes that serve workspaces.
    async fn backends(&mut self) -> Result<Vec<u32>> {
        let asked = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname LIKE 'test%'";
        let pids: Vec<i32> = sqlx::query_scalar(asked).fetch_all(&mut self.connection).await?;
        Ok(pids.into_iter().filter_map(|pid| u32::try_from(pid).ok()).collect())
    }

    /// The most connections that a workspace holds at present.
    async fn most_connections(&mut self) -> Result<usize> {
        let asked = "SELECT COALESCE(MAX(held), 0) FROM (SELECT COUNT(*) AS held FROM pg_stat_activity \
                     WHERE backend_type = 'client backend' AND datname LIKE 'test%' GROUP BY datname) AS each";
        let most: i64 = sqlx::query_scalar(asked).fetch_one(&mut self.connection).await?;
        Ok(usize::try_from(most)?)
    }
}

/// What happened between two looks, per workspace and minute.
struct Rates {
    transactions: f64,
    cpu: f64,
    wal: f64,
    bridges: f64,
    minutes: f64,
}

fn rates(before: Sample, after: Sample) -> Rates {
    let span = after.at.zip(before.at).map_or(Duration::ZERO, |(after, before)| after - before);
    let minutes = span.as_secs_f64() / 60.0;
    let each = |before: f64, after: f64| (after - before) / minutes / WORKSPACES as f64;
    Rates {
        transactions: each(before.transactions, after.transactions),
        cpu: each(before.cpu, after.cpu),
        wal: each(before.wal, after.wal),
        bridges: each(before.bridges, after.bridges),
        minutes,
    }
}

async fn measure(bench: &Bench, server: &Server) -> Result<Costs> {
    let mut fleet = Vec::new();
    for workspace in 0..WORKSPACES {
        let (database, fini) = (server.database().await, vendor()?);
        for replica in 0..REPLICAS {
            let folder = bridge::folder(&bench.folder, &format!("workspace-{workspace}-{replica}"))?;
            let setup = Setup {
                fini,
                store: Some(database.clone()),
                budget: Some("{ requests = 100, window = \"60s\" }"),
                ..bench.setup(folder)
            };
            fleet.push(setup.start().await?);
        }
    }
    say!(
        "workspace {WORKSPACES} workspaces of {REPLICAS} replicas on one PostgreSQL, at most {} connections each ; load {} (1, 5, 15 min)",
        REPLICAS * (POOL + 1),
        fs::read_to_string("/proc/loadavg").unwrap_or_default().trim()
    );
    let mut watcher = Watcher::open(server).await?;
    bench.receiver.reset();
    // Starting is not idling.
    tokio::time::sleep(bench.long(6)).await;
    let before = watcher.sample(&fleet).await?;
    tokio::time::sleep(bench.long(21)).await;
    let after = watcher.sample(&fleet).await?;
    let empty = rates(before, after);
    tell("nothing watched", &empty, after, watcher.most_connections().await?);

    talk(&fleet, "first", 3, Duration::from_secs(2)).await?;
    bench.receiver.acknowledged(3 * WORKSPACES as u64, Duration::from_secs(20)).await;
    tokio::time::sleep(bench.long(6)).await;
    let before = watcher.sample(&fleet).await?;
    tokio::time::sleep(bench.long(21)).await;
    let after = watcher.sample(&fleet).await?;
    let watching = rates(before, after);
    tell("watching, silent", &watching, after, watcher.most_connections().await?);

    let each = u64::from(PER_MINUTE) * bench.long(40).as_secs() / 60;
    let count = each * WORKSPACES as u64;
    bench.receiver.reset();
    let before = watcher.sample(&fleet).await?;
    let pace = Duration::from_secs(60) / PER_MINUTE;
    let (sent, most) =
        tokio::join!(talk(&fleet, "busy", each, pace), busiest(&mut watcher, pace * u32::try_from(each)?));
    sent?;
    let came = bench.receiver.acknowledged(count, Duration::from_secs(30)).await;
    let after = watcher.sample(&fleet).await?;
    let busy = rates(before, after);
    tell(&format!("{PER_MINUTE} messages/min"), &busy, after, most?);
    let audit = bench.receiver.audit();
    let (duplicates, disordered) = (audit.duplicates, audit.disordered);
    drop(audit);
    let messages = each as f64 / busy.minutes;
    let more = |busy: f64, idle: f64| ((busy - idle) / messages).max(0.0);
    say!(
        "workspace one message more: {:.1} transactions ; {:.2} ms of the server's CPU ; {:.1} KiB of WAL ; lost {}, twice {duplicates}, out of order {disordered} of {count}",
        more(busy.transactions, watching.transactions),
        1000.0 * more(busy.cpu, watching.cpu),
        more(busy.wal, watching.wal) / 1024.0,
        count.saturating_sub(came.saturating_sub(duplicates)),
    );
    let resident = fleet.iter().map(Bridge::resident).sum::<f64>() / fleet.len() as f64;
    say!("workspace a replica itself: {resident:.1} MiB");
    for stopped in join_all(fleet.into_iter().map(Bridge::stop)).await {
        stopped?;
    }
    Ok(Costs { empty: empty.cpu, watching: watching.cpu, message: more(busy.cpu, watching.cpu) })
}

fn tell(what: &str, rates: &Rates, held: Sample, most: usize) {
    let backends = held.connections.max(1) as f64;
    say!(
        "workspace {what}: {:.0} transactions/min ; {:.3} s of the server's CPU/min ; {:.1} KiB of WAL/min ; {:.1} connections held (at most {most}), {:.1} MiB each (PSS; {:.1} of it its own) ; {:.3} s of CPU/min in its replicas",
        rates.transactions,
        rates.cpu,
        rates.wal / 1024.0,
        held.connections as f64 / WORKSPACES as f64,
        held.pss / backends,
        held.anonymous / backends,
        rates.bridges
    );
}

/// Says something in every workspace at this pace, by its replicas in turn.
async fn talk(fleet: &[Bridge], name: &str, each: u64, pace: Duration) -> Result<()> {
    let talks = fleet.chunks(REPLICAS).enumerate().map(|(workspace, replicas)| async move {
        let mut connections = Vec::new();
        for replica in replicas {
            let target = replica.target(0);
            connections.push((Connection::open(target.address).await?, target));
        }
        // Workspaces know nothing of each other.
        let mut due = Instant::now() + pace / u32::try_from(WORKSPACES)? * u32::try_from(workspace)?;
        for number in 0..each {
            tokio::time::sleep_until(due.into()).await;
            due += pace;
            let (connection, target) = &mut connections[usize::try_from(number)? % REPLICAS];
            let mut request = Vec::new();
            let conversation = format!("{name}-{workspace}-{}", number / TALK);
            target.message(&conversation, &format!("{name}-{workspace}-{number}"), "Where is my order?", &mut request);
            let status = connection.ask(&request).await?;
            ensure!(status == 202, "a message was answered {status}");
        }
        anyhow::Ok(())
    });
    try_join_all(talks).await.map(drop)
}

/// The most connections that a workspace held at any look during this time.
async fn busiest(watcher: &mut Watcher, long: Duration) -> Result<usize> {
    let (began, mut most) = (Instant::now(), 0);
    while began.elapsed() < long {
        most = most.max(watcher.most_connections().await?);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(most)
}

fn processes() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// A field of `/proc/PID/stat`, counted from the one after the name (proc(5), field 3).
fn stat(process: u32, field: usize) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(field)?.parse().ok()
}

fn parent(process: u32) -> Option<u32> {
    u32::try_from(stat(process, 1)?).ok()
}

/// CPU seconds of the children that have ended, in hundredths of a second as they are told.
fn children_cpu(process: u32) -> f64 {
    [13, 14].into_iter().filter_map(|field| stat(process, field)).sum::<u64>() as f64 / 100.0
}

/// CPU seconds of a process, to the nanosecond where the kernel says so.
fn on_cpu(process: u32) -> f64 {
    let exact = fs::read_to_string(format!("/proc/{process}/schedstat")).unwrap_or_default();
    match exact.split_whitespace().next().and_then(|nanoseconds| nanoseconds.parse::<f64>().ok()) {
        Some(nanoseconds) if nanoseconds > 0.0 => nanoseconds / 1e9,
        _ => cpu_of(&format!("/proc/{process}/stat")).as_secs_f64(),
    }
}

/// Memory of a process in MiB: its share of what it has in common with others, and what is its own.
fn memory(process: u32) -> (f64, f64) {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let of = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0
    };
    (of("Pss:"), of("Pss_Anon:"))
}

fn simulate(costs: Costs) -> Result<()> {
    let plan = Plan { workspaces: 1_000, messages: (300.0, 1.6), budget: 50, cpu: 0.6 * 2.0 * 60.0, seed: 20_261_121 };
    let days = fleet::days(costs, plan);
    ensure!(days == fleet::days(costs, plan), "the same seed gives the same days");
    let mut said = days.messages.clone();
    said.sort_unstable();
    let total = said.iter().sum::<u64>();
    say!(
        "fleet     {} workspaces, seed {}: {total} messages a day, {} in the busiest minute ; a workspace: median {}, p95 {}, largest {} ; {:.2} % did not leave in their minute, because the budget was used up, in {} workspaces",
        plan.workspaces,
        plan.seed,
        days.busiest,
        said[said.len() / 2],
        said[said.len() * 95 / 100],
        said[said.len() - 1],
        100.0 * days.waited as f64 / total.max(1) as f64,
        days.exhausted,
    );
    let busiest = (0..fleet::DAY).map(|minute| days.cpu.iter().map(|cpu| cpu[minute]).sum::<f64>()).fold(0.0, f64::max);
    say!(
        "fleet     the busiest minute costs {busiest:.1} s of the servers' CPU, {:.0} % of it for messages ; a server has 2 cores, of which 60 % are {:.0} s a minute",
        100.0 * days.busiest as f64 * costs.message / busiest,
        plan.cpu
    );
    for (name, placing) in [("hash", Placing::Hash), ("least load", Placing::LeastLoad)] {
        show(&days, plan, placing, &format!("CPU alone, by {name}"), plan.workspaces);
    }
    say!(
        "fleet     servers by connections and CPU, least load ; a workspace may hold 2 replicas x (pool + 1), {RESERVED} are kept for operators"
    );
    let limits = [100, 200, 500, 1_000, 2_000];
    say!("fleet     max_connections {}", limits.map(|limit| format!("{limit:>8}")).concat());
    for pool in [2, 4, 8, POOL] {
        let servers = limits.map(|limit| {
            let found = fleet::fleet(&days, plan, Placing::LeastLoad, room(limit, pool));
            found.map_or(format!("{:>8}", "-"), |fleet| format!("{:>8}", fleet.servers))
        });
        say!("fleet     pool of {pool:<8}{}", servers.concat());
    }
    for (name, placing) in [("hash", Placing::Hash), ("least load", Placing::LeastLoad)] {
        for pool in [4, POOL] {
            show(&days, plan, placing, &format!("pool of {pool}, max_connections 500, by {name}"), room(500, pool));
        }
    }
    Ok(())
}

/// Workspaces for which a server has connections.
fn room(limit: usize, pool: usize) -> usize {
    (limit - RESERVED) / (REPLICAS * (pool + 1))
}

fn show(days: &Days, plan: Plan, placing: Placing, what: &str, room: usize) {
    match fleet::fleet(days, plan, placing, room) {
        Some(fleet) => say!(
            "fleet     {what}: {} servers, the busiest at {:.0} % of its cores ; one fails: at most {:.1} % of workspaces, {:.1} % of messages ; one more: {:.1} % of workspaces move",
            fleet.servers,
            100.0 * fleet.busiest / (2.0 * 60.0),
            100.0 * fleet.touched.0,
            100.0 * fleet.touched.1,
            100.0 * fleet.moved
        ),
        None => say!("fleet     {what}: a workspace needs more than a server has"),
    }
}
