//! A PostgreSQL server of a test program's own: on a free port of the loopback, with everything it keeps in a temporary
//! folder, and gone with the program, however that ends.
//!
//! Shared by the test programs that need one. Nobody else's server is touched, and none has to exist beforehand.
#![allow(dead_code, reason = "no program needs all of it")]

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// Prepares a server, runs it and does as it is told line by line, until its input ends: that happens with the program that
/// holds the other end. PostgreSQL refuses to be run by root, and the folder must be its user's own: so all of it is here.
const SCRIPT: &str = r#"
trap '' INT
folder=$(mktemp -d) || exit 1
"$1/initdb" -D "$folder/data" -U fini_bridge -A trust -E UTF8 --locale=C --no-sync >/dev/null || exit 1
up() {
    "$1/postgres" -D "$folder/data" -k "$folder" -h 127.0.0.1 -p "$2" -c max_connections=300 -c shared_buffers=64MB \
        $3 </dev/null 2>&1 &
    server=$!
}
up "$@"
while read -r word; do
    case $word in
        up) up "$@" ;;
        *) kill "-$word" $server; wait $server ;;
    esac
done
kill -QUIT $server 2>/dev/null
wait $server
rm -rf "$folder"
"#;

/// What the server writes once it can be reached.
const READY: &str = "ready to accept connections";
/// A free port may be taken by somebody else before the server has it.
const TRIES: usize = 5;
/// A server that recovers from a hard stop may take a while on a busy machine.
const COMES_BACK: Duration = Duration::from_secs(60);

/// The running server.
pub struct Server {
    port: u16,
    created: AtomicU32,
    /// What it has written to its log so far.
    log: Arc<Mutex<Vec<String>>>,
    /// The server runs until this is closed.
    input: Mutex<ChildStdin>,
}

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Every session is ended, and the server goes in order.
    Fast,
    /// It is gone at once, and recovers from its log at the next start.
    Immediate,
}

impl Server {
    /// Starts one; `None` where there is no PostgreSQL on this machine. `settings` are its own options (`-c name=value`).
    pub fn start(settings: &str) -> Option<Self> {
        let programs = programs()?;
        Some((0..TRIES).find_map(|_| Self::launch(&programs, settings)).expect("PostgreSQL starts"))
    }

    fn launch(programs: &Path, settings: &str) -> Option<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?.local_addr().ok()?.port();
        let mut child = as_ordinary_user()
            .args(["sh", "-c", SCRIPT, "sh"])
            .arg(programs)
            .args([&port.to_string(), settings])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let (input, output) = (child.stdin.take()?, child.stdout.take()?);
        let mut lines = BufReader::new(output).lines();
        lines.by_ref().map_while(Result::ok).find(|line| line.contains(READY))?;
        // The server's log has to go somewhere, or it would stop at a full pipe.
        let log = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Some(Self { port, created: AtomicU32::new(0), log, input: Mutex::new(input) })
    }

    /// What it has written to its log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The port it listens on.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The address of a database in it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://fini_bridge@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates an empty database, and gives its address.
    pub async fn database(&self) -> String {
        let name = format!("test_{}", self.created.fetch_add(1, Ordering::Relaxed));
        execute(&self.url("postgres"), &format!("CREATE DATABASE {name}")).await;
        self.url(&name)
    }

    /// Takes the server away.
    pub fn down(&self, how: Stop) {
        self.tell(match how {
            Stop::Fast => "INT",
            Stop::Immediate => "QUIT",
        });
    }

    /// Waits until a server that was taken away answers nobody any more.
    pub async fn gone(&self) {
        let gone = tokio::time::timeout(COMES_BACK, async {
            while tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        gone.await.expect("PostgreSQL goes");
    }

    /// Brings it back, and waits until it can be reached.
    pub async fn up(&self) {
        self.tell("up");
        let reached = tokio::time::timeout(COMES_BACK, async {
            loop {
                if let Ok(connection) = PgConnection::connect(&self.url("postgres")).await {
                    let _ = connection.close().await;
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        reached.await.expect("PostgreSQL comes back");
    }

    fn tell(&self, word: &str) {
        let mut line = String::new();
        writeln!(line, "{word}").expect("a string takes any text");
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        input.write_all(line.as_bytes()).and_then(|()| input.flush()).expect("the server's keeper listens");
    }
}

/// Asks for a number.
pub async fn number(url: &str, question: &str) -> i64 {
    let mut connection = PgConnection::connect(url).await.expect("the server can be reached");
    let asked = sqlx::query_scalar(AssertSqlSafe(question.to_owned())).fetch_one(&mut connection).await;
    connection.close().await.expect("closes");
    asked.expect("the question is right")
}

/// Runs statements as the database's operator would.
pub async fn execute(url: &str, statements: &str) {
    let mut connection = PgConnection::connect(url).await.expect("the server can be reached");
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(&mut connection)
        .await
        .expect("the statements are right");
    connection.close().await.expect("closes");
}

/// Ends every session in the database but the asking one; says how many.
pub async fn cut_connections(url: &str) -> usize {
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let Ok(mut connection) = PgConnection::connect(url).await else { return 0 };
    let cut = sqlx::query(cut).fetch_all(&mut connection).await.map_or(0, |cut| cut.len());
    let _ = connection.close().await;
    cut
}

/// Ends every session of the program that names itself so.
pub async fn cut_connections_of(url: &str, program: &str) {
    execute(
        url,
        &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{program}'"),
    )
    .await;
}

/// A command that runs another one, as somebody who is not root.
pub fn as_ordinary_user() -> Command {
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

/// The folder of the server's programs: the one on PATH, else the newest that the system's packages installed.
pub fn programs() -> Option<PathBuf> {
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
