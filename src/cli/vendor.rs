//! The way to Fini for commands that ask it themselves.

use std::{sync::Arc, time::Duration};

use secrecy::ExposeSecret as _;

use super::console::CliError;
use crate::{
    config::Config,
    fini::{ClientSettings, Failure, FiniClient, Network},
};

const READ_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client with the configured keys. Where there is no key for writing, the one for reading stands in: Fini refuses it.
pub(super) fn client(config: &Config) -> Result<Arc<FiniClient>, CliError> {
    let keys = &config.fini.keys;
    let write_key = if keys.write.expose_secret().is_empty() { &keys.read } else { &keys.write };
    let settings = ClientSettings {
        base_url: config.fini.base_url.clone(),
        read_key: keys.read.clone(),
        write_key: write_key.clone(),
        reply_timeout: config.fini.reply_timeout,
        read_timeout: READ_TIMEOUT,
        connect_timeout: CONNECT_TIMEOUT,
        network: Network {
            proxy: config.fini.proxy.clone(),
            no_proxy: config.fini.no_proxy.clone(),
            ca_file: config.fini.ca_file.clone(),
            client_cert_file: config.fini.client_cert_file.clone(),
            client_key_file: config.fini.client_key_file.clone(),
        },
    };
    let client = FiniClient::new(settings, Box::new(|_| ())).map_err(|error| CliError::usage(error.to_string()))?;
    Ok(Arc::new(client))
}

/// What a failed request means for the person who asked.
pub(super) fn explain(config: &Config, failure: &Failure) -> CliError {
    let error = CliError::failed(failure).at(&config.fini.base_url);
    match failure {
        Failure::Unauthorised { status: 403, .. } => {
            error.help("the key lacks the scope for this, or belongs to another workspace; see `fini.api_key`")
        }
        Failure::Unauthorised { .. } => error.help("check `fini.api_key`; keys are made in Fini's dashboard"),
        Failure::NeverLeft { .. } => error.help("check `fini.base_url` and whether this machine may reach it"),
        Failure::Throttled { .. } => error.help("somebody else uses up the limit; wait a minute"),
        Failure::Unclear { .. } | Failure::Rejected { .. } | Failure::Missing { .. } => error,
    }
}
