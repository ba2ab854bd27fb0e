//! `sandbox`: the Fini simulator alone.

use std::{net::SocketAddr, time::Duration};

use tokio::net::TcpListener;

use super::{
    console::{CliError, Done, put, say},
    when::parse_span,
};
use crate::{
    lifecycle::{OsSignals, Signals as _},
    sandbox::{DEFAULT_API_KEY, DEFAULT_BOT_ID, Sandbox, SandboxConfig, Seed, serve},
};

/// What `--help` adds: the faults, each with an example.
const FAULTS: &str = include_str!("../sandbox/FAULTS.md");

#[derive(Debug, clap::Args)]
#[command(after_long_help = FAULTS)]
pub(super) struct Args {
    /// Address to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// How long a reply takes
    #[arg(long, value_name = "SPAN", default_value = "600ms", value_parser = parse_span)]
    reply_latency: Duration,
    /// Begin with so many conversations, spread over the last six days
    #[arg(long, value_name = "N", default_value_t = 0)]
    conversations: u32,
    /// Do not limit requests to 100 a minute
    #[arg(long)]
    unlimited: bool,
}

pub(super) async fn run(args: Args) -> Done {
    let mut signals = OsSignals::listen()?;
    let mut config = SandboxConfig::default();
    config.settings.reply_latency_ms = u64::try_from(args.reply_latency.as_millis()).unwrap_or(u64::MAX);
    if args.unlimited {
        config.settings.rate_limit = None;
    }
    let sandbox = Sandbox::new(config);
    if args.conversations > 0 {
        let seed = Seed { conversations: args.conversations, ..Seed::default() };
        sandbox.seed(&seed).map_err(|error| CliError::usage(error.to_string()))?;
    }
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        CliError::failed(format!("cannot listen on {}: {error}", args.listen)).help("choose another --listen")
    })?;
    let address = listener.local_addr()?;
    say(format!("Fini simulator; its page explains everything. Key: {DEFAULT_API_KEY}, bot: {DEFAULT_BOT_ID}"));
    put(format!("http://{address}"))?;
    let shutdown = async move {
        signals.next().await;
    };
    Ok(serve(listener, sandbox, shutdown).await?)
}
