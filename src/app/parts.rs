//! Translates the configuration for the rooms: each gets its own section, in its own terms.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    config::{Callback, Config, Delivery, Frontend, OnExhausted, RotatingSecret},
    delivery::{DispatcherSettings, Endpoint, Headers, Terms, client::CallbackClient, guard::Guard},
    domain::{
        Entropy, WallClock,
        conversation::StatusPolicy,
        destination::{Destination, Subscription, Subscriptions},
        handoff::HandoffPolicies,
        ids::FrontendName,
        schedule::RetrySchedule,
    },
    fini::{ClientSettings, Network, budget::BudgetSettings},
    http::{
        PublicSettings,
        admin::Operators,
        asked::TrustedProxies,
        auth::{Credentials, Frontends, digest},
        server::{Addresses, Limits},
        stream::Streams,
    },
    lifecycle::Lifecycle,
    service::{
        breakers::BreakerSettings, housekeeper::HousekeeperSettings, lookup::LookupSettings, reader::ReaderSettings,
        sender::SenderSettings,
    },
    signature::{CallbackSecret, PrivateKey, Signer, Verifier, token::TokenSecret},
    store::{BacklogLimits, LongestWaits, Rules, WatchPolicy},
    telemetry::spans::Spans,
};

/// A read of Fini has to end within this.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// A signed request may be this many seconds ahead of our clock.
const SIGNED_AHEAD: u64 = 60;
/// Connecting to Fini has to end within this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait before a turn may be sent (once more), and longest wait for the next look at anything.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
const LONGEST_LOOK: Duration = Duration::from_mins(15);

/// Returns the names of all frontends.
pub(super) fn names(config: &Config) -> Vec<FrontendName> {
    config.frontends.iter().map(name).collect()
}

/// Returns the events that each destination wants; a frontend without a callback address wants none.
fn subscriptions(config: &Config) -> Subscriptions {
    Subscriptions::new(config.frontends.iter().map(|frontend| {
        let wanted = frontend.callbacks().map(|callback| Subscription {
            destination: callback.name.clone(),
            patterns: callback.events.iter().map(ToString::to_string).collect(),
            posted: callback.posted,
        });
        (name(frontend), wanted.collect())
    }))
}

/// Returns the credentials of all callers.
pub(super) fn credentials(config: &Config) -> Result<Frontends> {
    let all = config.frontends.iter().map(|frontend| {
        let secrets: Vec<_> = frontend.signing_secrets.iter().map(secret).collect::<Result<_>>()?;
        let token_secrets =
            frontend.browser_token_secrets.iter().map(|secret| TokenSecret::new(secret.expose_secret()));
        Ok(Credentials {
            frontend: name(frontend),
            tokens: frontend.tokens.iter().map(|token| digest(token.expose_secret())).collect(),
            verifier: (!secrets.is_empty()).then(|| Verifier::new(secrets, []).with_ahead(SIGNED_AHEAD)),
            token_secrets: token_secrets.collect::<Result<_, _>>().context("browser_token_secret")?,
            browser_attributes: frontend.browser_attributes.clone(),
        })
    });
    Ok(Frontends::new(all.collect::<Result<_>>()?))
}

/// Returns the digest of the key in Fini's own requests.
pub(super) fn action_key(config: &Config) -> Option<[u8; 32]> {
    config.fini.action_key.as_ref().map(|key| digest(key.expose_secret()))
}

/// Returns those who may use the operators' API.
pub(super) fn operators(config: &Config) -> Operators {
    let named = config.admin.operators.iter().map(|one| (one.operator.clone(), one.token.clone()));
    Operators::new(config.admin.token.as_ref(), named)
}

/// Returns the names that metrics know: of each frontend, and of each further destination as `frontend/name`.
pub(super) fn labels(config: &Config) -> Vec<String> {
    let further = config.frontends.iter().flat_map(|frontend| {
        frontend.destinations.iter().map(|one| Destination::new(name(frontend), one.name.clone()).to_string())
    });
    config.frontends.iter().map(|frontend| frontend.name.clone()).chain(further).collect()
}

