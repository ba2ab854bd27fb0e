//! The way to Fini for commands that ask it themselves.

use std::{sync::Arc, time::Duration};

use secrecy::ExposeSecret as _;

use super::console::CliError;
use crate::{
    config::Config,
    domain::{VendorClock, WallClock, WallTime},
    fini::{ClientSettings, Failure, FiniClient, Network, RequestFacts},
    system::SystemClock,
};

const READ_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Clocks may differ by so much without anybody's being told.
const NOTICEABLE: Duration = Duration::from_secs(30);

/// Fini's clock: this machine's, until an answer names Fini's own time.
#[derive(Debug, Default)]
pub(super) struct FiniTime(Arc<VendorClock>);

impl FiniTime {
    /// By how much this machine's clock is ahead of Fini's, where that is more than the few seconds which do not matter.
    pub(super) fn machine_is_ahead(&self) -> Option<Duration> {
        let ahead = -self.0.ahead_ms()?;
        u64::try_from(ahead).ok().map(Duration::from_millis).filter(|ahead| *ahead > NOTICEABLE)
    }
}

impl WallClock for FiniTime {
    fn now(&self) -> WallTime {
        WallTime::from_millis(self.0.at(SystemClock.now().point()).as_millis())
    }
}

/// A client with the configured keys. Where there is no key for writing, the one for reading stands in: Fini refuses it.
pub(super) fn client(config: &Config) -> Result<Arc<FiniClient>, CliError> {
    timed_client(config).map(|(client, _)| client)
}

/// The same, with the clock that its answers set.
pub(super) fn timed_client(config: &Config) -> Result<(Arc<FiniClient>, FiniTime), CliError> {
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
    let time = FiniTime::default();
    let clock = Arc::clone(&time.0);
    let observer = Box::new(move |facts: &RequestFacts<'_>| {
        if let Some(date) = facts.date {
            clock.observe(date, SystemClock.now().point());
        }
    });
    let client = FiniClient::new(settings, observer).map_err(|error| CliError::usage(error.to_string()))?;
    Ok((Arc::new(client), time))
}

/// Returns the meaning of a failed request for the person who asked.
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
