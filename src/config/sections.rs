//! The sections of the configuration, one struct each, with their built-in defaults.
//!
//! Plain data: nothing here parses or checks. The loader guarantees the ranges named on the fields; a configuration built
//! in code is expected to keep them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

use crate::domain::operator::Operator;

use super::StoreUrl;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// The public listener.
#[derive(Debug, Clone)]
pub struct Server {
    /// Address and port to listen on; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Largest request body in bytes. 16,000 characters are up to 192,000 bytes where a JSON library escapes them all.
    pub max_body: usize,
    /// Time for work in flight after a stop was asked for.
    pub shutdown_grace: Duration,
    /// Origins whose pages may call the API, exactly as browsers send them (RFC 6454, section 6.2).
    pub cors_origins: Vec<String>,
    /// Connections open at once; the next one waits in the kernel's queue.
    pub max_connections: usize,
    /// Longest time for a client to send its request head.
    pub header_timeout: Duration,
    /// Longest time for which a connection stays open between requests; longer than the proxy in front keeps it.
    pub idle_timeout: Duration,
    /// Longest time for one request in all, streams excepted. Longer than the longest `Prefer: wait` (60 s).
    pub request_timeout: Duration,
    /// Event streams open at once per frontend.
    pub max_streams_per_frontend: usize,
    /// Event streams open at once per client address.
    pub max_streams_per_address: usize,
    /// Proxies whose `X-Forwarded-For` (or `Forwarded`) and `X-Forwarded-Host` are believed.
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            max_body: 256 * 1024,
            shutdown_grace: Duration::from_secs(25),
            cors_origins: Vec::new(),
            max_connections: 4096,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(620),
            request_timeout: Duration::from_secs(75),
            max_streams_per_frontend: 2000,
            max_streams_per_address: 100,
            trusted_proxies: Vec::new(),
        }
    }
}

/// The operators' listener, never behind the ingress.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Address and port to listen on; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Bearer token of `/admin/v1`. Always present when `listen` is not a loopback address.
    pub token: Option<SecretString>,
    /// Operators with a name and a token each.
    pub operators: Vec<NamedOperator>,
}

/// An operator with a name and a token of its own.
#[derive(Debug, Clone)]
pub struct NamedOperator {
    /// The operator's name and role.
    pub operator: Operator,
    /// Its bearer token.
    pub token: SecretString,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)), token: None, operators: Vec::new() }
    }
}

/// The store of messages, feeds and deliveries.
#[derive(Debug, Clone)]
pub struct Store {
    /// The database.
    pub url: StoreUrl,
    /// Time for which finished conversations and delivered callbacks are kept.
    pub retention: Duration,
    /// Most connections to PostgreSQL that this process holds for its work; one more listens.
    pub connections: u32,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url: StoreUrl::Sqlite { path: PathBuf::from("data/fini-bridge.db") },
            retention: Duration::from_hours(30 * 24),
            connections: 16,
        }
    }
}

/// The in-memory bindings of conversations to interactions at Fini. The store holds them all; this only saves reads.
#[derive(Debug, Clone)]
pub struct Cache {
    /// Most bindings held at one time.
    pub interaction_ids: u64,
    /// Time for which an unused binding is held.
    pub time_to_idle: Duration,
}

impl Default for Cache {
    fn default() -> Self {
        Self { interaction_ids: 100_000, time_to_idle: Duration::from_hours(24) }
    }
}

/// The vendor's API and how much of it may be used.
#[derive(Debug, Clone)]
pub struct Fini {
    /// Address of the API, without the `/v2`.
    pub base_url: Url,
    /// The keys. Empty in the built-in defaults.
    pub keys: ApiKeys,
    /// The key by which Fini's own requests (its action, its attributes) are known; without it their routes do not exist.
    pub action_key: Option<SecretString>,
    /// The proxy on the way to Fini: http, https, socks5 or socks5h; it may hold a password.
    pub proxy: Option<SecretString>,
    /// Hosts and networks that are asked without the proxy.
    pub no_proxy: Vec<String>,
    /// Certificates (PEM) that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// The bridge's own certificate (PEM) for Fini, or for what stands before it.
    pub client_cert_file: Option<PathBuf>,
    /// Its key (PEM).
    pub client_key_file: Option<PathBuf>,
    /// Most requests in any window, over all routes and replicas.
    pub rate_limit: RateLimit,
    /// Longest time for one Generate Answer call.
    pub reply_timeout: Duration,
    /// Longest time for which a turn waits for its reply by reading, after the call itself brought none.
    pub late_reply_window: Duration,
    /// Longest time for which a message that Fini provably has, and that got no reply, holds the customer's next ones.
    pub hold_window: Duration,
    /// Statuses that mean "handed to a human", compared without case.
    pub escalated_statuses: Vec<String>,
    /// Statuses that mean "resolved", compared without case, besides Fini's own `resolved: true`.
    pub resolved_statuses: Vec<String>,
    /// Statuses that mean "the customer is asked for something", compared without case.
    pub waiting_statuses: Vec<String>,
}

impl Default for Fini {
    fn default() -> Self {
        Self {
            base_url: Url::parse("https://api-prod.usefini.com").expect("a literal address is well formed"),
            keys: ApiKeys::default(),
            action_key: None,
            proxy: None,
            no_proxy: Vec::new(),
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            rate_limit: RateLimit { requests: 100, window: Duration::from_mins(1) },
            reply_timeout: Duration::from_mins(2),
            late_reply_window: Duration::from_mins(10),
            hold_window: Duration::from_secs(20),
            escalated_statuses: vec!["Escalated to Human Agent".to_owned()],
            resolved_statuses: vec!["Resolved".to_owned()],
            waiting_statuses: vec!["Waiting for Customer".to_owned()],
        }
    }
}