/// Returns every destination with its callback's settings.
fn destinations(config: &Config) -> impl Iterator<Item = (Destination, &Callback)> {
    config.frontends.iter().flat_map(|frontend| {
        frontend.callbacks().map(|callback| (Destination::new(name(frontend), callback.name.clone()), callback))
    })
}

/// Returns the endpoint of every destination.
pub(super) fn endpoints(config: &Config) -> Result<Vec<Arc<Endpoint>>> {
    let delivery = &config.delivery;
    let endpoint = |(destination, callback): (Destination, &Callback)| {
        let schedule = callback.retry_schedule.as_ref().unwrap_or(&delivery.retry_schedule);
        let terms = Terms {
            timeout: callback.timeout.unwrap_or(delivery.timeout),
            schedule: RetrySchedule::new(schedule.clone()).context("retry_schedule")?,
            slots: callback.max_in_flight.unwrap_or(delivery.max_in_flight_per_frontend),
        };
        let endpoint = Endpoint::new(destination, callback.url.clone(), signer(callback)?, terms);
        endpoint.send_with(headers(callback));
        let network = Network {
            proxy: callback.proxy.clone(),
            no_proxy: Vec::new(),
            ca_file: callback.ca_file.clone(),
            client_cert_file: callback.client_cert_file.clone(),
            client_key_file: callback.client_key_file.clone(),
        };
        if !network.is_special() {
            return Ok(Arc::new(endpoint));
        }
        let client = CallbackClient::over(guard(config), delivery.connect_timeout, network)
            .with_context(|| format!("destination {}", endpoint.destination))?;
        Ok(Arc::new(endpoint.over(Arc::new(client))))
    };
    destinations(config).map(endpoint).collect()
}

/// Returns, for each destination, the signer and the further headers of its callbacks.
pub(super) fn sealing(config: &Config) -> Result<Vec<(Destination, Signer, Headers)>> {
    destinations(config)
        .map(|(destination, callback)| Ok((destination, signer(callback)?, headers(callback))))
        .collect()
}

fn signer(callback: &Callback) -> Result<Signer> {
    let mut secrets = callback.secrets.iter();
    let key = callback.signing_key.as_ref();
    let first = secrets.next().context("a callback needs a secret to sign with")?;
    let mut signer = Signer::new(secret(first)?);
    for rotating in secrets {
        signer = signer.with_older(secret(rotating)?, rotating.not_after.map(jiff::Timestamp::as_second));
    }
    if let Some(key) = key {
        signer = signer.with_private_key(PrivateKey::parse(key.expose_secret()).context("callback_signing_key")?);
    }
    Ok(signer)
}

fn headers(callback: &Callback) -> Headers {
    let parts = |line: &SecretString| {
        let (name, value) = Callback::header(line.expose_secret())?;
        Some((name.to_owned(), SecretString::from(value)))
    };
    callback.headers.iter().filter_map(parts).collect()
}

/// Returns the rule that says where callbacks may go.
pub(super) fn guard(config: &Config) -> Guard {
    Guard { allow_networks: config.delivery.allow_networks.clone(), allow_http: config.delivery.allow_http }
}

/// Returns the dispatcher's settings.
pub(super) fn dispatcher(config: &Config) -> DispatcherSettings {
    let delivery = &config.delivery;
    DispatcherSettings {
        lease: lease(config),
        hold_lane: delivery.on_exhausted == OnExhausted::Hold,
        max_age: delivery.max_age,
    }
}

/// Returns the lease of a lane, which outlasts the longest attempt of any destination.
fn lease(config: &Config) -> Duration {
    let longest = destinations(config).filter_map(|(_, callback)| callback.timeout).max().unwrap_or_default();
    config.delivery.lease.max(longest + Delivery::LEASE_MARGIN)
}

