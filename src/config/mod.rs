//! Configuration as plain data, and the loader that fills it.
//!
//! Everything an operator can set lives in [`Config`]: plain structs with public fields, complete in themselves, so that
//! the demo and the tests build one in code exactly as the loader does. [`load()`] lays a TOML file over the built-in
//! defaults and the environment over both, reads secrets from files where asked, and reports every fault at once, each
//! with its key, its place and its remedy.
//!
//! This room never reads the clock, never opens a connection and never prints. It keeps one invariant: no secret's value
//! appears in an error, a warning, a summary or a `Debug` output.

mod describe;
mod frontend;
mod limits;
mod load;
mod postgres_url;
mod renew;
mod sections;
mod shown;
mod store_url;

pub use describe::describe;
pub use frontend::{Callback, EventPattern, Frontend, RotatingSecret};
pub use limits::{Limits, OPERATORS};
pub use load::{ConfigErrors, Finding, Loaded, Needs, Origin, Place, Severity, Sources, load, secret_in};
pub use postgres_url::PostgresUrlError;
pub use renew::Renewed;
pub use sections::{
    Admin, ApiKeys, Cache, Delivery, Fini, Log, LogFormat, NamedOperator, OnExhausted, Poll, RateLimit, Server, Store,
    Telemetry, Turns,
};
pub use shown::shown;
pub use store_url::StoreUrl;

/// Everything an operator can set. See `config/default.toml` for the same keys with their commented defaults.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The public listener: `/v1/*` and `/openapi.json`.
    pub server: Server,
    /// Limits on one person, one conversation and one address.
    pub limits: Limits,
    /// The operators' listener: health, metrics, `/admin/v1/*`.
    pub admin: Admin,
    /// The store of messages, feeds and deliveries.
    pub store: Store,
    /// The memory of which conversation is which interaction at Fini.
    pub cache: Cache,
    /// The vendor's API and how much of it may be used.
    pub fini: Fini,
    /// Messages that wait to be sent to Fini.
    pub turns: Turns,
    /// Reading what happens at Fini after a turn.
    pub poll: Poll,
    /// Calling frontends back.
    pub delivery: Delivery,
    /// The log.
    pub log: Log,
    /// Spans, and their collector.
    pub telemetry: Telemetry,
    /// The chat frontends behind which Fini is put. `serve` needs at least one.
    pub frontends: Vec<Frontend>,
}

impl Config {
    /// The built-in defaults: complete but for what only the operator knows, the API key and the frontends.
    pub fn defaults() -> Self {
        Self::default()
    }
}
