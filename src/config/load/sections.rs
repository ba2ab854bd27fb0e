//! The sections, key by key: the form and the range of each, over the built-in default.

use std::time::Duration;

use ipnet::IpNet;
use secrecy::ExposeSecret;
use tracing_subscriber::EnvFilter;

use super::{
    Needs, addresses,
    finding::{Wrong, quote},
    forms::{self, Form, POSITIVE, TEN_YEARS},
    frontends, keys, limits, operators,
    reader::Scope,
    secret_forms,
    tree::Value,
};
use crate::{
    config::{
        Admin, Cache, Config, Delivery, Fini, Log, LogFormat, OnExhausted, Poll, RateLimit, Server, Store, StoreUrl,
        Telemetry, Turns,
    },
    domain::nearest,
};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
const DAY: Duration = Duration::from_hours(24);
/// The longest wait a caller may ask for with `Prefer: wait`.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

pub(super) fn read(root: &mut Scope<'_>, needs: Needs) -> Config {
    let default = Config::defaults();
    Config {
        server: root.section("server", |s| server(s, default.server)),
        limits: root.section("limits", |s| limits::read(s, default.limits)),
        admin: root.section("admin", |s| admin(s, &default.admin)),
        store: root.section("store", |s| store(s, default.store)),
        cache: root.section("cache", |s| cache(s, &default.cache)),
        fini: root.section("fini", |s| fini(s, default.fini, needs)),
        turns: root.section("turns", |s| turns(s, &default.turns)),
        poll: root.section("poll", |s| poll(s, &default.poll)),
        delivery: root.section("delivery", |s| delivery(s, default.delivery)),
        log: root.section("log", |s| log(s, default.log)),
        telemetry: root.section("telemetry", telemetry),
        frontends: frontends::read(root, needs),
    }
}

fn server(s: &mut Scope<'_>, default: Server) -> Server {
    Server {
        listen: s.value("listen", default.listen, addresses::listen),
        max_body: s.value("max_body", default.max_body, forms::size(1 << 10..=64 << 20)),
        shutdown_grace: s.value(
            "shutdown_grace",
            default.shutdown_grace,
            forms::duration(Duration::ZERO..=Duration::from_hours(1)),
        ),
        cors_origins: s.list("cors_origins", default.cors_origins, addresses::origin),
        max_connections: s.value("max_connections", default.max_connections, forms::integer(1..=1_000_000)),
        header_timeout: s.value(
            "header_timeout",
            default.header_timeout,
            forms::duration(Duration::from_millis(1)..=Duration::from_mins(5)),
        ),
        idle_timeout: s.value(
            "idle_timeout",
            default.idle_timeout,
            forms::duration(Duration::from_secs(1)..=Duration::from_hours(24)),
        ),
        request_timeout: s.value("request_timeout", default.request_timeout, |value| {
            let timeout = forms::duration(POSITIVE)(value)?;
            if timeout > LONGEST_WAIT {
                return Ok(timeout);
            }
            Err(Wrong::new(
                "must be longer than 60s",
                "a request may wait 60s for its reply (`Prefer: wait`); give it a margin, such as \"75s\"",
            ))
        }),
        max_streams_per_frontend: s.value(
            "max_streams_per_frontend",
            default.max_streams_per_frontend,
            forms::integer(1..=1_000_000),
        ),
        max_streams_per_address: s.value(
            "max_streams_per_address",
            default.max_streams_per_address,
            forms::integer(1..=1_000_000),
        ),
        trusted_proxies: networks(s, "trusted_proxies"),
    }
}

fn admin(s: &mut Scope<'_>, default: &Admin) -> Admin {
    let listen = s.value("listen", default.listen, addresses::listen);
    let local = listen.ip().to_canonical().is_loopback();
    let check = if local { secret_forms::visible } else { secret_forms::token };
    let token = s.secret("token", "token_file", check);
    let (key, file_key) = (s.path("token"), s.path("token_file"));
    let faulty = s.cx.has_error(&key) || s.cx.has_error(&file_key);
    let operators = operators::read(s);
    if token.is_none() && operators.is_empty() && !local && !faulty {
        let help = "set FINI_BRIDGE__ADMIN__TOKEN (or `token_file`) to at least 24 characters, or listen on 127.0.0.1";
        let what = format!("is required because admin.listen ({listen}) is not a loopback address");
        s.cx.error(key, Wrong::new(what, help));
    }
    Admin { listen, token, operators }
}

