//! `demo`: everything at once, without a key and without a configuration.

use std::{net::SocketAddr, time::Duration};

use super::{
    console::{CliError, Done},
    when::parse_span,
};
use crate::demo;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address of the page; by default 127.0.0.1:8080, or any free port where that is taken
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Time that a request for a human waits for somebody; a minute, so that it can be watched
    #[arg(long, value_name = "DURATION", value_parser = parse_span, default_value = "60s")]
    claim_timeout: Duration,
}

pub(super) async fn run(args: Args) -> Done {
    demo::run(args.listen, args.claim_timeout).await.map_err(|error| CliError::failed(format!("{error:#}")))
}
