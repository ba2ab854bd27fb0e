//! PostgreSQL behind PgBouncer: with sessions it is as without, and without sessions it is refused, or noticed later, and named.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::harness::{Allow, Bridge, Setup, eventually, left_out, server, within};
use crate::postgres::{self, as_ordinary_user};

/// Sessions are tried twice a minute.
const NOTICED: Duration = Duration::from_secs(90);

/// A pooler of a test's own; ends with it.
struct Pooler {
    port: u16,
    keeper: Child,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Pooler {
    fn start(program: &Path, server: &postgres::Server, mode: &str) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let port = free.local_addr().expect("it is bound").port();
        drop(free);
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        let file = folder.path().join("pgbouncer.ini");
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=fini_bridge\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\nmax_client_conn = 200\n\
             default_pool_size = 60\n",
            server.port()
        );
        std::fs::write(&file, settings).expect("it can be written");
        let script = r#""$1" -q "$2" </dev/null >/dev/null 2>&1 & p=$!; while read -r word; do kill -$word $p; done; kill $p; wait"#;
        let mut command = as_ordinary_user();
        command.args(["sh", "-c", script, "sh"]).arg(program).arg(&file).stdin(Stdio::piped());
        Self { port, keeper: command.spawn().expect("a shell is part of every system"), file, _folder: folder }
    }

    /// Has it work in another mode from now on, as an operator does who reloads it.
    fn reload(&mut self, mode: &str) {
        let before = std::fs::read_to_string(&self.file).expect("it was written");
        let lines = before
            .lines()
            .map(|line| if line.starts_with("pool_mode") { format!("pool_mode = {mode}") } else { line.to_owned() });
        std::fs::write(&self.file, lines.collect::<Vec<_>>().join("\n") + "\n").expect("it can be written");
        let keeper = self.keeper.stdin.as_mut().expect("piped");
        keeper.write_all(b"HUP\n").and_then(|()| keeper.flush()).expect("its keeper listens");
    }

    async fn url(&self, database: &str) -> String {
        let address = ("127.0.0.1", self.port);
        eventually("the pooler to listen", async || tokio::net::TcpStream::connect(address).await.ok()).await;
        let name = database.rsplit('/').next().expect("addresses name their database");
        format!("postgres://fini_bridge@127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn pgbouncer() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join("pgbouncer")).find(|program| program.exists());
    if found.is_none() {
        left_out("PgBouncer");
    }
    found
}

#[tokio::test]
async fn a_pooler_without_sessions_is_refused_and_one_with_sessions_works() {
    let (Some(server), Some(program)) = (server(""), pgbouncer()) else { return };
    let database = server.database().await;
    let mut bridge = Setup::new().store(&database).start().await;
    bridge.turn("c", "Where is my order?").await;
    for mode in ["transaction", "statement"] {
        let pooler = Pooler::start(&program, &server, mode);
        let (status, said) = bridge.second_process_on(&pooler.url(&database).await).await;
        assert_eq!(status.code(), Some(1), "{mode}: {said}");
        assert!(said.contains("pool_mode = session"), "{mode}: {said}");
    }
    let pooler = Pooler::start(&program, &server, "session");
    let through = pooler.url(&database).await;
    bridge.join_with(|setup| setup.store(&through)).await;
    bridge.turn("c", "Through a pooler").await;
    bridge.bound("c").await;
    bridge.next_replica();
    bridge.finish().await;
    drop(pooler);
}

/// One address with several poolers behind it, each connection at the next one.
#[expect(clippy::disallowed_methods, reason = "it ends with the runtime of its test")]
async fn in_turn(ports: [u16; 2]) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        for to in ports.into_iter().cycle() {
            let Ok((mut one, _)) = listener.accept().await else { return };
            tokio::spawn(async move {
                let Ok(mut other) = tokio::net::TcpStream::connect(("127.0.0.1", to)).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut one, &mut other).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn two_poolers_without_sessions_behind_one_address_are_refused() {
    let (Some(server), Some(program)) = (server(""), pgbouncer()) else { return };
    let database = server.database().await;
    let mut bridge = Setup::new().store(&database).start().await;
    for (mode, is_taken) in [("transaction", false), ("session", true)] {
        let poolers = [(); 2].map(|()| Pooler::start(&program, &server, mode));
        for pooler in &poolers {
            pooler.url(&database).await;
        }
        let port = in_turn([poolers[0].port, poolers[1].port]).await;
        let url = format!("postgres://fini_bridge@127.0.0.1:{port}/{}", database.rsplit('/').next().expect("named"));
        if is_taken {
            bridge.join_with(|setup| setup.store(&url)).await;
            bridge.turn("c", "Through one of two poolers").await;
            bridge.bound("c").await;
            bridge.finish().await;
            return;
        }
        let (status, said) = bridge.second_process_on(&url).await;
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains("pool_mode = session"), "{said}");
    }
}

#[tokio::test]
async fn a_pooler_that_stops_giving_sessions_while_the_bridge_runs_is_noticed_and_named() {
    let (Some(server), Some(program)) = (server(""), pgbouncer()) else { return };
    let mut pooler = Pooler::start(&program, &server, "session");
    let url = pooler.url(&server.database().await).await;
    let mut bridge = Setup::new().store(&url).start().await;
    bridge.turn("c", "Where is my order?").await;
    let log = |bridge: &Bridge, message: &str| bridge.log().into_iter().find(|line| line["message"] == message);
    pooler.reload("transaction");
    let seen = "the database's connections are no sessions";
    let line = within(NOTICED, seen, async || log(&bridge, seen)).await;
    assert!(line["detail"].as_str().is_some_and(|said| said.contains("pool_mode = session")), "{line}");
    let readiness = within(NOTICED, "readiness to say so", async || {
        Some(bridge.admin("GET", "/readyz").send().await).filter(|answer| answer.status == 503)
    });
    assert!(readiness.await.text.contains("pooler"));
    pooler.reload("session");
    let seen = "the database's connections are sessions again";
    within(NOTICED, seen, async || log(&bridge, seen)).await;
    within(NOTICED, "readiness to come back", async || {
        Some(bridge.admin("GET", "/readyz").send().await).filter(|answer| answer.status == 200)
    })
    .await;
    bridge.turn("c", "And now?").await;
    bridge.allow(Allow::FailedLoops);
    bridge.allow(Allow::Repeats);
    bridge.finish().await;
}
