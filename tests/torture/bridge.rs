//! The program under test as a process: started, watched, killed.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep},
};

/// Nothing on this machine makes a start take longer.
const START: Duration = Duration::from_secs(60);

/// The program.
pub struct Bridge {
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    public: SocketAddr,
    child: Option<Child>,
    /// A program before it, with its arguments, that watches it and leaves it its process id.
    pub under: Vec<String>,
    /// Its environment.
    pub env: Vec<(OsString, OsString)>,
}

impl Bridge {
    /// A program that is not running yet. It is a copy, so that building meanwhile does not change it.
    pub fn new(folder: &Path, config: PathBuf, public: SocketAddr) -> Result<Self> {
        let program = folder.join("fini-bridge");
        if !program.exists() {
            std::fs::copy(env!("CARGO_BIN_EXE_fini-bridge"), &program).context("copying the program")?;
        }
        Ok(Self {
            program,
            config,
            log: folder.join("bridge.log"),
            public,
            child: None,
            under: Vec::new(),
            env: Vec::new(),
        })
    }

    /// Starts it.
    pub fn start(&mut self) -> Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut words = self.under.iter().map(OsString::from).chain([
            self.program.clone().into(),
            "serve".into(),
            "--config".into(),
            self.config.clone().into(),
        ]);
        let first = words.next().context("no program")?;
        let child = Command::new(first)
            .args(words)
            .env_clear()
            .envs(self.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("starting fini-bridge")?;
        self.child = Some(child);
        Ok(())
    }

    /// Starts it as its keeper would: again and again while the database cannot be reached.
    pub async fn revive(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            self.start()?;
            match self.ready().await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// Waits for its orderly end.
    pub async fn ended(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let status = tokio::time::timeout(START, child.wait()).await.context("it does not stop")??;
        ensure!(
            status.code() == Some(0),
            "it did not stop in order ({status}); its last words:\n{}",
            self.last_words()
        );
        Ok(())
    }

    /// Waits until it takes connections.
    pub async fn ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            self.alive()?;
            if TcpStream::connect(self.public).await.is_ok() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("the bridge did not open its listener within {START:?}; its last words:\n{}", self.last_words());
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// An error where it ended by itself.
    pub fn alive(&mut self) -> Result<()> {
        match self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
            Some(status) => bail!("the bridge ended by itself ({status}); its last words:\n{}", self.last_words()),
            None => Ok(()),
        }
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// SIGKILL, and the end of it.
    pub async fn kill(&mut self) -> Result<()> {
        self.alive()?;
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }
}
