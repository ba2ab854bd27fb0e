//! The export as a process: started, watched, killed, resumed.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStderr, Command},
    time::sleep,
};

use crate::vendor::Vendor;

/// Nothing on this machine makes one run take longer.
const PATIENCE: Duration = Duration::from_secs(240);
/// How often its memory is looked at. The kernel keeps the peak; only what it takes in its very last moment is missed.
const LOOK_EVERY: Duration = Duration::from_millis(3);

/// An export in one or several runs.
pub struct Export {
    pub out: PathBuf,
    words: Vec<String>,
    child: Option<(Child, BufReader<ChildStderr>)>,
    began: Instant,
    peak_kib: u64,
}

/// How it ended.
pub struct Outcome {
    /// The closing summary.
    pub summary: Value,
    /// The peak of resident memory over all runs.
    pub peak_kib: u64,
    /// From the start of the first run.
    pub took: Duration,
}

impl Export {
    /// An export of everything to a file of this name.
    pub fn new(vendor: &Vendor, name: &str) -> Result<Self> {
        let folder = vendor.folder.path();
        let (out, config) = (folder.join(name), folder.join("fini-bridge.toml"));
        let since = vendor.since();
        let [out_text, config] = [&out, &config].map(|path| path.to_str().context("a path that is not text"));
        let words = ["export", "conversations", "--since", &since, "--summary", "json", "--resume"];
        let words = words.into_iter().chain(["--config", config?, "--out", out_text?]).map(str::to_owned).collect();
        Ok(Self { out, words, child: None, began: Instant::now(), peak_kib: 0 })
    }

    /// Starts it, or goes on with it.
    pub fn start(&mut self, more: &[&str]) -> Result<()> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fini-bridge"));
        command.args(&self.words).args(more).env_clear().kill_on_drop(true);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let stderr = BufReader::new(child.stderr.take().context("its standard error")?);
        self.child = Some((child, stderr));
        Ok(())
    }

    /// Whether it still runs; notes its memory on the way.
    pub fn is_running(&mut self) -> Result<bool> {
        let Some((child, _)) = &mut self.child else { return Ok(false) };
        if let Some(id) = child.id() {
            self.peak_kib = self.peak_kib.max(peak(id).unwrap_or(0));
        }
        Ok(child.try_wait()?.is_none())
    }

    /// SIGKILL.
    pub async fn kill(&mut self) -> Result<()> {
        if let Some((mut child, _)) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// Waits for its end, which must be a good one.
    pub async fn ended(&mut self) -> Result<Outcome> {
        let deadline = Instant::now() + PATIENCE;
        while self.is_running()? {
            ensure!(Instant::now() < deadline, "the export did not end within {PATIENCE:?}");
            sleep(LOOK_EVERY).await;
        }
        let Some((mut child, stderr)) = self.child.take() else { bail!("it was not started") };
        let status = child.wait().await?;
        let (mut lines, mut said) = (stderr.lines(), Vec::new());
        while let Some(line) = lines.next_line().await? {
            said.push(line);
        }
        ensure!(status.success(), "it ended with {status}: {}", said.join("\n"));
        let summary = said.iter().rev().find_map(|line| serde_json::from_str::<Value>(line).ok());
        let summary = summary.with_context(|| format!("no summary in {said:?}"))?;
        Ok(Outcome { summary, peak_kib: self.peak_kib, took: self.began.elapsed() })
    }
}

/// The peak of a process's resident memory, as the kernel counts it, besides its code: of a debug build that alone is as large.
fn peak(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    Some(kib("VmHWM:")?.saturating_sub(kib("RssFile:")?))
}
