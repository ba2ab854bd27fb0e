//! Everything around the program under test: vendor, receiver, configuration, and what was written.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use fini_bridge::sandbox::{
    self, AttributeMode, DEFAULT_API_KEY, DEFAULT_BOT_ID, ListOrder, Personality, RateLimit, Sandbox, SandboxConfig,
    Settings, SinceReading,
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinSet};

use crate::{args::Args, book::Book, receiver::Receiver, weather};

/// Fini's limit in this world: tighter than what the customers would use, and with many windows in a run.
pub const LIMIT: RateLimit = RateLimit { requests: 160, window_ms: 4_000, count_refused: true, retry_after_s: None };
/// How long a turn may wait for its reply.
pub const LATE_REPLY: Duration = Duration::from_secs(75);

/// How long a reply that does not come holds the next message: a dozen of them are over before the audit gives up waiting.
const HOLD: Duration = Duration::from_secs(5);

/// Everything around the program.
pub struct World {
    pub sandbox: Sandbox,
    /// The vendor's ways; its faults come beside those of the weather.
    pub personality: Personality,
    pub receiver: Arc<Receiver>,
    pub book: Book,
    pub http: reqwest::Client,
    pub token: String,
    pub public: SocketAddr,
    pub admin: SocketAddr,
    /// Where further replicas listen.
    others: Mutex<Vec<SocketAddr>>,
    asked: AtomicUsize,
    over: AtomicBool,
}

impl World {
    /// Starts vendor and receiver (they live as long as `tasks`), and writes the configuration to `folder`.
    pub async fn start(
        args: &Args,
        folder: &Path,
        store: &str,
        personality: Personality,
        tasks: &mut JoinSet<Result<()>>,
    ) -> Result<Arc<Self>> {
        let mut dice = fastrand::Rng::with_seed(args.seed);
        let settings = settings(args, &personality, &mut dice)?;
        let sandbox = Sandbox::new(SandboxConfig { settings, ..SandboxConfig::instant() });
        let vendor = TcpListener::bind("127.0.0.1:0").await?;
        let vendor_address = vendor.local_addr()?;
        let served = sandbox::serve(vendor, sandbox.clone(), std::future::pending());
        tasks.spawn(async move { served.await.context("the sandbox") });

        let secret = format!("whsec_{}", STANDARD.encode(std::array::from_fn::<u8, 32, _>(|_| dice.u8(..))));
        let receiver = Receiver::new(&secret, dice.fork())?;
        let desk = TcpListener::bind("127.0.0.1:0").await?;
        let callback = desk.local_addr()?;
        let router = receiver.router();
        tasks.spawn(async move { axum::serve(desk, router).await.context("the receiver") });

        let token: String = (0..32).map(|_| dice.alphanumeric()).collect();
        let (public, admin) = (free().await?, free().await?);
        let requests = LIMIT.requests;
        let window = LIMIT.window_ms;
        let absence = Duration::from_millis(weather::LONGEST_LAG_MS + weather::LATEST_ARRIVAL_MS + 1_500);
        let (late, hold) = (LATE_REPLY.as_secs(), HOLD.as_secs());
        let config = format!(
            r#"
[server]
listen = "{public}"
[admin]
listen = "{admin}"
[store]
url = "{store}"
[fini]
base_url = "http://{vendor_address}"
api_key = "{DEFAULT_API_KEY}"
rate_limit = {{ requests = {requests}, window = "{window}ms" }}
reply_timeout = "1500ms"
late_reply_window = "{late}s"
hold_window = "{hold}s"
[turns]
absence_window = "{}ms"
[poll]
sweep_interval = "400ms"
[delivery]
timeout = "1s"
connect_timeout = "1s"
retry_schedule = [{}]
allow_networks = ["127.0.0.0/8"]
allow_http = true
[log]
level = "info"
[[frontends]]
name = "web"
bot_id = "{DEFAULT_BOT_ID}"
tokens = ["{token}"]
callback_url = "http://{callback}/callback"
callback_secrets = ["{secret}"]
"#,
            absence.as_millis(),
            // Short pauses and very many of them: no callback of this world is ever given up.
            ["\"50ms\"", "\"100ms\"", "\"300ms\""].into_iter().chain([r#""1s""#; 90]).collect::<Vec<_>>().join(", "),
        );
        tokio::fs::write(folder.join("bridge.toml"), config).await?;
        Ok(Arc::new(Self {
            sandbox,
            personality,
            receiver,
            book: Book::default(),
            http: reqwest::Client::builder().timeout(Duration::from_secs(10)).no_proxy().build()?,
            token,
            public,
            admin,
            others: Mutex::default(),
            asked: AtomicUsize::default(),
            over: AtomicBool::new(false),
        }))
    }

    /// An address of the public API; of each replica in turn.
    pub fn url(&self, path: &str) -> String {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.asked.fetch_add(1, Ordering::Relaxed) % (others.len() + 1);
        let address = number.checked_sub(1).map_or(self.public, |other| others[other]);
        format!("http://{address}{path}")
    }

    /// The configuration and the address of a replica: of the one there is, or of a further one.
    pub async fn replica(&self, folder: &Path, number: usize) -> Result<(PathBuf, SocketAddr)> {
        let first = folder.join("bridge.toml");
        if number == 0 {
            return Ok((first, self.public));
        }
        let (public, admin) = (free().await?, free().await?);
        let text = tokio::fs::read_to_string(first).await?;
        let text = text.replace(&format!("\"{}\"", self.public), &format!("\"{public}\""));
        let text = text.replace(&format!("\"{}\"", self.admin), &format!("\"{admin}\""));
        let file = folder.join(format!("bridge-{number}.toml"));
        tokio::fs::write(&file, text).await?;
        self.others.lock().unwrap_or_else(PoisonError::into_inner).push(public);
        Ok((file, public))
    }

    /// Accepted messages whose end the receiver was not told yet.
    pub fn waiting(&self) -> usize {
        let accepted = self.book.open().counts.get("accepted").copied().unwrap_or(0);
        usize::try_from(accepted).unwrap_or(usize::MAX).saturating_sub(self.receiver.ended())
    }

    /// Whether customers, desk and weather are to end.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Ends them.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// How the vendor behaves where its documentation is silent: another way with each seed.
fn settings(args: &Args, personality: &Personality, dice: &mut fastrand::Rng) -> Result<Settings> {
    let modes = [AttributeMode::Merge, AttributeMode::FirstOnly, AttributeMode::Replace];
    let drawn = modes[dice.usize(..modes.len())];
    let settings = Settings {
        since_reading: if dice.bool() { SinceReading::Created } else { SinceReading::Updated },
        list_order: if dice.bool() { ListOrder::Messages } else { ListOrder::AnyEvent },
        user_attributes: drawn,
        clock_offset_ms: dice.i64(-3_000..3_000),
        ..Settings::default()
    };
    let settings = settings.patched(&Value::Object(personality.settings.clone()))?;
    let user_attributes = args.attributes.unwrap_or(settings.user_attributes);
    Ok(Settings { reply_latency_ms: 50, rate_limit: Some(LIMIT), user_attributes, ..settings })
}

/// An address nobody listens on at the moment. The program is told a fixed one, so that it comes back where it was.
async fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?)
}
