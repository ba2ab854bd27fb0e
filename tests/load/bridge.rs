//! The program under load: configured, started, watched and stopped as an operator would.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use fini_bridge::sandbox::{DEFAULT_API_KEY, DEFAULT_BOT_ID};

use crate::client::{self, Target};

/// How a bridge is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program.
    pub program: PathBuf,
    /// Holds its configuration, database and log.
    pub folder: PathBuf,
    /// Where Fini is.
    pub fini: SocketAddr,
    /// Where callbacks go; each frontend has a path of its own.
    pub receiver: SocketAddr,
    /// The frontends.
    pub frontends: Vec<String>,
    /// What is called back.
    pub events: &'static str,
    /// A database other than a file in the folder.
    pub store: Option<String>,
    /// A limit of requests to Fini other than what `sends` says.
    pub budget: Option<&'static str>,
    /// The key of Fini's own requests.
    pub action_key: Option<&'static str>,
    /// Its tokens begin with it; the same for all replicas.
    pub token: String,
    /// Whether turns are sent; else the limit is one request an hour.
    pub sends: bool,
}

impl Setup {
    /// Where its database is.
    pub fn database(&self) -> PathBuf {
        self.folder.join("bridge.db")
    }

    fn write(&self, public: SocketAddr, admin: SocketAddr) -> Result<PathBuf> {
        let token = &self.token;
        let embedded = || format!("sqlite://{}", self.database().display());
        let store = self.store.clone().unwrap_or_else(embedded);
        let unlimited =
            if self.sends { "{ requests = 1000000, window = \"1s\" }" } else { "{ requests = 1, window = \"1h\" }" };
        let limit = self.budget.unwrap_or(unlimited);
        let mut text = format!(
            "[server]\nlisten = \"{public}\"\nmax_streams_per_address = 10000\nmax_streams_per_frontend = 10000\n[limits]\nconnections_per_address = 0\n[admin]\nlisten = \"{admin}\"\n[store]\nurl = \"{store}\"\n\
             [fini]\nbase_url = \"http://{}\"\napi_key = \"{DEFAULT_API_KEY}\"\nrate_limit = {limit}\n\
             [turns]\nmax_waiting_per_frontend = 100000000\n\
             [delivery]\nallow_networks = [\"127.0.0.0/8\"]\nallow_http = true\n",
            self.fini,
        );
        if let Some(key) = self.action_key {
            text = text.replace("[turns]\n", &format!("action_key = \"{key}\"\n[turns]\n"));
        }
        for (n, frontend) in self.frontends.iter().enumerate() {
            let secret = STANDARD.encode([u8::try_from(n)? + 1; 32]);
            text += &format!(
                "[[frontends]]\nname = \"{frontend}\"\nbot_id = \"{DEFAULT_BOT_ID}\"\ntokens = [\"{token}-{n}\"]\n\
                 callback_url = \"http://{}/{frontend}\"\ncallback_secrets = [\"whsec_{secret}\"]\n\
                 browser_token_secret = \"{token}-of-browsers-{n}\"\n\
                 callback_events = [\"{}\"]\n",
                self.receiver, self.events,
            );
        }
        let path = self.folder.join("bridge.toml");
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Starts the program and waits until it is ready.
    pub async fn start(&self) -> Result<Bridge> {
        let (public, admin) = (free_port()?, free_port()?);
        let token = self.token.clone();
        let config = self.write(public, admin)?;
        let log = File::create(self.folder.join("bridge.log"))?;
        let began = Instant::now();
        let child = Command::new(&self.program)
            .args(["serve", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(log.try_clone()?)
            .stdout(log)
            .spawn()
            .with_context(|| format!("starting {}", self.program.display()))?;
        let mut bridge = Bridge { child, public, token, ready_after: Duration::ZERO };
        loop {
            if matches!(client::once(admin, "GET", "/readyz").await, Ok((200, _))) {
                break;
            }
            ensure!(bridge.child.try_wait()?.is_none(), "the bridge ended: {}", self.log_end());
            ensure!(began.elapsed() < Duration::from_secs(20), "the bridge was not ready in 20 s: {}", self.log_end());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        bridge.ready_after = began.elapsed();
        Ok(bridge)
    }

    fn log_end(&self) -> String {
        let log = fs::read_to_string(self.folder.join("bridge.log")).unwrap_or_default();
        log.lines().rev().take(5).collect::<Vec<_>>().join("\n")
    }
}

/// A running bridge; killed when dropped.
pub struct Bridge {
    child: Child,
    public: SocketAddr,
    token: String,
    /// From the start of the process to the first 200 of `/readyz`.
    pub ready_after: Duration,
}

impl Bridge {
    /// A frontend's way in, by its position in the configuration.
    pub fn target(&self, frontend: usize) -> Target {
        Target { address: self.public, token: format!("{}-{frontend}", self.token) }
    }

    /// CPU time so far, in user and kernel.
    pub fn cpu(&self) -> Duration {
        cpu_of(&format!("/proc/{}/stat", self.child.id()))
    }

    /// Memory in RAM, in MiB.
    pub fn resident(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0
    }

    /// Stops it in order (SIGTERM), and says how long that took.
    pub async fn stop(mut self) -> Result<Duration> {
        let began = Instant::now();
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        ensure!(told.success(), "SIGTERM could not be sent");
        while self.child.try_wait()?.is_none() {
            ensure!(began.elapsed() < Duration::from_secs(40), "the bridge did not stop");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(began.elapsed())
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time of a process, from its `stat` file (proc(5), fields 14 and 15, in hundredths of a second).
pub fn cpu_of(stat: &str) -> Duration {
    let stat = fs::read_to_string(stat).unwrap_or_default();
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn free_port() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A fresh folder for a scenario.
pub fn folder(base: &Path, name: &str) -> Result<PathBuf> {
    let folder = base.join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
