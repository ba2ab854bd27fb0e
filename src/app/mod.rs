//! The composition root: builds every room, connects them, and runs them until told to stop.
//!
//! The only room that names adapters and sees the whole configuration. Listeners open last: whoever can connect finds a
//! bridge that works.

mod clock;
mod parts;
mod rooms;
mod serve;

pub use serve::serve;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use axum::Router;
use tokio::net::TcpListener;

use self::{
    clock::Timekeeper,
    rooms::{Delivery, Rooms},
};
use crate::{
    config::Config,
    delivery::client::CallbackClient,
    domain::{Entropy, WallClock},
    http::{self, server::Server},
    lifecycle::{Ended, Lifecycle, Signals, Stop, Tasks},
    metrics::LogCounters,
    outbound::install_crypto,
    service::{housekeeper::Housekeeper, reader::Reader},
    store::Store,
};

/// Telling the other replicas of the end may take so long at the end.
const LEAVE: Duration = Duration::from_secs(2);

/// What is not configuration but comes from outside all the same.
pub struct Surroundings {
    /// The machine's clock: what the world judges by, and what the steady clock is set by at the start.
    pub wall: Arc<dyn WallClock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
    /// What the log dropped.
    pub log: LogCounters,
    /// Further routes on the public listener (the demo's page).
    pub extra: Option<Router>,
    /// The public listener, where it is open already; else `server.listen` is bound.
    pub listener: Option<TcpListener>,
}

/// A bridge that runs.
pub struct App {
    lifecycle: Lifecycle,
    store: Arc<dyn Store>,
    reader: Arc<Reader>,
    housekeeper: Arc<Housekeeper>,
    timekeeper: Arc<Timekeeper>,
    grace: Duration,
    public: SocketAddr,
    admin: SocketAddr,
}

impl App {
    /// Builds and starts everything; returns once both listeners are open.
    pub async fn start(config: &Config, surroundings: Surroundings) -> Result<Self> {
        install_crypto();
        let Surroundings { wall, entropy, log, extra, listener } = surroundings;
        let mut rooms = Rooms::build(config, wall, entropy, log).await?;
        let (reader, housekeeper) = (rooms.reader(config), Arc::new(rooms.housekeeper(config)));
        let delivery = Delivery {
            receivers: Arc::new(CallbackClient::new(parts::guard(config), config.delivery.connect_timeout)?),
            endpoints: parts::endpoints(config)?,
        };
        let mut public = http::public(rooms.public(config)?);
        if let Some(extra) = extra {
            public = public.merge(extra);
        }
        let admin = http::admin::admin(rooms.admin(config, &delivery, Arc::clone(&reader)));
        rooms.start_loops(config, Arc::clone(&reader), Arc::clone(&housekeeper), delivery)?;

        let (stop, metrics) = (rooms.lifecycle.stop(), &rooms.metrics);
        let limits = parts::limits(config);
        let serve = |name, tasks: Tasks, drain, listener, router| {
            let server = Server { name, limits, tasks: tasks.clone(), metrics: metrics.clone(), drain };
            drop(tasks.spawn("server", server.run(listener, router)));
        };
        let (socket, admin_address) = bind("admin", config.admin.listen, None).await?;
        serve("admin", rooms.lifecycle.last_tasks(), stop.hard().clone(), socket, admin);
        let (socket, public_address) = bind("public", config.server.listen, listener).await?;
        serve("public", rooms.lifecycle.tasks(), stop.soft().clone(), socket, public);
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready to serve");
        Ok(Self {
            lifecycle: rooms.lifecycle,
            store: rooms.store,
            reader,
            housekeeper,
            timekeeper: rooms.timekeeper,
            grace: config.server.shutdown_grace,
            public: public_address,
            admin: admin_address,
        })
    }

    /// Where the public API listens.
    pub const fn public_address(&self) -> SocketAddr {
        self.public
    }

    /// Where the operators' API listens.
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// The stages of stopping.
    pub fn stop(&self) -> Stop {
        self.lifecycle.stop()
    }

    /// Runs until a signal, then stops in order.
    pub async fn run(self, signals: impl Signals) -> Ended {
        let ended = self.lifecycle.run(self.grace, signals).await;
        // Where the store does not answer, the leases end by themselves.
        let leaving =
            async { self.reader.leave().await.and(self.housekeeper.leave().await).and(self.timekeeper.leave().await) };
        if !matches!(tokio::time::timeout(LEAVE, leaving).await, Ok(Ok(()))) {
            tracing::warn!("the other replicas could not be told of the end; they find out by themselves");
        }
        self.store.close().await;
        ended
    }
}

async fn bind(
    listener: &'static str,
    address: SocketAddr,
    open: Option<TcpListener>,
) -> Result<(TcpListener, SocketAddr)> {
    let bound = match open {
        Some(open) => open,
        None => TcpListener::bind(address).await.with_context(|| format!("listening on {address} ({listener})"))?,
    };
    let address = bound.local_addr()?;
    tracing::info!(listener, %address, "listening");
    Ok((bound, address))
}
