//! `export` beside what stands at its output already: devices, links, other files, an earlier follower's file.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use fini_bridge::sandbox::{self, ApiKey, Sandbox, SandboxConfig, Seed};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::harness::{Setup, epoch_millis, eventually, random_token};

/// A folder, and a workspace at Fini's side with some conversations in it.
struct Desk {
    folder: tempfile::TempDir,
    sandbox: Sandbox,
    url: String,
    servers: JoinSet<()>,
}

impl Desk {
    async fn new(conversations: u32) -> Self {
        let mut desk = Self {
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
            sandbox: Sandbox::new(SandboxConfig::instant()),
            url: String::new(),
            servers: JoinSet::new(),
        };
        desk.move_in("127.0.0.1:0", conversations).await;
        desk
    }

    /// Another company's workspace at the same address.
    async fn replace(&mut self, conversations: u32) {
        self.servers.shutdown().await;
        let address = self.url.trim_start_matches("http://").to_owned();
        self.move_in(&address, conversations).await;
    }

    async fn move_in(&mut self, address: &str, conversations: u32) {
        let key = format!("fini_{}", random_token());
        let mut config = SandboxConfig::instant();
        config.api_keys = vec![ApiKey::full(&key)];
        self.sandbox = Sandbox::new(config);
        let now = epoch_millis();
        let (from_ms, to_ms) = (Some(now - 3 * 86_400_000), Some(now - 3_600_000));
        self.sandbox.seed(&Seed { conversations, events_each: 2, from_ms, to_ms, ..Seed::default() }).expect("seeded");
        let listener = eventually("the address to be free", async || TcpListener::bind(address).await.ok()).await;
        self.url = format!("http://{}", listener.local_addr().expect("bound"));
        let twin = self.sandbox.clone();
        self.servers.spawn(async move {
            sandbox::serve(listener, twin, std::future::pending()).await.expect("the sandbox serves");
        });
        self.configure(&key);
    }

