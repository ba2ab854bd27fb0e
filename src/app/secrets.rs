//! Renews secrets while the bridge runs.
//!
//! Their files are compared every few seconds by content, which notices every way of replacing one (written over, renamed
//! onto, a symbolic link set to another folder), and read again on SIGHUP. A bad value is reported, and all earlier values
//! stay: half of a rotation is none. Nothing in flight notices: a request that has begun ends under the secrets it began
//! with.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use super::parts;
use crate::{
    config::{self, Config, Renewed, Sources},
    delivery::Endpoint,
    domain::WallClock,
    fini::FiniClient,
    http::{admin::Operators, auth::Frontends},
};

/// Time between two comparisons of the files.
const EVERY: Duration = Duration::from_secs(2);
/// No file of a secret is longer.
const LONGEST: u64 = 64 * 1024;

/// The parts of the bridge that hold secrets.
#[derive(Clone)]
pub(super) struct Holders {
    /// The callers of the public API.
    pub(super) frontends: watch::Sender<Arc<Frontends>>,
    /// The callers of the operators' API.
    pub(super) admin: watch::Sender<Arc<Operators>>,
    /// Digest of the key in Fini's own requests.
    pub(super) action_key: watch::Sender<Option<[u8; 32]>>,
    /// Sign the callbacks.
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    /// Sends requests to Fini.
    pub(super) fini: Arc<FiniClient>,
}

impl Holders {
    /// Hands the secrets of `config` on, or none of them if one cannot be used.
    fn take(&self, config: &Config) -> Result<()> {
        let frontends = parts::credentials(config)?;
        let sealing = parts::sealing(config)?;
        let settings = parts::fini(config);
        self.fini.set_keys(&settings.read_key, &settings.write_key).context("the key for Fini")?;
        for (destination, signer, headers) in sealing {
            if let Some(endpoint) = self.endpoints.iter().find(|endpoint| endpoint.destination == destination) {
                endpoint.sign_with(signer);
                endpoint.send_with(headers);
            }
        }
        self.frontends.send_replace(Arc::new(frontends));
        self.admin.send_replace(Arc::new(parts::operators(config)));
        self.action_key.send_replace(parts::action_key(config));
        Ok(())
    }
}

/// Takes SIGHUP over from the default action, which would end the process.
pub(super) fn hangups() -> std::io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// Follows the files that hold secrets.
pub(super) struct Renewal {
    /// The configuration in force.
    pub(super) config: Config,
    /// The files and environment that it comes from.
    pub(super) sources: Sources,
    /// The files that hold secrets.
    pub(super) files: Vec<PathBuf>,
    /// SIGHUP.
    pub(super) hangups: Signal,
    /// The time, for secrets whose end is set.
    pub(super) wall: Arc<dyn WallClock>,
    /// Receive the new secrets.
    pub(super) holders: Holders,
}

impl Renewal {
    /// Follows them until it is dropped.
    pub(super) async fn follow(mut self) {
        let mut seen = contents(self.files.clone()).await;
        loop {
            let is_asked = tokio::select! {
                asked = self.hangups.recv() => asked.is_some(),
                () = tokio::time::sleep(EVERY) => false,
            };
            let found = contents(self.files.clone()).await;
            if is_asked || found != seen {
                // Compared before they are read: a change in between shows the next time.
                seen = found;
                self.read_again().await;
            }
        }
    }

    async fn read_again(&mut self) {
        let now = jiff::Timestamp::from_millisecond(self.wall.now().as_millis()).unwrap_or(self.sources.now);
        let sources = Sources { now, ..self.sources.clone() };
        let Ok(loaded) = tokio::task::spawn_blocking(move || config::load(&sources)).await else { return };
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(errors) => {
                for error in errors.errors {
                    let place = error.place.to_string();
                    tracing::warn!(
                        key_path = error.key,
                        place,
                        detail = error.what,
                        "secrets cannot be read again; those before stay"
                    );
                }
                return;
            }
        };
        self.files = loaded.secret_files;
        let Renewed { config, changed } = self.config.renewed(&loaded.config);
        match self.holders.take(&config) {
            Ok(()) => {
                self.config = config;
                tracing::info!(changed = changed.join(", "), "secrets read again");
            }
            Err(error) => {
                let detail = format!("{error:#}");
                tracing::warn!(detail, "secrets cannot be read again; those before stay");
            }
        }
    }
}

/// Returns a digest of each file's present content; `None` for one that cannot be read.
async fn contents(files: Vec<PathBuf>) -> Vec<Option<[u8; 32]>> {
    let read = move || files.iter().map(|file| digest(file).ok()).collect();
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

fn digest(file: &PathBuf) -> std::io::Result<[u8; 32]> {
    use std::io::Read as _;
    let mut content = Vec::new();
    std::fs::File::open(file)?.take(LONGEST + 1).read_to_end(&mut content)?;
    Ok(Sha256::digest(content).into())
}