fn store(s: &mut Scope<'_>, default: Store) -> Store {
    // The address may hold a password, so it can come from a file, and is never quoted.
    let url = s.secret("url", "url_file", |text| match StoreUrl::parse(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(Wrong::new(
            error.to_string(),
            "write \"sqlite://data/fini-bridge.db\", \"postgres://user:password@host/database\" or, for a socket, \
             \"postgres://user@/database?host=/run/postgresql\"",
        )),
    });
    Store {
        url: url.and_then(|url| StoreUrl::parse(url.expose_secret()).ok()).unwrap_or(default.url),
        retention: s.value("retention", default.retention, forms::duration(POSITIVE)),
        connections: s.value("connections", default.connections, forms::integer(2..=1_000)),
    }
}

fn cache(s: &mut Scope<'_>, default: &Cache) -> Cache {
    Cache {
        interaction_ids: s.value("interaction_ids", default.interaction_ids, forms::integer(0..=100_000_000)),
        time_to_idle: s.value("time_to_idle", default.time_to_idle, forms::duration(POSITIVE)),
    }
}

fn fini(s: &mut Scope<'_>, default: Fini, needs: Needs) -> Fini {
    Fini {
        base_url: s.value("base_url", default.base_url, addresses::base_url),
        keys: keys::read(s, needs),
        action_key: s.secret("action_key", "action_key_file", secret_forms::token),
        proxy: s.secret("proxy", "proxy_file", secret_forms::proxy),
        no_proxy: s.list("no_proxy", default.no_proxy, forms::words),
        ca_file: s.value("ca_file", default.ca_file, forms::file),
        client_cert_file: s.value("client_cert_file", default.client_cert_file, forms::file),
        client_key_file: s.value("client_key_file", default.client_key_file, forms::file),
        rate_limit: s.section("rate_limit", |s| RateLimit {
            requests: s.value("requests", default.rate_limit.requests, forms::integer(1..=1_000_000)),
            window: s.value("window", default.rate_limit.window, forms::duration(Duration::from_millis(1)..=DAY)),
        }),
        reply_timeout: s.value(
            "reply_timeout",
            default.reply_timeout,
            forms::duration(Duration::from_millis(1)..=Duration::from_hours(1)),
        ),
        late_reply_window: s.value(
            "late_reply_window",
            default.late_reply_window,
            forms::duration(Duration::ZERO..=TEN_YEARS),
        ),
        hold_window: s.value("hold_window", default.hold_window, forms::duration(Duration::ZERO..=TEN_YEARS)),
        escalated_statuses: s.list("escalated_statuses", default.escalated_statuses, forms::words),
        resolved_statuses: s.list("resolved_statuses", default.resolved_statuses, forms::words),
        waiting_statuses: s.list("waiting_statuses", default.waiting_statuses, forms::words),
    }
}

fn turns(s: &mut Scope<'_>, default: &Turns) -> Turns {
    Turns {
        join_window: s.value(
            "join_window",
            default.join_window,
            forms::duration(Duration::ZERO..=Duration::from_mins(10)),
        ),
        max_waiting_per_conversation: s.value(
            "max_waiting_per_conversation",
            default.max_waiting_per_conversation,
            forms::integer(1..=1_000_000),
        ),
        max_waiting_per_frontend: s.value(
            "max_waiting_per_frontend",
            default.max_waiting_per_frontend,
            forms::integer(1..=100_000_000),
        ),
        absence_window: s.value(
            "absence_window",
            default.absence_window,
            forms::duration(Duration::from_secs(1)..=Duration::from_hours(1)),
        ),
    }
}

fn poll(s: &mut Scope<'_>, default: &Poll) -> Poll {
    Poll {
        sweep_interval: s.value(
            "sweep_interval",
            default.sweep_interval,
            forms::duration(Duration::from_millis(1)..=DAY),
        ),
        watch_idle: s.value("watch_idle", default.watch_idle, forms::duration(POSITIVE)),
        watch_escalated: s.value("watch_escalated", default.watch_escalated, forms::duration(POSITIVE)),
        send_reserve: s.value("send_reserve", default.send_reserve, forms::share),
    }
}