/// Returns the rules that the store applies inside its transactions.
pub fn rules(config: &Config, wall: Arc<dyn WallClock>, entropy: Arc<dyn Entropy>) -> Rules {
    Rules {
        entropy,
        wall,
        subscriptions: subscriptions(config),
        statuses: StatusPolicy::new(
            &config.fini.escalated_statuses,
            &config.fini.resolved_statuses,
            &config.fini.waiting_statuses,
        ),
        hold_window: config.fini.hold_window,
        watch: WatchPolicy { idle: config.poll.watch_idle, escalated: config.poll.watch_escalated },
        handoffs: HandoffPolicies::new(
            config.frontends.iter().map(|frontend| (name(frontend), frontend.handoff.clone())),
        ),
        formats: config.frontends.iter().map(|frontend| (name(frontend), frontend.text_format)).collect(),
    }
}

/// Returns the sink for finished spans: an exporter, if one is configured.
pub(super) fn spans(config: &Config, lifecycle: &Lifecycle) -> Result<Spans> {
    let Some(endpoint) = &config.telemetry.otlp_endpoint else { return Ok(Spans::default()) };
    #[cfg(feature = "otlp")]
    {
        let (spans, exporter) = crate::telemetry::otlp::Exporter::new(endpoint)?;
        // One of the last tasks: work that is done until the end is exported, too.
        drop(lifecycle.last_tasks().spawn("spans", exporter.run(lifecycle.stop().hard().clone())));
        Ok(spans)
    }
    #[cfg(not(feature = "otlp"))]
    {
        let _ = lifecycle;
        anyhow::bail!("telemetry.otlp_endpoint is {endpoint}, but this program was built without the feature `otlp`")
    }
}

/// Returns the limits of requests to Fini.
pub(super) fn budget(config: &Config) -> BudgetSettings {
    BudgetSettings {
        requests: config.fini.rate_limit.requests,
        window: config.fini.rate_limit.window,
        send_reserve: config.poll.send_reserve,
    }
}

/// Returns the settings of the client for Fini.
pub(super) fn fini(config: &Config) -> ClientSettings {
    ClientSettings {
        base_url: config.fini.base_url.clone(),
        read_key: config.fini.keys.read.clone(),
        write_key: config.fini.keys.write.clone(),
        reply_timeout: config.fini.reply_timeout,
        read_timeout: READ_TIMEOUT,
        connect_timeout: CONNECT_TIMEOUT,
        network: Network {
            proxy: config.fini.proxy.clone(),
            no_proxy: config.fini.no_proxy.clone(),
            ca_file: config.fini.ca_file.clone(),
            client_cert_file: config.fini.client_cert_file.clone(),
            client_key_file: config.fini.client_key_file.clone(),
        },
    }
}

/// Returns the sender's settings.
pub(super) fn sender(config: &Config) -> SenderSettings {
    SenderSettings {
        bots: bots(config),
        reply_timeout: config.fini.reply_timeout,
        join_window: config.turns.join_window,
        give_up_after: config.poll.watch_idle,
    }
}

/// Returns the bots and keys that have a breaker on the way to Fini.
pub(super) fn breakers(config: &Config) -> BreakerSettings {
    let mut bots: Vec<String> = config.frontends.iter().map(|frontend| frontend.bot_id.to_string()).collect();
    bots.sort_unstable();
    bots.dedup();
    let keys = &config.fini.keys;
    BreakerSettings { bots, is_one_key: keys.read.expose_secret() == keys.write.expose_secret() }
}

fn bots(config: &Config) -> Vec<(FrontendName, String)> {
    config.frontends.iter().map(|frontend| (name(frontend), frontend.bot_id.to_string())).collect()
}

/// Returns the reader's settings.
pub(super) fn reader(config: &Config) -> ReaderSettings {
    ReaderSettings {
        bots: bots(config),
        sweep_interval: config.poll.sweep_interval,
        lookup: LookupSettings {
            absence_window: config.turns.absence_window,
            late_reply_window: config.fini.late_reply_window,
        },
        read_timeout: READ_TIMEOUT,
    }
}

