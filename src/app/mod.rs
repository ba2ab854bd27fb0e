//! The composition root: builds every room, connects them, and runs them until told to stop.
//!
//! The only room that names adapters and sees the whole configuration. Listeners open last: a client that can connect finds
//! a bridge that works.

mod bridge;
mod clock;
mod parts;
mod rooms;
mod secrets;
mod serve;

pub use bridge::{Bridge, Ports};
pub use parts::rules;
use secrets::{Holders, Renewal};
pub use serve::serve;

use std::{
    io::{
        self,
        ErrorKind::{AddrInUse, PermissionDenied},
    },
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use axum::Router;
use tokio::net::TcpListener;

use crate::{
    config::{Config, OPERATORS},
    delivery::client::CallbackClient,
    domain::{Entropy, WallClock},
    fini,
    http::server::{Addresses, Limits, Server},
    lifecycle::{Ended, Signals, Stop, Tasks},
    metrics::LogCounters,
    outbound::install_crypto,
    system::max_open_files,
};

/// Inputs from outside that are not configuration.
pub struct Surroundings {
    /// The machine's clock, by which the world judges and the steady clock is set at the start.
    pub wall: Arc<dyn WallClock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Counts the lines that the log dropped.
    pub log: LogCounters,
    /// Further routes on the public listener (the demo's page).
    pub extra: Option<Router>,
    /// The public listener, if it is open already; else `server.listen` is bound.
    pub listener: Option<TcpListener>,
}

/// A bridge that runs, with its listeners.
pub struct App {
    bridge: Bridge,
    public: SocketAddr,
    admin: SocketAddr,
}

impl App {
    /// Builds and starts everything; returns once both listeners are open.
    pub async fn start(config: &Config, surroundings: Surroundings) -> Result<Self> {
        install_crypto();
        let Surroundings { wall, entropy, log, extra, listener } = surroundings;
        let ports = Ports {
            fini: fini::over_http(&parts::fini(config)).context("the Fini client")?,
            receivers: Arc::new(CallbackClient::new(parts::guard(config), config.delivery.connect_timeout)?),
            store: rooms::open_store(config, Arc::clone(&wall), Arc::clone(&entropy)).await?,
            wall,
            entropy,
            log,
        };
        let bridge = Bridge::start(config, ports).await?;
        let mut public = bridge.public();
        if let Some(extra) = extra {
            public = public.merge(extra);
        }

        let stop = bridge.stop();
        let serve = |name, (limits, addresses): (Limits, Addresses), tasks: Tasks, drain, listener, router| {
            let (addresses, metrics) = (Arc::new(addresses), bridge.metrics().clone());
            let server = Server { name, limits, addresses, tasks: tasks.clone(), metrics, drain };
            drop(tasks.spawn("server", server.run(listener, router)));
        };
        let (socket, admin_address) = bind("admin", config.admin.listen, None).await?;
        let operators = (parts::limits(config, OPERATORS), Addresses::default());
        serve("admin", operators, bridge.last_tasks(), stop.hard().clone(), socket, bridge.admin());
        let (socket, public_address) = bind("public", config.server.listen, listener).await?;
        let callers = (parts::limits(config, connections(config)), parts::addresses(config));
        serve("public", callers, bridge.tasks(), stop.soft().clone(), socket, public);
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready to serve");
        Ok(Self { bridge, public: public_address, admin: admin_address })
    }

    /// Returns the address of the public API.
    pub const fn public_address(&self) -> SocketAddr {
        self.public
    }

    /// Returns the address of the operators' API.
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Returns the stages of stopping.
    pub fn stop(&self) -> Stop {
        self.bridge.stop()
    }

    /// Returns the holders of secrets that may change.
    fn holders(&self) -> Holders {
        self.bridge.holders()
    }

    /// Follows the files of secrets to the end.
    fn follow_secrets(&self, renewal: Renewal) {
        drop(self.bridge.last_tasks().spawn("secrets", rooms::until(&self.stop(), renewal.follow())));
    }

    /// Runs until a signal, then stops in order.
    pub async fn run(self, signals: impl Signals) -> Ended {
        self.bridge.run(signals).await
    }
}

/// Binds the address. `[::]` takes IPv4 as well, so that one configuration serves clusters of either family and of both; on
/// a machine without any IPv6 it takes IPv4 alone.
async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    let is_any_v6 = address.is_ipv6() && address.ip().is_unspecified();
    match &bound {
        Err(error) if is_any_v6 && !matches!(error.kind(), AddrInUse | PermissionDenied) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        _ => bound,
    }
}

/// Returns how many connections are served; logs it if that is fewer than are configured.
fn connections(config: &Config) -> usize {
    let open_files = max_open_files();
    let (wanted, served) = (config.server.max_connections, config.connections_within(open_files));
    if served < wanted {
        tracing::warn!(wanted, served, open_files, "fewer connections are served than are configured");
    }
    served
}

async fn bind(
    listener: &'static str,
    address: SocketAddr,
    open: Option<TcpListener>,
) -> Result<(TcpListener, SocketAddr)> {
    let bound = match open {
        Some(open) => open,
        None => listen(address).await.with_context(|| format!("listening on {address} ({listener})"))?,
    };
    let address = bound.local_addr()?;
    tracing::info!(listener, %address, "listening");
    Ok((bound, address))
}