fn delivery(s: &mut Scope<'_>, default: Delivery) -> Delivery {
    let most = Duration::from_hours(1);
    let timeout = s.value("timeout", default.timeout, forms::duration(Duration::from_millis(1)..=most));
    Delivery {
        timeout,
        connect_timeout: s.value(
            "connect_timeout",
            default.connect_timeout,
            forms::duration(Duration::from_millis(1)..=most),
        ),
        retry_schedule: s.list("retry_schedule", default.retry_schedule, forms::duration(POSITIVE)),
        allow_networks: networks(s, "allow_networks"),
        allow_http: s.value("allow_http", default.allow_http, forms::boolean),
        max_in_flight_per_frontend: s.value(
            "max_in_flight_per_frontend",
            default.max_in_flight_per_frontend,
            forms::integer(1..=10_000),
        ),
        lease: s.optional("lease", forms::duration(POSITIVE)).unwrap_or(timeout + Delivery::LEASE_SLACK),
        on_exhausted: s.value(
            "on_exhausted",
            default.on_exhausted,
            forms::one_of(&[("continue", OnExhausted::Continue), ("hold", OnExhausted::Hold)]),
        ),
        max_age: s.value("max_age", default.max_age, forms::duration(POSITIVE)),
    }
}

fn log(s: &mut Scope<'_>, default: Log) -> Log {
    Log {
        format: s.value(
            "format",
            default.format,
            forms::one_of(&[("json", LogFormat::Json), ("pretty", LogFormat::Pretty)]),
        ),
        level: s.value("level", default.level, level),
        content: s.value("content", default.content, forms::boolean),
    }
}

fn telemetry(s: &mut Scope<'_>) -> Telemetry {
    Telemetry {
        otlp_endpoint: s.value("otlp_endpoint", None, |value| {
            if forms::text(value)?.trim().is_empty() {
                return Ok(None);
            }
            let endpoint = addresses::base_url(value)?;
            if cfg!(feature = "otlp") {
                return Ok(Some(endpoint));
            }
            let help = "build with `cargo build --release --features otlp`, or leave it empty";
            Err(Wrong::new("needs a program that was built with the feature `otlp`", help))
        }),
    }
}

/// Wider than the largest network that anybody has for private use (RFC 1918, RFC 4193).
fn is_wide(network: &IpNet) -> bool {
    network.prefix_len() < if network.addr().is_ipv4() { 8 } else { 7 }
}

/// Networks, with a warning where one has host bits: `10.1.2.3/8` allows more than its writer may have thought.
fn networks(s: &mut Scope<'_>, key: &'static str) -> Vec<IpNet> {
    let networks = s.list(key, Vec::new(), addresses::network);
    for network in networks.iter().filter(|network| **network != network.trunc()) {
        let what = format!("has {network}, which means all of {}", network.trunc());
        let key = s.path(key);
        s.cx.warn(key, Wrong::new(what, "write the network itself, or the single address"));
    }
    for network in networks.iter().filter(|network| is_wide(network)) {
        let what = format!("has {network}, which is a large part of all addresses");
        let key = s.path(key);
        s.cx.warn(key, Wrong::new(what, "name the networks that are meant"));
    }
    networks.iter().map(IpNet::trunc).collect()
}

/// A level, or directives of tracing's `EnvFilter`, which alone would take a misspelt level for a target's name.
fn level(value: &Value) -> Form<String> {
    let written = forms::text(value)?.trim();
    let wrong = |help: String| Wrong::new(format!("is not a log level: {}", quote(written)), help);
    let help = || {
        let levels = LEVELS.join(", ");
        format!("write one of {levels}, or directives such as \"info,fini_bridge::delivery=debug\"")
    };
    for directive in written.split(',').map(str::trim) {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
        let level = level.to_ascii_lowercase();
        if !LEVELS.contains(&level.as_str()) {
            return Err(wrong(
                nearest::closest(&level, LEVELS).map_or_else(help, |near| format!("did you mean \"{near}\"?")),
            ));
        }
    }
    match EnvFilter::builder().parse(written) {
        Ok(_) => Ok(written.to_owned()),
        Err(_) => Err(wrong(help())),
    }
}