    fn configure(&self, key: &str) {
        let setup = Setup::new().set("fini.api_key", &format!("{key:?}"));
        let text = setup.render(&self.url, "sqlite://bridge.db", "http://127.0.0.1:9");
        std::fs::write(self.path("config.toml"), text).expect("writable");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, what: &str, out: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fini-bridge"));
        // No bridge runs: its admin listener is looked for where nothing listens.
        command.args(["export", what, "--config", "config.toml", "--admin", "http://127.0.0.1:9", "--out", out]);
        command.args(more).current_dir(self.folder.path()).env_clear().kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    async fn export(&self, what: &str, out: &str, more: &[&str]) -> Output {
        let output = tokio::time::timeout(Duration::from_secs(60), self.command(what, out, more).output());
        output.await.expect("it ends").expect("the binary under test was built")
    }

    async fn exported(&self, what: &str, out: &str, more: &[&str]) {
        let output = self.export(what, out, more).await;
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    }

    fn lines(&self, name: &str) -> usize {
        std::fs::read_to_string(self.path(name)).map_or(0, |text| text.lines().count())
    }

    /// Follows into `follow.ndjson` until it holds at least `lines`.
    async fn follow(&self, more: &[&str], lines: usize) -> Child {
        let mut command = self.command("conversations", "follow.ndjson", &["--follow", "--interval", "50ms"]);
        let child = command.args(more).spawn().expect("the binary under test was built");
        eventually("the follower to write", async || (self.lines("follow.ndjson") >= lines).then_some(())).await;
        child
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("there").permissions().mode() & 0o777
}

#[tokio::test]
async fn a_new_file_is_private_and_an_old_one_keeps_its_mode_and_its_link() {
    let desk = Desk::new(3).await;
    desk.exported("conversations", "week.ndjson", &[]).await;
    assert_eq!((mode(&desk.path("week.ndjson")), desk.lines("week.ndjson")), (0o600, 3));
    std::fs::set_permissions(desk.path("week.ndjson"), std::fs::Permissions::from_mode(0o640)).expect("set");
    symlink("week.ndjson", desk.path("link.ndjson")).expect("linked");
    desk.exported("conversations", "link.ndjson", &[]).await;
    assert_eq!(mode(&desk.path("week.ndjson")), 0o640);
    assert!(std::fs::symlink_metadata(desk.path("link.ndjson")).expect("there").is_symlink());
    let left: Vec<_> =
        std::fs::read_dir(desk.folder.path()).expect("readable").flatten().map(|it| it.file_name()).collect();
    assert_eq!(left.len(), 3, "nothing else is left: {left:?}");
}

#[tokio::test]
async fn a_pipe_and_a_device_are_written_into() {
    let desk = Desk::new(3).await;
    let fifo = desk.path("pipe");
    assert!(Command::new("mkfifo").arg(&fifo).status().await.expect("mkfifo is there").success());
    let reader = tokio::task::spawn_blocking({
        let fifo = fifo.clone();
        move || std::fs::read_to_string(fifo).expect("read")
    });
    desk.exported("conversations", "pipe", &[]).await;
    assert_eq!(reader.await.expect("it ends").lines().count(), 3);
    assert!(std::fs::metadata(&fifo).expect("there").file_type().is_fifo());
    let before = std::fs::metadata("/dev/null").expect("there").rdev();
    desk.exported("conversations", "/dev/null", &[]).await;
    assert_eq!(std::fs::metadata("/dev/null").expect("there").rdev(), before);
    let output = desk.export("conversations", "/dev/stdout", &["--quiet"]).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 3);
    let resumed = desk.export("conversations", "/dev/null", &["--resume"]).await;
    assert_eq!(resumed.status.code(), Some(2));
}

#[tokio::test]
async fn one_export_does_not_take_another_ones_place() {
    let desk = Desk::new(3).await;
    for format in ["ndjson", "csv"] {
        desk.exported("conversations", "backup/", &["--format", format]).await;
        desk.exported("history", "backup/", &["--format", format]).await;
    }
    let mut names: Vec<_> = std::fs::read_dir(desk.path("backup"))
        .expect("readable")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    names.sort_unstable();
    let wanted = [
        "conversations.csv",
        "conversations.ndjson",
        "events.csv",
        "history.conversations.csv",
        "history.ndjson",
        "history.questions.csv",
    ];
    assert_eq!(names, wanted);
    let before = std::fs::read(desk.path("backup/conversations.ndjson")).expect("read");
    let refused = desk.export("history", "backup/conversations.ndjson", &[]).await;
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert_eq!(std::fs::read(desk.path("backup/conversations.ndjson")).expect("read"), before);
}

#[tokio::test]
async fn a_spreadsheet_runs_no_customers_text() {
    let desk = Desk::new(0).await;
    desk.sandbox.seed(&Seed { conversations: 1, events_each: 1, ..Seed::default() }).expect("seeded");
    let conversation = desk.sandbox.conversations(1)[0].id.to_string();
    desk.sandbox.agent_message(&conversation, "=HYPERLINK(\"http://x.example\")").expect("said");
    desk.exported("conversations", "out.csv", &["--format", "csv", "--table", "events"]).await;
    assert!(std::fs::read_to_string(desk.path("out.csv")).expect("read").contains("\"'=HYPERLINK("));
    desk.exported("conversations", "out.csv", &["--format", "csv", "--table", "events", "--raw"]).await;
    assert!(std::fs::read_to_string(desk.path("out.csv")).expect("read").contains("\"=HYPERLINK("));
}

#[tokio::test]
async fn a_follower_that_is_started_again_adds_to_its_file() {
    let desk = Desk::new(5).await;
    let mut follower = desk.follow(&[], 5).await;
    let first = desk.sandbox.conversations(1)[0].id.to_string();
    desk.sandbox.agent_message(&first, "A word while it follows").expect("said");
    eventually("the word", async || (desk.lines("follow.ndjson") >= 6).then_some(())).await;
    // The place is committed after the line: a kill between the two tells the line once more.
    follower.kill().await.expect("it runs");
    desk.sandbox.agent_message(&first, "A word while nobody follows").expect("said");
    let old = std::fs::read_to_string(desk.path("follow.ndjson")).expect("read");

    let refused = desk.export("conversations", "follow.ndjson", &["--follow"]).await;
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    let mut follower = desk.follow(&["--resume"], 7).await;
    follower.kill().await.expect("it runs");
    let new = std::fs::read_to_string(desk.path("follow.ndjson")).expect("read");
    assert!(new.starts_with(&old) && new.contains("A word while nobody follows"), "{old}\n->\n{new}");
}

#[tokio::test]
async fn an_export_is_not_gone_on_with_under_another_companys_key() {
    let mut desk = Desk::new(5).await;
    desk.follow(&[], 5).await.kill().await.expect("it runs");
    eventually("the place to be kept", async || desk.path("follow.ndjson.partial").exists().then_some(())).await;
    desk.replace(4).await;
    let refused = desk.export("conversations", "follow.ndjson", &["--follow", "--resume"]).await;
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(said(&refused).contains("another key"), "{}", said(&refused));
    assert_eq!(desk.lines("follow.ndjson"), 5);
}

#[tokio::test]
async fn bash_completes_behind_the_first_word() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let script =
        Command::new(env!("CARGO_BIN_EXE_fini-bridge")).args(["completions", "bash"]).output().await.expect("built");
    std::fs::write(folder.path().join("completion"), script.stdout).expect("writable");
    // Whatever the function is called that completes the program.
    let ask = "source ./completion; COMP_WORDS=(fini-bridge export ''); COMP_CWORD=2; set -- $(complete -p fini-bridge); \
               while [ \"$1\" != -F ]; do shift; done; \"$2\" fini-bridge '' export; echo \"${COMPREPLY[@]}\"";
    let answer =
        Command::new("bash").args(["--norc", "-c", ask]).current_dir(folder.path()).output().await.expect("bash");
    let offered = String::from_utf8_lossy(&answer.stdout).into_owned();
    assert!(offered.contains("conversations") && offered.contains("history"), "{offered} {}", said(&answer));
}
