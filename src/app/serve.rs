//! Runs a bridge as a process: its log, its signals, its end.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    App, Surroundings,
    secrets::{self, Renewal},
};
use crate::{
    config::{Loaded, LogFormat, Sources},
    lifecycle::{OsSignals, Signals as _},
    system::{SystemClock, SystemEntropy},
    telemetry::{self, LogSettings},
};

/// Longest time for writing the last log lines.
const FLUSH: Duration = Duration::from_secs(2);

/// Runs until SIGTERM or SIGINT, and stops in order.
pub async fn serve(loaded: Loaded, sources: Sources) -> Result<()> {
    let wall = Arc::new(SystemClock);
    let log = LogSettings {
        format: match loaded.config.log.format {
            LogFormat::Json => telemetry::LogFormat::Json,
            LogFormat::Pretty => telemetry::LogFormat::Pretty,
        },
        level: loaded.config.log.level.clone(),
        content: loaded.config.log.content,
    };
    let guard = telemetry::init(&log, wall.clone()).context("the log")?;
    for warning in &loaded.warnings {
        tracing::warn!(key_path = warning.key, detail = warning.what, "configuration warning");
    }
    let mut signals = OsSignals::listen().context("listening for signals")?;
    let hangups = secrets::hangups().context("listening for SIGHUP")?;
    let surroundings = Surroundings {
        wall: wall.clone(),
        entropy: Arc::new(SystemEntropy),
        log: guard.counters(),
        extra: None,
        listener: None,
    };
    // A start waits for a database that is away, and does not hold up an end meanwhile.
    let started = tokio::select! {
        started = App::start(&loaded.config, surroundings) => started,
        signal = signals.next() => {
            tracing::info!(signal, "stopping");
            tracing::info!("stopped");
            guard.flush(FLUSH);
            return Ok(());
        }
    };
    let outcome = match started {
        Ok(app) => {
            let Loaded { config, secret_files: files, .. } = loaded;
            app.follow_secrets(Renewal { config, sources, files, hangups, wall, holders: app.holders() });
            app.run(signals).await;
            Ok(())
        }
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the bridge could not start");
            Err(error)
        }
    };
    guard.flush(FLUSH);
    outcome
}
