//! A bridge without sockets: every room built from given ports, connected and running, and the routes into it.
//!
//! Its ports to the world are handed in, so that the same bridge runs as a process and in a simulation.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use axum::Router;

use super::{
    clock::Timekeeper,
    parts,
    rooms::{Delivery, Rooms},
    secrets::Holders,
};
use crate::{
    config::Config,
    delivery::ReceiverApi,
    domain::{Entropy, WallClock},
    fini::Transport,
    http,
    lifecycle::{Ended, Lifecycle, Signals, Stop, Tasks},
    metrics::{LogCounters, Metrics},
    service::{housekeeper::Housekeeper, reader::Reader},
    store::Store,
};

/// Longest time for telling the other replicas of the end.
const LEAVE: Duration = Duration::from_secs(2);

/// The ports through which the rooms reach the world outside.
pub struct Ports {
    /// Carries requests to Fini.
    pub fini: Box<dyn Transport>,
    /// The frontends' receivers.
    pub receivers: Arc<dyn ReceiverApi>,
    /// Holds everything that outlives the process.
    pub store: Arc<dyn Store>,
    /// The machine's clock.
    pub wall: Arc<dyn WallClock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Counts the lines that the log dropped.
    pub log: LogCounters,
}

/// A bridge that runs.
pub struct Bridge {
    public: Router,
    admin: Router,
    lifecycle: Lifecycle,
    metrics: Metrics,
    store: Arc<dyn Store>,
    reader: Arc<Reader>,
    housekeeper: Arc<Housekeeper>,
    timekeeper: Arc<Timekeeper>,
    holders: Holders,
    grace: Duration,
}

impl Bridge {
    /// Builds and connects every room, takes over what a predecessor left behind, and starts the loops.
    pub async fn start(config: &Config, ports: Ports) -> Result<Self> {
        let receivers = Arc::clone(&ports.receivers);
        let mut rooms = Rooms::build(config, ports).await?;
        let delivery = Delivery { receivers, endpoints: parts::endpoints(config)? };
        let reader = rooms.reader(config);
        let watched = rooms.watched(config, &delivery);
        let housekeeper = Arc::new(rooms.housekeeper(config, Arc::clone(&reader), &watched));
        let holders = rooms.holders(config, &delivery)?;
        let public = http::public(rooms.public(config, &holders));
        let admin = http::admin::admin(rooms.admin(config, &delivery, Arc::clone(&reader), &holders, watched));
        rooms.start_loops(config, Arc::clone(&reader), Arc::clone(&housekeeper), delivery);
        Ok(Self {
            public,
            admin,
            lifecycle: rooms.lifecycle,
            metrics: rooms.metrics,
            store: rooms.store,
            reader,
            housekeeper,
            timekeeper: rooms.timekeeper,
            holders,
            grace: config.server.shutdown_grace,
        })
    }

    /// Returns the routes of the public listener.
    pub fn public(&self) -> Router {
        self.public.clone()
    }

    /// Returns the routes of the operators' listener.
    pub fn admin(&self) -> Router {
        self.admin.clone()
    }

    /// Returns the stages of stopping.
    pub fn stop(&self) -> Stop {
        self.lifecycle.stop()
    }

    /// Returns the tasks for the server of the public routes.
    pub(super) fn tasks(&self) -> Tasks {
        self.lifecycle.tasks()
    }

    /// Returns the tasks for the server of the operators' routes, which run to the very end.
    pub(super) fn last_tasks(&self) -> Tasks {
        self.lifecycle.last_tasks()
    }

    pub(super) fn holders(&self) -> Holders {
        self.holders.clone()
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Runs until a signal, then stops in order.
    pub async fn run(self, signals: impl Signals) -> Ended {
        let ended = self.lifecycle.run(self.grace, signals).await;
        // If the store does not answer, the leases end by themselves.
        let leaving =
            async { self.reader.leave().await.and(self.housekeeper.leave().await).and(self.timekeeper.leave().await) };
        if !matches!(tokio::time::timeout(LEAVE, leaving).await, Ok(Ok(()))) {
            tracing::warn!("the other replicas could not be told of the end; they find out by themselves");
        }
        self.store.close().await;
        ended
    }

    /// Ends as a kill does: after [`Stop::abort`] nothing is finished and nobody is told; everything on record stays.
    pub async fn bury(self) {
        self.lifecycle.stop().abort();
        self.lifecycle.aborted().await;
        self.store.close().await;
    }
}
