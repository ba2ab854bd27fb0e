//! A PostgreSQL server of the tests' own: started once per test process on a free port of the loopback, with everything
//! it keeps in a temporary folder, and gone with the process, however that ends.
//!
//! Every test gets a schema of its own in it. Without PostgreSQL on the machine the tests that need it are left out, and
//! say so; with `FINI_BRIDGE_TEST_REQUIRE_POSTGRES=1` they fail instead.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Prepares and runs a server until its input ends, which it does with the process that holds the other end.
///
/// PostgreSQL refuses to be run by root, and the folder must be its user's own: so all of it happens here.
const SCRIPT: &str = r#"
trap '' INT
folder=$(mktemp -d) || exit 1
"$1/initdb" -D "$folder/data" -U fini_bridge -A trust -E UTF8 --locale=C --no-sync >/dev/null || exit 1
exec 3<&0
"$1/postgres" -D "$folder/data" -k "$folder" -h 127.0.0.1 -p "$2" -c max_connections=300 -c shared_buffers=32MB \
    </dev/null 2>&1 &
server=$!
( cat <&3 >/dev/null; kill -QUIT $server ) >/dev/null 2>&1 &
wait $server
rm -rf "$folder"
"#;

/// The server's message once it can be reached.
const READY: &str = "ready to accept connections";
/// The most tries: another process may take a free port before the server has it.
const TRIES: usize = 5;

struct Server {
    port: u16,
    created: AtomicU32,
    /// The server runs until this is closed.
    _input: ChildStdin,
}

static SERVER: LazyLock<Option<Server>> = LazyLock::new(|| {
    let Some(programs) = programs() else {
        let required = std::env::var_os("FINI_BRIDGE_TEST_REQUIRE_POSTGRES").is_some_and(|value| value == "1");
        assert!(!required, "FINI_BRIDGE_TEST_REQUIRE_POSTGRES=1, but there is no PostgreSQL (initdb) on this machine");
        // Written past the test harness, which hides the output of tests that succeed.
        let _ = std::io::stderr().write_all(
            b"\n*** LEFT OUT: every test of the PostgreSQL store. No initdb on PATH or under /usr/lib/postgresql. ***\n\n",
        );
        return None;
    };
    Some((0..TRIES).find_map(|_| Server::start(&programs)).expect("PostgreSQL starts"))
});

/// Returns the address of an empty schema; `None` without PostgreSQL.
pub(in crate::store) async fn schema() -> Option<SecretString> {
    let server = SERVER.as_ref()?;
    let name = server.create("SCHEMA").await;
    Some(SecretString::from(format!("{}?options=-csearch_path%3D{name}", server.url("postgres"))))
}

/// Returns the address of an empty database, for tests that look at every session in it: it takes longer than a schema.
pub(super) async fn database() -> Option<SecretString> {
    let server = SERVER.as_ref()?;
    let name = server.create("DATABASE").await;
    Some(SecretString::from(server.url(&name)))
}

impl Server {
    fn url(&self, database: &str) -> String {
        format!("postgres://fini_bridge@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates something with a name that nothing else has.
    async fn create(&self, what: &str) -> String {
        let name = format!("test_{}", self.created.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&self.url("postgres")).await.expect("the server can be reached");
        let create = AssertSqlSafe(format!("CREATE {what} {name}"));
        sqlx::query(create).execute(&mut connection).await.expect("it is created");
        connection.close().await.expect("closes");
        name
    }

    /// Starts a server; `None` if it could not.
    fn start(programs: &Path) -> Option<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?.local_addr().ok()?.port();
        let mut child = as_ordinary_user()
            .arg("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(programs)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let (input, output) = (child.stdin.take()?, child.stdout.take()?);
        let mut lines = BufReader::new(output).lines();
        lines.by_ref().map_while(Result::ok).find(|line| line.contains(READY))?;
        // The server's log has to go somewhere, or it would stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { port, created: AtomicU32::new(0), _input: input })
    }
}

/// Returns a command that runs another one as a user other than root.
fn as_ordinary_user() -> Command {
    let succeeds = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    if !is_root {
        return Command::new("env");
    }
    let user = if succeeds(Command::new("id").arg("postgres")) { "postgres" } else { "nobody" };
    let mut command = Command::new("runuser");
    command.args(["-u", user, "--"]).current_dir("/");
    command
}

/// Returns the folder of the server's programs: the one on PATH, else the newest that the system's packages installed.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).find_map(|folder| std::fs::canonicalize(folder.join("initdb")).ok());
    if let Some(folder) = on_path.as_deref().and_then(Path::parent).filter(|folder| folder.join("postgres").exists()) {
        return Some(folder.to_owned());
    }
    let installed = std::fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(Result::ok);
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = installed.map(|entry| entry.path()).max_by_key(version)?.join("bin");
    newest.join("initdb").exists().then_some(newest)
}
