//! The machine that the bridge runs on: starts it, kills it at any await, starts it again on what was committed, and carries
//! requests to it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::{Body, Bytes},
};
use fini_bridge::{
    app::{Bridge, Ports, rules},
    config::Config,
    metrics::LogCounters,
    store::SqliteStore,
};
use http::{Request, Response};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{
    receiver::Receivers,
    time::{Asked, Chance, Time},
    vendor::{Line, Vendor},
};

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Door {
    Public,
    Admin,
}

/// The machine.
pub struct Host {
    pub config: Config,
    database: PathBuf,
    seed: u64,
    time: Arc<Time>,
    vendor: Arc<Vendor>,
    receivers: Arc<Receivers>,
    running: Mutex<Option<Running>>,
    starts: Mutex<u64>,
    /// Held from a kill until it runs again: whoever would kill it meanwhile waits.
    pub switch: tokio::sync::Mutex<()>,
}

struct Running {
    bridge: Bridge,
    public: Router,
    admin: Router,
    dead: CancellationToken,
}

/// A bridge that asks nothing for so long has nothing to do.
const IDLE: Duration = Duration::from_secs(5);

/// Nobody answers.
#[derive(Clone, Copy, Debug)]
pub struct Down;

impl Host {
    pub fn new(
        config: Config,
        folder: &Path,
        seed: u64,
        time: Arc<Time>,
        vendor: Arc<Vendor>,
        receivers: Arc<Receivers>,
    ) -> Self {
        Self {
            config,
            database: folder.join("bridge.db"),
            seed,
            time,
            vendor,
            receivers,
            running: Mutex::default(),
            starts: Mutex::default(),
            switch: tokio::sync::Mutex::default(),
        }
    }

    /// Starts the bridge on what is there.
    pub async fn start(&self) -> Result<()> {
        let number = {
            let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
            *starts += 1;
            *starts
        };
        let chance = Chance::new(self.seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let entropy = Arc::new(Asked(chance, Arc::clone(&self.time)));
        let rules = rules(&self.config, Arc::clone(&self.time) as _, Arc::clone(&entropy) as _);
        let store = SqliteStore::open_inline(&self.database, rules).context("the store")?;
        let ports = Ports {
            fini: Box::new(Line(Arc::clone(&self.vendor))),
            receivers: Arc::clone(&self.receivers) as _,
            store: Arc::new(store),
            wall: Arc::clone(&self.time) as _,
            entropy,
            log: LogCounters::default(),
        };
        let bridge = Bridge::start(&self.config, ports).await?;
        let running =
            Running { public: bridge.public(), admin: bridge.admin(), bridge, dead: CancellationToken::new() };
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        Ok(())
    }

    /// Starts the bridge, and kills it while it starts or just has, once it has asked so many things of the world.
    pub async fn start_in_vain(&self, questions: u32) -> Result<()> {
        let struck = self.time.after(questions);
        let started = tokio::select! {
            biased;
            _ = struck => Ok(()),
            started = self.start() => started,
        };
        self.bury().await;
        started
    }

    /// Kills the bridge once it has asked so many things of the world and others have been polled so often, but within seconds.
    pub async fn kill(&self, questions: u32, polls: u32) {
        let struck = timeout(IDLE, self.time.after(questions)).await;
        if struck.is_ok() {
            for _ in 0..polls {
                tokio::task::yield_now().await;
            }
        }
        self.bury().await;
    }

    /// Ends the bridge at whatever await each part of it has come to.
    pub async fn bury(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(running) = running {
            running.bridge.stop().abort();
            running.dead.cancel();
            running.bridge.bury().await;
        }
    }

    /// What is left of the store on its disk once the bridge is buried.
    pub fn remains(&self) -> Result<Vec<u8>> {
        let store = rusqlite::Connection::open(&self.database)?;
        store.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        drop(store);
        Ok(std::fs::read(&self.database)?)
    }

    /// Makes a request; the answer's body may still be coming, until the token is cancelled.
    pub async fn open(&self, door: Door, request: Request<Body>) -> Result<(Response<Body>, CancellationToken), Down> {
        let (router, dead) = {
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            let running = running.as_ref().ok_or(Down)?;
            let router = if door == Door::Public { &running.public } else { &running.admin };
            (router.clone(), running.dead.clone())
        };
        tokio::select! {
            biased;
            () = dead.cancelled() => Err(Down),
            Ok(response) = router.oneshot(request) => Ok((response, dead)),
        }
    }

    /// Makes a request and reads its answer.
    pub async fn call(&self, door: Door, request: Request<Body>) -> Result<(u16, Bytes), Down> {
        let (response, dead) = self.open(door, request).await?;
        let status = response.status().as_u16();
        tokio::select! {
            biased;
            () = dead.cancelled() => Err(Down),
            body = axum::body::to_bytes(response.into_body(), usize::MAX) => Ok((status, body.map_err(|_| Down)?)),
        }
    }
}
