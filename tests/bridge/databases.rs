//! A database as companies have it: moved to another server, owned by another role, with limits of its own.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::io::AsyncBufReadExt as _;

use crate::harness::{Allow, Bridge, Setup, eventually, server, unique, within};
use crate::postgres::{execute, number, programs};

const PATIENCE: Duration = Duration::from_secs(60);

/// How a database is moved to another server.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// `pg_dump | pg_restore`.
    Dump,
    /// A logical replication, as blue/green switches do it: it brings rows, and no sequence.
    Replication,
}

fn shell(script: &str, arguments: &[&str]) {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script, "sh"]).arg(programs().expect("it was there")).args(arguments);
    let done = command.stdin(Stdio::null()).output().expect("a shell is part of every system");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

async fn move_to(from: &str, to: &str, how: Move) {
    match how {
        Move::Dump => shell(r#""$1/pg_dump" -Fc "$2" | "$1/pg_restore" -d "$3""#, &[from, to]),
        Move::Replication => {
            shell(r#""$1/pg_dump" -s "$2" | "$1/psql" -q -v ON_ERROR_STOP=1 -d "$3""#, &[from, to]);
            execute(from, "CREATE PUBLICATION moved FOR ALL TABLES").await;
            let subscribe = format!("CREATE SUBSCRIPTION moved CONNECTION '{from}' PUBLICATION moved");
            let mut subscriber = PgConnection::connect(to).await.expect("connects");
            sqlx::query(AssertSqlSafe(subscribe)).execute(&mut subscriber).await.expect("subscribes");
            subscriber.close().await.expect("closes");
            let left = "SELECT COUNT(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'";
            within(PATIENCE, "all rows to be moved", async || (number(to, left).await == 0).then_some(())).await;
            let mut subscriber = PgConnection::connect(to).await.expect("connects");
            sqlx::query("DROP SUBSCRIPTION moved").execute(&mut subscriber).await.expect("ends");
        }
    }
}

/// The keys of the turns of `c`, in the order in which they were written.
async fn keys_are_in_order(url: &str) {
    let disorder = "SELECT COUNT(*) FROM turns a JOIN turns b ON a.conversation_key = b.conversation_key \
                    WHERE a.accepted_at < b.accepted_at AND a.key >= b.key";
    assert_eq!(number(url, disorder).await, 0);
}

#[tokio::test]
async fn after_a_move_to_another_server_the_next_message_has_its_place() {
    for how in [Move::Dump, Move::Replication] {
        let (Some(old), Some(new)) = (server("-c wal_level=logical"), server("-c wal_level=logical")) else { return };
        let (from, to) = (old.database().await, new.database().await);
        let mut bridge = Setup::new().store(&from).start().await;
        for n in 0..4 {
            bridge.turn("c", &format!("Message {n}")).await;
        }
        bridge.bound("c").await;
        bridge.stop().await;
        // Most of what was numbered is pruned: a number that is given again would meet nobody.
        execute(&from, "DELETE FROM budget").await;
        move_to(&from, &to, how).await;
        bridge.restart_with(|setup| setup.store(&to)).await;
        for n in 4..8 {
            bridge.turn("c", &format!("Message {n}, after {how:?}")).await;
        }
        bridge.turn("d", "Another conversation").await;
        bridge.bound("d").await;
        keys_are_in_order(&to).await;
        assert_eq!(is_told(&bridge, "a sequence stood behind its rows"), matches!(how, Move::Replication), "{how:?}");
        bridge.finish().await;
    }
}

fn is_told(bridge: &Bridge, words: &str) -> bool {
    bridge.log().iter().any(|line| line["message"].as_str().is_some_and(|message| message.starts_with(words)))
}

/// The same database as another role.
fn by(role: &str, url: &str) -> String {
    url.replace("fini_bridge@", &format!("{role}@"))
}

#[tokio::test]
async fn a_role_that_may_only_run_runs_and_what_it_lacks_to_bring_the_schema_up_to_date_is_named() {
    let Some(server) = server("") else { return };
    let url = server.database().await;
    execute(&server.url("postgres"), "CREATE ROLE runs LOGIN; CREATE ROLE crowd LOGIN CONNECTION LIMIT 1").await;
    let mut bridge = Setup::new().store(&url).start().await;
    bridge.turn("c", "Where is my order?").await;
    bridge.bound("c").await;
    bridge.stop().await;
    execute(
        &url,
        "GRANT USAGE ON SCHEMA public TO runs; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO runs; \
         GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO runs",
    )
    .await;
    bridge.restart_with(|setup| setup.store(&by("runs", &url))).await;
    bridge.turn("c", "And by a role that may less").await;
    bridge.bound("c").await;
    let fresh = server.database().await;
    for (role, database, words) in
        [("runs", &fresh, "CREATE on the schema"), ("crowd", &url, "CONNECTION LIMIT"), ("nobody", &url, "this role")]
    {
        let (status, said) = bridge.second_process_on(&by(role, database)).await;
        assert_eq!(status.code(), Some(1), "{role}: {said}");
        assert!(said.contains(words), "{role}: {said}");
        assert!(!said.contains("error returned from database"), "{role}: {said}");
    }
    bridge.finish().await;
}

/// A server that asks for passwords and for a kind of login that no driver knows, by the role.
fn strict() -> Option<(crate::postgres::Server, tempfile::TempDir)> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let rules = folder.path().join("hba");
    let lines = "host all fini_bridge all trust\nhost all with_password all scram-sha-256\nhost all by_ticket all gss\n\
                 host all crowd all trust\nhost all nobody all trust\nhost all runs all trust\n";
    std::fs::write(&rules, lines).expect("it can be written");
    Some((server(&format!("-c hba_file={} -c max_connections=40", rules.display()))?, folder))
}

#[tokio::test]
async fn what_the_database_refuses_at_a_start_is_told_in_the_operator_s_words() {
    let Some((server, _folder)) = strict() else { return };
    let url = server.database().await;
    let roles = "CREATE ROLE with_password LOGIN PASSWORD 'right-0ne'; CREATE ROLE by_ticket LOGIN; \
                 CREATE ROLE runs LOGIN; CREATE ROLE crowd LOGIN CONNECTION LIMIT 1; CREATE ROLE stays_out NOLOGIN";
    execute(&url, roles).await;
    let fresh = server.database().await;
    let closed = server.database().await;
    let name = closed.rsplit('/').next().expect("addresses name their database");
    execute(&url, &format!("REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")).await;
    let bridge = Setup::new().store(&url).start().await;
    for (store, words) in [
        (by("with_password:hunter2", &url), "refuses the password"),
        (by("with_password", &url), "password"),
        (by("by_ticket", &url), "scram-sha-256"),
        (by("stranger", &url), "pg_hba.conf"),
        (by("nobody", &url), "this role"),
        (by("crowd", &url), "CONNECTION LIMIT"),
        (by("runs", &fresh), "CREATE on the schema"),
        (by("runs", &closed), "lacks a right"),
        (format!("{url}_of_nobody"), "no such database"),
    ] {
        let environment = [("FINI_BRIDGE__STORE__URL", store.as_str())];
        let config = bridge.config_file();
        for command in [&["serve", "--config", &config][..], &["check", "--online", "--config", &config]] {
            let output = crate::program::run(std::path::Path::new("/"), command, &environment).await;
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert_eq!(output.status.code(), Some(1), "{store}: {said}");
            assert!(said.contains(words), "{store}: {said}");
            for noise in ["hunter2", "error returned from database", "pool_mode", "Protocol", "at line"] {
                assert!(!said.contains(noise), "{store}, {noise}: {said}");
            }
        }
    }
    bridge.finish().await;
}

/// Posts until a message is refused, and waits for the words of the cause in the log.
async fn refused_for(bridge: &mut Bridge, words: &str, conversation: &str) {
    let message =
        json!({"conversation_id": conversation, "message_id": unique("m").replace(' ', "-"), "text": unique("Now?")});
    within(PATIENCE, "the message to be refused", async || {
        let answer = bridge.call("POST", "/v1/messages").json(&message).attempt().await?;
        assert!([202, 503].contains(&answer.status), "{}", answer.text);
        (answer.status == 503).then_some(())
    })
    .await;
    eventually(words, async || {
        bridge.log().iter().any(|line| line["error"].as_str().is_some_and(|error| error.contains(words))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_the_database_refuses_later_is_told_in_the_operator_s_words() {
    let Some((server, _folder)) = strict() else { return };
    let url = server.database().await;
    execute(&url, "CREATE ROLE runs LOGIN").await;
    let mut bridge = Setup::new().store(&url).start().await;
    bridge.turn("c", "Where is my order?").await;
    bridge.bound("c").await;
    bridge.stop().await;
    let grant = "GRANT USAGE ON SCHEMA public TO runs; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO runs; \
                 GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO runs";
    execute(&url, grant).await;
    bridge.restart_with(|setup| setup.store(&by("runs", &url))).await;
    // A right that is taken away.
    execute(&url, "REVOKE INSERT ON turns FROM runs").await;
    refused_for(&mut bridge, "lacks a right", "d").await;
    execute(&url, grant).await;
    bridge.turn("d", "With the right again").await;
    // Somebody who holds a lock for longer than a statement may take.
    let mut holder = PgConnection::connect(&url).await.expect("connects");
    holder.execute("BEGIN; LOCK TABLE turns IN ACCESS EXCLUSIVE MODE").await.expect("locks");
    refused_for(&mut bridge, "pg_locks", "e").await;
    holder.execute("ROLLBACK").await.expect("ends");
    holder.close().await.expect("closes");
    bridge.turn("e", "Without the lock").await;
    // Others who take every connection.
    let mut others = Vec::new();
    while let Ok(connection) = PgConnection::connect(&by("runs", &url)).await {
        others.push(connection);
    }
    crate::postgres::cut_connections_of(&url, "fini-bridge").await;
    while let Ok(connection) = PgConnection::connect(&by("runs", &url)).await {
        others.push(connection);
    }
    refused_for(&mut bridge, "max_connections", "f").await;
    drop(others);
    bridge.turn("f", "With room again").await;
    bridge.allow(Allow::FailedLoops);
    bridge.allow(Allow::Repeats);
    bridge.finish().await;
}

/// A process that starts; what it logs, line by line.
struct Starting {
    process: tokio::process::Child,
    lines: tokio::io::Lines<tokio::io::BufReader<tokio::process::ChildStdout>>,
}

impl Starting {
    fn new(config: &str) -> Self {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_fini-bridge"));
        command.args(["serve", "--config", config]).env_clear().kill_on_drop(true);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it was built");
        let lines = tokio::io::BufReader::new(process.stdout.take().expect("piped")).lines();
        Self { process, lines }
    }

    async fn says(&mut self, message: &str) {
        let said = async {
            while let Some(line) = self.lines.next_line().await.expect("readable") {
                if line.contains(&format!("\"message\":\"{message}\"")) {
                    return;
                }
            }
            panic!("it ended without a word of {message}");
        };
        tokio::time::timeout(PATIENCE, said).await.unwrap_or_else(|_| panic!("waited in vain for {message}"));
    }

    /// Tells it to stop; gives its status.
    async fn stop(mut self) -> Option<i32> {
        let id = self.process.id().expect("it runs").to_string();
        let sent = tokio::process::Command::new("kill").args(["-TERM", &id]).status().await;
        assert!(sent.expect("kill is part of every system").success());
        let status = tokio::time::timeout(PATIENCE, self.process.wait()).await.expect("it ends");
        status.expect("it is a child of ours").code()
    }
}

#[tokio::test]
async fn a_start_waits_for_a_database_that_is_away_and_can_be_stopped_meanwhile() {
    let Some(server) = server("") else { return };
    let url = server.database().await;
    let mut bridge = Setup::new().store(&url).start().await;
    let config = bridge.config_file();
    bridge.stop().await;
    server.down(crate::postgres::Stop::Fast);
    server.gone().await;
    let away = "no server of the database takes writes";
    let (mut one, mut other) = (Starting::new(&config), Starting::new(&config));
    one.says(away).await;
    other.says(away).await;
    assert_eq!(other.stop().await, Some(0));
    // A command that only looks does not wait.
    let looked = crate::program::run(std::path::Path::new("/"), &["check", "--online", "--config", &config], &[]).await;
    assert_eq!(looked.status.code(), Some(1));
    let said = String::from_utf8_lossy(&looked.stderr).into_owned();
    assert!(said.contains("cannot be reached"), "{said}");
    server.up().await;
    one.says("ready to serve").await;
    assert_eq!(one.stop().await, Some(0));
    bridge.restart().await;
    bridge.turn("c", "Is it back?").await;
    bridge.finish().await;
}

/// A proxy in front of the server; while it is told that there is none behind it, it takes connections and closes them.
struct Proxy {
    port: u16,
    is_behind: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Proxy {
    #[expect(clippy::disallowed_methods, reason = "it ends with the runtime of its test")]
    async fn start(to: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let port = listener.local_addr().expect("it is bound").port();
        let is_behind = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
        let (behind, mut open) = (std::sync::Arc::clone(&is_behind), tokio::task::JoinSet::new());
        tokio::spawn(async move {
            loop {
                let Ok((mut one, _)) = listener.accept().await else { return };
                if !behind.load(std::sync::atomic::Ordering::Relaxed) {
                    open.shutdown().await;
                    continue;
                }
                open.spawn(async move {
                    let Ok(mut other) = tokio::net::TcpStream::connect(("127.0.0.1", to)).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut one, &mut other).await;
                });
            }
        });
        Self { port, is_behind }
    }

    fn has_a_server(&self, has: bool) {
        self.is_behind.store(has, std::sync::atomic::Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_proxy_that_has_no_server_to_pass_to_is_named_and_answered_503() {
    let Some(server) = server("") else { return };
    let url = server.database().await;
    let proxy = Proxy::start(server.port()).await;
    let through = url.replace(&server.port().to_string(), &proxy.port.to_string());
    let mut bridge = Setup::new().store(&through).start().await;
    bridge.turn("c", "Where is my order?").await;
    bridge.bound("c").await;
    proxy.has_a_server(false);
    crate::postgres::cut_connections_of(&url, "fini-bridge").await;
    // Never 500, however it comes upon it; "pooler" would send the operator to the wrong place.
    refused_for(&mut bridge, "took the connection and closed it", "d").await;
    let wrong = |line: &serde_json::Value| line["error"].as_str().is_some_and(|error| error.contains("pool_mode"));
    assert!(!bridge.log().iter().any(wrong));
    proxy.has_a_server(true);
    bridge.turn("d", "And now?").await;
    bridge.allow(Allow::FailedLoops);
    bridge.allow(Allow::Repeats);
    bridge.finish().await;
}
