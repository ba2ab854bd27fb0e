//! The service itself as a process of its own, beside a sandbox and a receiver of callbacks, all on loopback.

use std::{
    fmt::Write as _,
    io,
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use fini_bridge::{
    domain::{WallClock as _, conversation::StatusPolicy, destination::Subscriptions, handoff::HandoffPolicies},
    sandbox::{self, DEFAULT_API_KEY, DEFAULT_BOT_ID, Sandbox, SandboxConfig, Seed},
    signature::CallbackSecret,
    store::{Rules, SqliteStore, Store as _, WatchPolicy},
    system::{SystemClock, SystemEntropy},
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

pub const ESCALATED: &str = "Escalated to Human Agent";
const DAY: Duration = Duration::from_hours(24);

/// Callbacks: when the event was recorded, and its body.
pub type Heard = Arc<Mutex<Vec<(i64, Value)>>>;

/// Milliseconds since the epoch.
pub fn now() -> i64 {
    SystemClock.now().as_millis()
}

/// The bridge and all that it needs. Dropping it ends the process.
pub struct Service {
    pub sandbox: Sandbox,
    pub vendor: SocketAddr,
    pub public: SocketAddr,
    pub token: String,
    pub http: reqwest::Client,
    /// What the frontend was called with.
    pub heard: Heard,
    /// The Fini ids of the conversations `c-0`, `c-1` and so on.
    pub interactions: Vec<String>,
    admin: SocketAddr,
    child: Child,
    servers: Vec<JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

impl Service {
    /// Starts it with so many conversations, of which every tenth is with a human, and waits until it is ready.
    pub async fn start(conversations: u32, requests: u32) -> anyhow::Result<Self> {
        fini_bridge::outbound::install_crypto();
        let directory = tempfile::tempdir()?;
        let database = directory.path().join("bridge.db");
        let sandbox = Sandbox::new(SandboxConfig::default());
        sandbox.set(|settings| {
            settings.rate_limit =
                settings.rate_limit.map(|limit| sandbox::RateLimit { requests: requests as usize, ..limit });
        });
        let interactions = seed(&sandbox, &database, conversations).await?;

        let vendor = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let vendor_address = vendor.local_addr()?;
        let receiver = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let callback = receiver.local_addr()?;
        let (public, admin) = (free_port().await?, free_port().await?);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let listening = Router::new().route("/", post(hear)).with_state(Arc::clone(&heard));
        let served = sandbox::serve(vendor, sandbox.clone(), std::future::pending());
        let servers =
            vec![spawn(async { drop(served.await) }), spawn(async { drop(axum::serve(receiver, listening).await) })];

        let mut bytes = [0; 32];
        fastrand::Rng::new().fill(&mut bytes);
        let secret = CallbackSecret::generate(bytes);
        let token: String = std::iter::repeat_with(fastrand::alphanumeric).take(32).collect();
        let mut config = String::new();
        write!(
            config,
            "[server]\nlisten = \"{public}\"\n[admin]\nlisten = \"{admin}\"\n[store]\nurl = \"sqlite://{}\"\n\
             [fini]\nbase_url = \"http://{vendor_address}\"\napi_key = \"{DEFAULT_API_KEY}\"\n\
             rate_limit = {{ requests = {requests}, window = \"60s\" }}\n\
             [delivery]\nallow_networks = [\"127.0.0.0/8\"]\nallow_http = true\n[log]\nlevel = \"warn\"\n\
             [[frontends]]\nname = \"web\"\nbot_id = \"{DEFAULT_BOT_ID}\"\ntokens = [\"{token}\"]\n\
             callback_url = \"http://{callback}/\"\ncallback_secrets = [\"{}\"]\n",
            database.display(),
            secret.reveal()
        )?;
        let file = directory.path().join("bridge.toml");
        std::fs::write(&file, config)?;
        let child = Command::new(env!("CARGO_BIN_EXE_fini-bridge"))
            .args(["serve", "--config"])
            .arg(&file)
            .current_dir(directory.path())
            .stdout(Stdio::inherit())
            .spawn()?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let service = Self {
            sandbox,
            vendor: vendor_address,
            public,
            token,
            http,
            heard,
            interactions,
            admin,
            child,
            servers,
            _directory: directory,
        };
        service.ready().await?;
        Ok(service)
    }

    async fn ready(&self) -> anyhow::Result<()> {
        for _ in 0..600 {
            if self.http.get(format!("http://{}/readyz", self.admin)).send().await.is_ok_and(|got| got.status() == 200)
            {
                return Ok(());
            }
            sleep(Duration::from_millis(100)).await;
        }
        anyhow::bail!("the bridge did not become ready")
    }

    /// What the operators' listener answers.
    pub async fn operators(&self, path: &str) -> anyhow::Result<String> {
        Ok(self.http.get(format!("http://{}{path}", self.admin)).send().await?.text().await?)
    }

    /// Memory of the process in kB: now, and at its most.
    pub fn memory(&self) -> io::Result<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
        };
        Ok((of("VmRSS:"), of("VmHWM:")))
    }

    /// Sends a customer's message.
    pub async fn post(&self, conversation: &str, text: &str) -> anyhow::Result<()> {
        let body = serde_json::json!({"conversation_id": conversation, "text": text}).to_string();
        let posted = self.http.post(format!("http://{}/v1/messages", self.public)).bearer_auth(&self.token);
        let answer = posted.header("content-type", "application/json").body(body).send().await?;
        anyhow::ensure!(answer.status() == 202, "a message was answered {}", answer.status());
        Ok(())
    }
}

async fn hear(State(heard): State<Heard>, body: Bytes) -> StatusCode {
    if let Ok(event) = serde_json::from_slice::<Value>(&body) {
        let recorded = event["timestamp"].as_str().and_then(millis).unwrap_or_default();
        heard.lock().expect("nobody panics with it").push((recorded, event));
    }
    StatusCode::NO_CONTENT
}

/// RFC 3339 as milliseconds.
pub fn millis(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

async fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()
}

#[expect(clippy::disallowed_methods, reason = "these end with the test's process")]
pub fn spawn(future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(future)
}

/// The same conversations in the sandbox and, bound and watched, in the bridge's store.
async fn seed(sandbox: &Sandbox, database: &std::path::Path, conversations: u32) -> anyhow::Result<Vec<String>> {
    let (to_ms, day) = (now() - 10_000, i64::try_from(DAY.as_millis())?);
    let seed =
        Seed { conversations, events_each: 1, from_ms: Some(to_ms - day), to_ms: Some(to_ms), ..Seed::default() };
    sandbox.seed(&seed)?;
    let rules = Rules {
        entropy: Arc::new(SystemEntropy),
        wall: Arc::new(SystemClock),
        subscriptions: Subscriptions::default(),
        statuses: StatusPolicy::default(),
        hold_window: Duration::from_secs(20),
        watch: WatchPolicy { idle: DAY, escalated: DAY * 7 },
        handoffs: HandoffPolicies::default(),
        formats: std::collections::HashMap::new(),
    };
    SqliteStore::open(database, rules).await?.close().await;
    let mut connection = rusqlite::Connection::open(database)?;
    let transaction = connection.transaction()?;
    let mut interactions = Vec::new();
    for (number, conversation) in sandbox.conversations(conversations as usize).into_iter().enumerate() {
        let id = conversation.id.to_string();
        let with_human = number % 10 == 0;
        if with_human {
            sandbox.set_status(&id, Some(ESCALATED))?;
        }
        let (state, status) = if with_human { ("escalated", ESCALATED) } else { ("open", "Open") };
        let key: i64 = transaction.query_row(
            "INSERT INTO conversations (frontend, conversation_id, attribute, state, status_text, wrapper_read, \
                interaction_id, first_sent_at, created_at, updated_at, last_activity_at, watch_until) \
             VALUES ('web', $1, $1, $2, $3, TRUE, $4, $5, $5, $5, $6, $7) RETURNING key",
            (
                format!("c-{number}"),
                state,
                status,
                &id,
                conversation.created_at,
                conversation.latest_at,
                conversation.latest_at + if with_human { 7 * day } else { 2 * day },
            ),
            |row| row.get(0),
        )?;
        for event in &conversation.events {
            transaction
                .execute("INSERT INTO marks (fini_event_id, conversation_key) VALUES ($1, $2)", (&event.id, key))?;
        }
        interactions.push(id);
    }
    transaction.commit()?;
    Ok(interactions)
}
