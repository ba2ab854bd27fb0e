//! `healthcheck`: asks a running bridge for its health; made for a container image that has no curl.

use super::{admin::AdminArgs, console::Done};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    /// Ask for readiness instead of life
    #[arg(long)]
    ready: bool,
}

pub(super) async fn run(args: Args) -> Done {
    let path = if args.ready { "readyz" } else { "healthz" };
    args.admin.connect()?.get_plain(path).await
}
