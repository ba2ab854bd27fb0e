//! The bridge's own process: started, listened to, signalled. Every line it says is kept.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::eventually;

/// What a process says, line by line. Clones share everything.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    own: Arc<Mutex<Vec<String>>>,
    whole: Option<Box<Self>>,
}

impl Lines {
    /// Every line so far.
    pub fn all(&self) -> Vec<String> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lines of one process among several that speak at the same time; each of them is a line of the whole, too.
    pub fn part(&self) -> Self {
        Self { own: Arc::default(), whole: Some(Box::new(self.clone())) }
    }

    fn push(&self, line: String) {
        if let Some(whole) = &self.whole {
            whole.push(line.clone());
        }
        self.own.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    async fn follow(self, from: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            self.push(line);
        }
    }
}

/// A running process.
pub struct Process {
    child: Child,
    /// Standard output, over all processes of this bridge.
    pub stdout: Lines,
    /// Standard error, likewise.
    pub stderr: Lines,
    reading: JoinSet<()>,
}

impl Process {
    /// Starts `fini-bridge` with these arguments in a folder of its own, without the surrounding configuration.
    pub fn start(arguments: &[&str], folder: &Path, stdout: Lines, stderr: Lines) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fini-bridge"));
        command.args(arguments).current_dir(folder).env_clear().kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary under test was built");
        let mut reading = JoinSet::new();
        reading.spawn(stdout.clone().follow(child.stdout.take().expect("it is piped")));
        reading.spawn(stderr.clone().follow(child.stderr.take().expect("it is piped")));
        Self { child, stdout, stderr, reading }
    }

    /// Waits for the addresses it says it listens on, among the lines from `first` on.
    pub async fn addresses(&mut self, first: usize) -> (String, String) {
        let find = |listener: &str, lines: &[String]| {
            lines.iter().skip(first).find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                (line["message"] == "listening" && line["listener"] == listener)
                    .then(|| format!("http://{}", line["address"].as_str().unwrap_or_default()))
            })
        };
        let stdout = self.stdout.clone();
        eventually("the bridge to listen", async || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the bridge ended with {status}: {:?} {:?}", self.stdout.all(), self.stderr.all());
            }
            let lines = stdout.all();
            Some((find("public", &lines)?, find("admin", &lines)?))
        })
        .await
    }

    /// Sends a signal by name.
    pub async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs");
        let sent = Command::new("kill").arg(format!("-{name}")).arg(id.to_string()).status().await;
        assert!(sent.expect("kill is part of every system").success(), "the bridge could not be sent SIG{name}");
    }

    /// Waits for its end, and for the last of its output.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let status = tokio::time::timeout(within, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("the bridge did not end within {within:?}"));
        while self.reading.join_next().await.is_some() {}
        status.expect("it is a child of ours")
    }
}
