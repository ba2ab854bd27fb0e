//! `serve`: runs the bridge until it is told to stop.

use super::{
    console::{CliError, Done},
    settings::ConfigArgs,
};
use crate::{app, config::Needs};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) async fn run(args: Args) -> Done {
    let sources = args.config.sources(Needs::Serve)?;
    let loaded = args.config.load(Needs::Serve)?;
    app::serve(loaded, sources).await.map_err(|error| CliError::failed(format!("{error:#}")))
}