/// Returns the longest waits that the rooms and the settings have: a wait in the store beyond them was written under a
/// clock that ran ahead.
pub(super) fn longest_waits(config: &Config) -> Result<LongestWaits> {
    let delivery = &config.delivery;
    // A row is brought back by the number of its attempt, for all destinations alike: the longest of all schedules counts.
    let mut retries: Vec<Duration> = Vec::new();
    let own = destinations(config).filter_map(|(_, callback)| callback.retry_schedule.as_ref());
    for waits in std::iter::once(&delivery.retry_schedule).chain(own) {
        let schedule = RetrySchedule::new(waits.clone()).context("retry_schedule")?;
        let attempts = u32::try_from(schedule.attempts()).unwrap_or(u32::MAX);
        let waits = (1..attempts).filter_map(|attempt| schedule.wait(attempt, Some(Duration::MAX), 1.0));
        for (number, wait) in waits.enumerate() {
            match retries.get_mut(number) {
                Some(longest) => *longest = wait.max(*longest),
                None => retries.push(wait),
            }
        }
    }
    let handoffs =
        config.frontends.iter().map(|frontend| frontend.handoff.claim_timeout.max(frontend.handoff.return_after));
    Ok(LongestWaits {
        retries: std::iter::once(LONGEST_PAUSE).chain(retries).collect(),
        turn: config.turns.join_window.max(LONGEST_PAUSE),
        look: LONGEST_LOOK,
        lease: config.fini.reply_timeout.max(lease(config)).saturating_add(LONGEST_PAUSE),
        watch: config.poll.watch_idle.max(config.poll.watch_escalated),
        handoff: handoffs.max().unwrap_or_default().max(LONGEST_LOOK),
    })
}

/// Returns the retention and the patience of the housekeeper.
pub(super) fn housekeeper(config: &Config) -> HousekeeperSettings {
    HousekeeperSettings { retention: config.store.retention, give_up_after: config.poll.watch_idle }
}

/// Returns how many turns may wait.
pub(super) fn backlog(config: &Config) -> BacklogLimits {
    BacklogLimits {
        per_conversation: config.turns.max_waiting_per_conversation,
        per_frontend: config.turns.max_waiting_per_frontend,
        bytes_per_conversation: config.limits.bytes_waiting_per_conversation,
        browser_messages_per_user: config.limits.browser_messages_per_user,
    }
}

/// Returns the registry of streams, with the number that may be open.
pub(super) fn streams(config: &Config) -> Streams {
    Streams::new(config.server.max_streams_per_frontend, config.server.max_streams_per_address)
}

/// Returns the limits of the public API.
pub(super) fn public(config: &Config) -> PublicSettings {
    PublicSettings {
        max_body: config.server.max_body,
        cors_origins: config.server.cors_origins.clone(),
        trusted_proxies: Arc::new(TrustedProxies::new(config.server.trusted_proxies.clone())),
        request_timeout: config.server.request_timeout,
    }
}

/// Returns the limits of a listener's peers.
pub(super) fn limits(config: &Config, max_connections: usize) -> Limits {
    Limits {
        max_connections,
        header_timeout: config.server.header_timeout,
        idle_timeout: config.server.idle_timeout,
        ..Limits::default()
    }
}

/// Returns the counter of connections by address, with the number that each may have. Behind a proxy all its callers have
/// one address.
pub(super) fn addresses(config: &Config) -> Addresses {
    Addresses::new(config.limits.connections_per_address, config.server.trusted_proxies.clone())
}

fn name(frontend: &Frontend) -> FrontendName {
    FrontendName::trusted(frontend.name.as_str())
}

fn secret(rotating: &RotatingSecret) -> Result<CallbackSecret> {
    CallbackSecret::parse(rotating.secret.expose_secret()).context("a whsec_ secret")
}
