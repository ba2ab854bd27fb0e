//! `openapi`: the description of the HTTP API.

use super::console::{Done, put};
use crate::http;

#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> Done {
    put(http::openapi::document())
}