/// The API keys by what they are for. Fini gives a key the scope `read`, `write` or both; with one key for both, both
/// fields hold it.
#[derive(Debug, Clone, Default)]
pub struct ApiKeys {
    /// Key for List, Get and the other reading routes.
    pub read: SecretString,
    /// Key for Generate Answer and Delete.
    pub write: SecretString,
}

impl ApiKeys {
    /// One key with both scopes.
    pub fn single(key: SecretString) -> Self {
        Self { read: key.clone(), write: key }
    }
}

/// At most `requests` in any `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests per window, at least 1.
    pub requests: u32,
    /// Length of the window, which rolls.
    pub window: Duration,
}

/// Messages that wait to be sent to Fini.
#[derive(Debug, Clone)]
pub struct Turns {
    /// Consecutive user messages that wait within this time go out as one turn; zero sends each alone.
    pub join_window: Duration,
    /// Messages that may wait in one conversation before the next is answered 429.
    pub max_waiting_per_conversation: u32,
    /// Messages that may wait in one frontend before the next is answered 429.
    pub max_waiting_per_frontend: u32,
    /// A message that no read has shown for this long after its outcome became unclear counts as absent, and is sent again.
    /// Longer than Fini's reads may lag behind its writes, or a message is doubled.
    pub absence_window: Duration,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            join_window: Duration::ZERO,
            max_waiting_per_conversation: 200,
            max_waiting_per_frontend: 100_000,
            absence_window: Duration::from_secs(15),
        }
    }
}

/// Reading what happens at Fini after a turn.
#[derive(Debug, Clone)]
pub struct Poll {
    /// Wanted time between sweeps; the budget may stretch it.
    pub sweep_interval: Duration,
    /// A conversation without activity for this long leaves the watch.
    pub watch_idle: Duration,
    /// The same for an escalated conversation.
    pub watch_escalated: Duration,
    /// Share of the budget, 0 to 1, that reading may never take from sending. At 1 reading is left with its floor only.
    pub send_reserve: f64,
}

impl Default for Poll {
    fn default() -> Self {
        Self {
            sweep_interval: Duration::from_secs(2),
            watch_idle: Duration::from_hours(24),
            watch_escalated: Duration::from_hours(7 * 24),
            send_reserve: 0.5,
        }
    }
}

/// Calling frontends back.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Time for a whole attempt, from name resolution to the last byte of the answer.
    pub timeout: Duration,
    /// Time for the connection alone.
    pub connect_timeout: Duration,
    /// Pauses before the second, third, … attempt; never empty. After the last the delivery is a dead letter.
    pub retry_schedule: Vec<Duration>,
    /// Networks exempt from the refusal of private addresses.
    pub allow_networks: Vec<IpNet>,
    /// True if callbacks may use plain http, to `allow_networks` only.
    pub allow_http: bool,
    /// Attempts at once per frontend.
    pub max_in_flight_per_frontend: usize,
    /// Time for which a claimed delivery belongs to its worker; at least [`Delivery::LEASE_MARGIN`] longer than `timeout`, so
    /// that a delivery is never taken by a second worker while the first still sends it.
    pub lease: Duration,
    /// The fate of a conversation's later deliveries when one is exhausted.
    pub on_exhausted: OnExhausted,
    /// A delivery that could not be made for this long (a paused endpoint, for one) is a dead letter.
    pub max_age: Duration,
}

impl Delivery {
    /// Least margin of a lease over the timeout of an attempt.
    pub const LEASE_MARGIN: Duration = Duration::from_secs(5);
    /// Margin of a lease over the timeout when it is not set.
    pub const LEASE_SLACK: Duration = Duration::from_secs(15);
}

impl Default for Delivery {
    fn default() -> Self {
        let timeout = Duration::from_secs(15);
        Self {
            timeout,
            connect_timeout: Duration::from_secs(5),
            retry_schedule: [1, 5, 20, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR]
                .map(Duration::from_secs)
                .to_vec(),
            allow_networks: Vec::new(),
            allow_http: false,
            max_in_flight_per_frontend: 64,
            lease: timeout + Self::LEASE_SLACK,
            on_exhausted: OnExhausted::Continue,
            max_age: Duration::from_hours(3 * 24),
        }
    }
}

/// The fate of a conversation's later deliveries when one is exhausted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExhausted {
    /// They go on; the dead letter can be replayed.
    Continue,
    /// They wait until an operator retries or drops the dead letter, so that the receiver never sees a gap.
    Hold,
}

/// The log.
#[derive(Debug, Clone)]
pub struct Log {
    /// One JSON object per line, or lines for people.
    pub format: LogFormat,
    /// A level, or directives such as `info,fini_bridge::delivery=debug`.
    pub level: String,
    /// True if message texts may be logged.
    pub content: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Json, level: "info".to_owned(), content: false }
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For a terminal.
    Pretty,
}

/// Reports to other systems about the bridge's work.
#[derive(Debug, Clone, Default)]
pub struct Telemetry {
    /// The OTLP collector that spans are sent to, over HTTP. Only in a program that was built with the feature `otlp`.
    pub otlp_endpoint: Option<Url>,
}
