//! The simulated vendor with its conversations, and a configuration that points at it.

use std::{future::pending, net::SocketAddr};

use anyhow::{Context as _, Result};
use fini_bridge::sandbox::{
    self, Conversation, DEFAULT_API_KEY, Feedback, Sandbox, SandboxConfig, Seed, SinceReading, system_clock,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet};

use crate::Size;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// One conversation in so many is rated, by turns 0 and 5.
const RATED: usize = 500;

/// A vendor to export from.
pub struct Vendor {
    pub sandbox: Sandbox,
    /// Where the exports go, and the configuration.
    pub folder: TempDir,
    pub size: Size,
    _server: JoinSet<Result<()>>,
}

impl Vendor {
    /// Makes the conversations, and serves them without a limit.
    pub async fn start(size: Size, reading: SinceReading) -> Result<Self> {
        let mut config = SandboxConfig::instant();
        config.settings.rate_limit = None;
        config.settings.since_reading = reading;
        let sandbox = Sandbox::new(config);
        let now = now();
        // A whole day of room on either side keeps all of them within the range, however long an export takes.
        sandbox.seed(&Seed {
            conversations: size.conversations,
            events_each: 4,
            from_ms: Some(now - (size.days - 1) * DAY_MS),
            to_ms: Some(now - DAY_MS),
            ..Seed::default()
        })?;
        for (n, conversation) in sandbox.conversations(usize::MAX).iter().step_by(RATED).enumerate() {
            rate(&sandbox, conversation, if n % 2 == 0 { 0 } else { 5 })?;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let served = sandbox::serve(listener, sandbox.clone(), pending());
        let mut server = JoinSet::new();
        server.spawn(async move { served.await.context("the sandbox") });
        let folder = tempfile::Builder::new().prefix("fini-bridge-export-").tempdir()?;
        // A port that was free a moment ago: no bridge is running there whose budget could be shared.
        let nobody = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        std::fs::write(folder.path().join("fini-bridge.toml"), configuration(address, nobody))?;
        Ok(Self { sandbox, folder, size, _server: server })
    }

    /// The range that holds all of them, as the command line takes it.
    pub fn since(&self) -> String {
        format!("{}d", self.size.days)
    }
}

fn rate(sandbox: &Sandbox, conversation: &Conversation, rating: u8) -> Result<()> {
    let reply = conversation.events.iter().find(|event| event.role == "finibot").context("a reply")?;
    let feedback = Feedback {
        event_id: reply.id.clone(),
        csat_rating: Some(rating.into()),
        feedback: Some("said, \"so\"\nand so".to_owned()),
        approved: Some(rating > 0),
    };
    Ok(sandbox.feedback(&conversation.id.to_string(), &feedback)?)
}

fn configuration(vendor: SocketAddr, nobody: SocketAddr) -> String {
    let fini = json!({ "base_url": format!("http://{vendor}"), "api_key": DEFAULT_API_KEY });
    format!(
        "[fini]\nbase_url = {}\napi_key = {}\nrate_limit = {{ requests = 1000000, window = \"60s\" }}\n\
         [admin]\nlisten = \"{nobody}\"\n",
        fini["base_url"], fini["api_key"]
    )
}

/// Epoch milliseconds.
pub fn now() -> i64 {
    system_clock()()
}
