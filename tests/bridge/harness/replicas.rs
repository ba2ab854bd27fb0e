//! Several bridges on one PostgreSQL: which replica the harness speaks to, and what happens to the others.

use std::sync::LazyLock;

use super::bridge::Bridge;
use super::process::Process;
use crate::postgres;

/// Where there is no PostgreSQL, tests that need it are left out, and say so; with this variable set they fail.
const REQUIRE: &str = "FINI_BRIDGE_TEST_REQUIRE_POSTGRES";

static SERVER: LazyLock<Option<postgres::Server>> = LazyLock::new(|| server(""));

/// A server of a test's own, for tests that take it away.
pub fn server(settings: &str) -> Option<postgres::Server> {
    let server = postgres::Server::start(settings);
    if server.is_none() {
        left_out("PostgreSQL (initdb)");
    }
    server
}

/// The address of an empty database, or `None` where there is no PostgreSQL.
pub async fn database() -> Option<String> {
    Some(SERVER.as_ref()?.database().await)
}

/// Prints a figure, past the test harness, which shows what succeeds to nobody.
pub fn said(what: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Says that a test cannot run without a program, or fails where it has to.
pub fn left_out(program: &str) {
    let required = std::env::var_os(REQUIRE).is_some_and(|value| value == "1");
    assert!(!required, "{REQUIRE}=1, but there is no {program} on this machine");
    said(&format!("\n*** LEFT OUT: a test that needs {program} ***\n"));
}

/// A replica that the harness does not speak to at the moment.
pub struct Replica {
    process: Option<Process>,
    url: String,
    admin_url: String,
}

impl Bridge {
    /// Starts another replica with the same configuration, and speaks to it from now on.
    pub async fn join(&mut self) {
        self.leave_current();
        self.launch().await;
    }

    /// The same with another configuration; the replicas before keep theirs.
    pub async fn join_with(&mut self, change: impl FnOnce(super::Setup) -> super::Setup) {
        self.leave_current();
        self.restart_with(change).await;
    }

    /// Starts so many replicas at the same moment, and speaks to the last of them. Nothing may run.
    pub async fn start_together(&mut self, count: usize) {
        assert!(self.process.is_none(), "stop or kill the bridge first");
        self.write_config();
        let started: Vec<Process> = (0..count).map(|_| self.spawn(self.stdout.part())).collect();
        for mut process in started {
            if self.process.is_some() {
                self.leave_current();
            }
            (self.url, self.admin_url) = process.addresses(0).await;
            self.urls.insert(self.url.clone());
            self.process = Some(process);
        }
    }

    fn leave_current(&mut self) {
        let current = self.current();
        self.others.push_back(current);
    }

    fn current(&mut self) -> Replica {
        Replica { process: self.process.take(), url: self.url.clone(), admin_url: self.admin_url.clone() }
    }

    /// Speaks to the next replica, in turn.
    pub fn next_replica(&mut self) {
        let Some(next) = self.others.pop_front() else { return };
        self.leave_current();
        (self.process, self.url, self.admin_url) = (next.process, next.url, next.admin_url);
    }

    /// How many replicas there are.
    pub fn replicas(&self) -> usize {
        self.others.len() + 1
    }

    /// Leaves the others behind and stops them in order, as far as they run.
    pub(super) async fn stop_others(&mut self) {
        for _ in 0..self.others.len() {
            self.next_replica();
            if self.process.is_some() {
                self.stop().await;
            }
        }
        self.next_replica();
    }

    /// Speaks to the replica that reads, once there is one.
    pub async fn find_reader(&mut self) {
        let started = std::time::Instant::now();
        loop {
            self.next_replica();
            if self.process.is_some() && self.reads().await {
                return;
            }
            assert!(started.elapsed() < super::DEADLINE, "no replica reads");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Whether this replica is the one that reads, as its readiness tells.
    pub async fn reads(&self) -> bool {
        let Some(readiness) = self.admin("GET", "/readyz").attempt().await else { return false };
        !readiness.json()["checks"]["reading"]["sweep_age_ms"].is_null()
    }
}
