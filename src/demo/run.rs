//! Starts the demo: the sandbox, a bridge wired to it on the embedded store, and the page, with nothing to configure.
//!
//! Secrets are made at each start and the database lives in a folder of its own that goes with the process; everything
//! listens on loopback only.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{DemoSettings, guarded, router};
use crate::{
    app::{App, Surroundings},
    config::{ApiKeys, Callback, Config, Frontend, RotatingSecret, StoreUrl},
    domain::{Entropy, WallClock, destination::MAIN, event::TextFormat, handoff::HandoffPolicy},
    lifecycle::OsSignals,
    outbound::install_crypto,
    sandbox::{self, DEFAULT_API_KEY, DEFAULT_BOT_ID, Sandbox, SandboxConfig},
    signature::{CallbackSecret, token::TokenSecret},
    system::{SystemClock, SystemEntropy},
    telemetry::{self, LogFormat, LogSettings},
};

/// Port of the page, unless another address is given; if it is taken, any free port.
const PORT: u16 = 8080;
const FRONTEND: &str = "demo";

/// Runs the demo until SIGTERM or SIGINT; a request for a human expires after `claim_timeout`.
pub async fn run(listen: Option<SocketAddr>, claim_timeout: Duration) -> Result<()> {
    let wall: Arc<dyn WallClock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let log = LogSettings { format: LogFormat::Pretty, level: "warn".to_owned(), content: false };
    let guard = telemetry::init(&log, Arc::clone(&wall)).context("the log")?;
    let signals = OsSignals::listen().context("listening for signals")?;
    install_crypto();

    let folder = Folder::new(entropy.as_ref())?;
    let public = match listen {
        Some(address) => TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?,
        None => match TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listening on loopback")?,
        },
    };
    let address = public.local_addr()?;
    let vendor = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listening on loopback")?;
    let sandbox_url = format!("http://{}", vendor.local_addr()?);
    // The bridge asks for its admin address before the page is built, so its port is fixed here.
    let admin = free_port().await?;

    let callback_secret = CallbackSecret::generate(random(entropy.as_ref()));
    let browser_secret = entropy.key() + &entropy.key() + &entropy.key();
    let token = entropy.key() + &entropy.key();
    let secrets = Secrets { callback: callback_secret, browser: browser_secret, token };
    let config = config(&folder, (address, admin), &sandbox_url, &secrets, claim_timeout)?;
    let Secrets { callback: callback_secret, browser: browser_secret, token } = secrets;
    let stopping = CancellationToken::new();
    let page = router(
        DemoSettings {
            sandbox_url: sandbox_url.clone(),
            bridge_url: format!("http://{address}"),
            token: SecretString::from(token.as_str()),
            admin_url: format!("http://{admin}"),
            frontend: FRONTEND.to_owned(),
            callback_secrets: vec![callback_secret],
            browser_token_secret: TokenSecret::new(&browser_secret).context("a secret made just now")?,
            wall: Arc::clone(&wall),
            stopping: stopping.clone(),
        },
        reqwest::Client::builder().no_proxy().build().context("the demo's HTTP client")?,
    );
    let sandbox = sandbox::serve(vendor, Sandbox::new(SandboxConfig::default()), stopping.clone().cancelled_owned());
    let surroundings = Surroundings {
        wall,
        entropy,
        log: guard.counters(),
        extra: Some(guarded(page, address)),
        listener: Some(public),
    };

    let bridge = async {
        let app = App::start(&config, surroundings).await?;
        let stop = app.stop();
        say(&format!(
            "fini-bridge demo: open http://{address}\n\n  \
             customer, agent's desk and signed callbacks on one page; Ctrl-C ends it\n  \
             bridge      http://{address}/v1/messages\n  \
             token       {token}\n  \
             callbacks   http://{address}/demo/callbacks/stream\n  \
             operators   http://{admin}/admin/  /readyz  /metrics  /admin/v1\n  \
             sandbox     {sandbox_url}\n"
        ));
        let unstream = async {
            stop.soft().cancelled().await;
            stopping.cancel();
        };
        tokio::join!(app.run(signals), unstream);
        anyhow::Ok(())
    };
    let (vendor, bridge) = tokio::join!(sandbox, async {
        let outcome = bridge.await;
        stopping.cancel();
        outcome
    });
    guard.flush(Duration::from_secs(1));
    bridge?;
    vendor.context("the sandbox")
}

/// Made at each start.
struct Secrets {
    callback: CallbackSecret,
    browser: String,
    token: String,
}

fn config(
    folder: &Folder,
    (public, admin): (SocketAddr, SocketAddr),
    sandbox_url: &str,
    secrets: &Secrets,
    claim_timeout: Duration,
) -> Result<Config> {
    let mut config = Config::defaults();
    config.server.listen = public;
    config.server.shutdown_grace = Duration::from_secs(5);
    config.admin.listen = admin;
    config.store.url = StoreUrl::Sqlite { path: folder.0.join("demo.db") };
    config.fini.base_url = Url::parse(sandbox_url).context("the sandbox's address")?;
    config.fini.keys = ApiKeys::single(SecretString::from(DEFAULT_API_KEY));
    config.delivery.allow_networks = vec!["127.0.0.0/8".parse()?];
    config.delivery.allow_http = true;
    config.delivery.retry_schedule = [1, 2, 5, 10, 20, 40].map(Duration::from_secs).to_vec();
    config.frontends = vec![Frontend {
        name: FRONTEND.to_owned(),
        bot_id: DEFAULT_BOT_ID.parse().context("the sandbox's bot")?,
        tokens: vec![SecretString::from(secrets.token.as_str())],
        signing_secrets: Vec::new(),
        browser_token_secrets: vec![SecretString::from(secrets.browser.as_str())],
        browser_attributes: Vec::new(),
        text_format: TextFormat::Markdown,
        handoff: HandoffPolicy { claim_timeout, ..HandoffPolicy::default() },
        callback: Some(Callback {
            // The desk's own words too, so that the numbers that the page shows have no gap to wonder about.
            posted: true,
            ..Callback::plain(
                MAIN,
                Url::parse(&format!("http://{public}/demo/callback")).context("the page's address")?,
                vec![RotatingSecret::lasting(SecretString::from(secrets.callback.reveal()))],
            )
        }),
        destinations: Vec::new(),
    }];
    Ok(config)
}

async fn free_port() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listening on loopback")?;
    Ok(listener.local_addr()?)
}

fn random(entropy: &dyn Entropy) -> [u8; 32] {
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_exact_mut(8) {
        chunk.copy_from_slice(&entropy.next_u64().to_be_bytes());
    }
    bytes
}

/// Prints the addresses for the person who started it. A closed standard output must not end the demo.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A folder that is removed when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(entropy: &dyn Entropy) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("fini-bridge-demo-{}", entropy.key()));
        std::fs::create_dir(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind at worst; the system clears its temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
