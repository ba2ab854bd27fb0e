//! `demo`: everything at once, without a key and without a configuration.

use std::net::SocketAddr;

use super::console::{CliError, Done};
use crate::demo;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the page is served; by default 127.0.0.1:8080, or any free port where that is taken
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

pub(super) async fn run(args: Args) -> Done {
    demo::run(args.listen).await.map_err(|error| CliError::failed(format!("{error:#}")))
}
