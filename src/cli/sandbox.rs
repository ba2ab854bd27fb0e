//! `sandbox`: the Fini simulator alone.

use std::{net::SocketAddr, time::Duration};

use tokio::net::TcpListener;

use super::{
    console::{CliError, Done, put, say},
    when::parse_span,
};
use crate::{
    lifecycle::{OsSignals, Signals as _},
    sandbox::{ApiKey, DEFAULT_BOT_ID, Personality, Sandbox, SandboxConfig, Seed, serve},
};

/// The end of `--help`: the faults, each with an example.
const FAULTS: &str = include_str!("../sandbox/FAULTS.md");

#[derive(Debug, clap::Args)]
#[command(after_long_help = FAULTS)]
pub(super) struct Args {
    /// Address to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// The time that a reply takes [default: 600ms]
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    reply_latency: Option<Duration>,
    /// Begin with so many conversations, spread over the last six days
    #[arg(long, value_name = "N", default_value_t = 0)]
    conversations: u32,
    /// Do not limit requests to 100 a minute
    #[arg(long)]
    unlimited: bool,
    /// Start with a personality: a TOML or JSON file of settings and faults, or random:SEED to draw and print one
    #[arg(long, value_name = "FILE|random:SEED")]
    personality: Option<String>,
    /// Answer under this name too; loopback names and the address it listens on need not be named
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Take this key instead of the usual one; given twice, both, as between two steps of a rotation
    #[arg(long, value_name = "KEY")]
    api_key: Vec<String>,
}

impl Args {
    /// The keys that it takes.
    fn keys(&self) -> Vec<ApiKey> {
        if self.api_key.is_empty() {
            return SandboxConfig::default().api_keys;
        }
        self.api_key.iter().map(ApiKey::full).collect()
    }
}

pub(super) async fn run(args: Args) -> Done {
    let mut signals = OsSignals::listen()?;
    let keys = args.keys();
    let shown = keys.iter().map(|key| key.key.as_str()).collect::<Vec<_>>().join(" or ");
    let personality = args.personality.as_deref().map(personality).transpose()?;
    let sandbox = Sandbox::new(SandboxConfig { hosts: args.host, api_keys: keys, ..SandboxConfig::default() });
    if let Some(personality) = &personality {
        sandbox.apply_personality(personality).map_err(|error| CliError::usage(error.to_string()))?;
    }
    sandbox.set(|settings| {
        if let Some(latency) = args.reply_latency {
            settings.reply_latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        }
        if args.unlimited {
            settings.rate_limit = None;
        }
    });
    if args.conversations > 0 {
        let seed = Seed { conversations: args.conversations, ..Seed::default() };
        sandbox.seed(&seed).map_err(|error| CliError::usage(error.to_string()))?;
    }
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        CliError::failed(format!("cannot listen on {}: {error}", args.listen)).help("choose another --listen")
    })?;
    let address = listener.local_addr()?;
    say(format!("Fini simulator; its page explains everything. Key: {shown}, bot: {DEFAULT_BOT_ID}"));
    if let Some(personality) = &personality {
        say(personality.to_text());
    }
    put(format!("http://{address}"))?;
    let shutdown = async move {
        signals.next().await;
    };
    Ok(serve(listener, sandbox, shutdown).await?)
}

/// Draws a personality, or reads one from a file.
fn personality(wanted: &str) -> Result<Personality, CliError> {
    if let Some(seed) = wanted.strip_prefix("random:") {
        let seed = seed.parse().map_err(|_| CliError::usage("the seed of random:SEED is a whole number"))?;
        return Ok(Personality::random(seed));
    }
    let unreadable = |error: String| CliError::usage(format!("cannot read the personality {wanted}: {error}"));
    let text = std::fs::read_to_string(wanted).map_err(|error| unreadable(error.to_string()))?;
    let value = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?
    } else {
        toml::from_str(&text).map_err(|error: toml::de::Error| unreadable(error.to_string()))?
    };
    Personality::from_value(value).map_err(|error| unreadable(error.to_string()))
}
