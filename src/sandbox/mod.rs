//! The sandbox: Fini's public API simulated, for widget teams without a key, for the demo and for our own tests.
//!
//! A second, independent reading of the vendor's documentation: it uses nothing else of this crate, so that a mistake in
//! the client cannot repeat itself here. Where the documentation is silent, both answers can be chosen ([`Settings`]).
//! It keeps everything in memory, runs nothing in the background and takes its time from a [`Clock`].
//!
//! | Room | For |
//! |---|---|
//! | `config`, `settings` | how it starts and behaves |
//! | `choices` | the answers to what the documentation leaves open |
//! | `vendor`, `operate`, `turn`, `exchange`, `reply`, `list`, `history` | the vendor's seven operations |
//! | `late` | what happens to a conversation afterwards: statuses, people, tags |
//! | `present` | how an answer is written out |
//! | `script`, `knowledge` | what the simulated bot says, and its trigger words |
//! | `world`, `book`, `model` | what is known, in which order, and the passage of time |
//! | `desk`, `seed` | what people at the vendor's dashboard do, as methods |
//! | `call` | a request without a socket, for simulations in virtual time |
//! | `rule`, `fault`, `effect`, `server` | what goes wrong, down to the TCP connection |
//! | `audit`, `limit` | what was asked and stored; the throttle |
//! | `personality`, `rows` | one answer to each open question, drawn or from a file |
//! | `guard` | who may speak to its server |
//! | `control`, `page` | the routes under `/_sandbox` and the page that explains them |
//!
//! Every fault with an example is in `FAULTS.md`, which `fini-bridge sandbox --help` prints.
//!
//! In a test:
//!
//! ```
//! use fini_bridge::sandbox::{Fault, FaultKind, FaultRoute, Sandbox, SandboxConfig};
//!
//! let sandbox = Sandbox::new(SandboxConfig::instant());
//! sandbox.add_fault(Fault::new(FaultRoute::GenerateAnswer, FaultKind::StoreThenReset)).unwrap();
//! let router = sandbox.router(); // or `fini_bridge::sandbox::serve(listener, sandbox, shutdown)`
//! # drop(router);
//! assert_eq!(sandbox.audit(0, true).times_stored("Where is my order?"), 0);
//! ```

mod audit;
mod book;
mod call;
mod choices;
mod config;
mod control;
mod desk;
mod effect;
mod error;
mod exchange;
mod fault;
mod guard;
mod history;
mod knowledge;
mod late;
mod limit;
mod list;
mod model;
mod operate;
mod page;
mod personality;
mod present;
mod query;
mod reply;
mod rows;
mod rule;
mod script;
mod seed;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod turn;
mod vendor;
mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::routing::get;
use serde_json::Value;

pub use audit::{AuditReport, Inbound, RequestRecord, Route, Told};
pub use call::{Answered, Broken};
pub use choices::{
    AfterEscalation, AttributeMode, Encoding, EscalationSign, EventOrder, Fields, HistoryShape, Human, ListKey,
    ListOrder, ListRefusal, Repeats, ReplyManner, ReplyTime, ResolveAt, ResolveMode, ResolvedSays, SinceReading,
    StatusBy, Strings,
};
pub use config::{ApiKey, Bot, Clock, DEFAULT_API_KEY, DEFAULT_BOT_ID, SandboxConfig, system_clock};
pub use desk::Feedback;
pub use error::SandboxError;
pub use fault::FaultState;
pub use guard::Guard;
pub use model::{Article, Conversation, Event, Tag};
pub use personality::Personality;
pub use rows::{ROWS, Row};
pub use rule::{Fault, FaultKind, FaultParams, FaultRoute, Within};
pub use seed::{Seed, Seeded};
pub use server::{Connection, serve};
pub use settings::{RateLimit, Settings};

use world::World;

/// A simulated vendor. Clones share everything.
#[derive(Clone)]
pub struct Sandbox {
    world: Arc<Mutex<World>>,
}

impl Sandbox {
    /// Creates an empty workspace.
    pub fn new(config: SandboxConfig) -> Self {
        Self { world: Arc::new(Mutex::new(World::new(config))) }
    }

    /// Returns the vendor's routes, the control routes and the page at `/`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", get(page::index))
            .merge(control::router())
            .fallback(vendor::answer)
            .method_not_allowed_fallback(vendor::not_found)
            .with_state(self.clone())
    }

    /// Returns the names under which its server answers besides its addresses.
    pub(crate) fn hosts(&self) -> Vec<String> {
        self.world().hosts.clone()
    }

    /// Returns the present behaviour.
    pub fn settings(&self) -> Settings {
        self.world().settings.clone()
    }

    /// Changes the behaviour.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        let mut world = self.world();
        change(&mut world.settings);
        world.tick();
    }

    /// Takes these keys from now on, and no others.
    pub fn set_api_keys(&self, keys: Vec<ApiKey>) {
        self.world().api_keys = keys;
    }

    /// Changes the fields that the JSON object `patch` names.
    pub fn patch_settings(&self, patch: &Value) -> Result<Settings, SandboxError> {
        let mut world = self.world();
        world.settings = world.settings.patched(patch)?;
        world.tick();
        Ok(world.settings.clone())
    }

    /// Sets a fault and returns its number.
    pub fn add_fault(&self, fault: Fault) -> Result<u64, SandboxError> {
        self.world().faults.add(fault)
    }

    /// Returns every fault set, with its record.
    pub fn faults(&self) -> Vec<FaultState> {
        self.world().faults.list()
    }

    /// Removes a fault; `false` if there is none.
    pub fn remove_fault(&self, id: u64) -> bool {
        self.world().faults.remove(id)
    }

    /// Removes every fault.
    pub fn clear_faults(&self) {
        self.world().faults.clear();
    }

    /// Returns the summary of requests and stored messages since the start or the last reset; `latest` requests in detail.
    pub fn audit(&self, latest: usize, with_inbound: bool) -> AuditReport {
        self.world().audit.report(latest, with_inbound)
    }

    /// Forgets the recorded requests, but not the throttle's window: the vendor would not forget it either.
    pub fn reset_audit(&self) {
        self.world().audit.reset();
    }

    /// Begins anew: no conversations, faults, audit or throttle. Settings stay.
    pub fn reset(&self) {
        let mut world = self.world();
        world.clear();
        world.faults.clear();
        world.audit.reset();
        world.window.clear();
    }

    /// Returns its state, caught up with the clock.
    fn world(&self) -> MutexGuard<'_, World> {
        // A panic elsewhere leaves a half-changed conversation at worst; a simulation goes on.
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.tick();
        world
    }
}
