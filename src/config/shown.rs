//! The configuration as operators see it: every key with its present value, but of a secret only that it is there.

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::{
    Callback, Config, Frontend, LogFormat, NamedOperator, OnExhausted, RotatingSecret,
    load::forms::{size_text, span},
};
use crate::domain::handoff::OnUnclaimed;

/// In place of a secret.
const HIDDEN: &str = "(hidden)";

/// Everything that is configured, by section and key as in the file. Lists of secrets show as many places as there are.
pub fn shown(config: &Config) -> Value {
    let Config { server, limits, admin, store, cache, fini, turns, poll, delivery, log, telemetry, frontends } = config;
    json!({
        "server": {
            "listen": server.listen.to_string(),
            "max_body": size_text(server.max_body),
            "shutdown_grace": span(server.shutdown_grace),
            "cors_origins": server.cors_origins,
            "max_connections": server.max_connections,
            "header_timeout": span(server.header_timeout),
            "idle_timeout": span(server.idle_timeout),
            "request_timeout": span(server.request_timeout),
            "max_streams_per_frontend": server.max_streams_per_frontend,
            "max_streams_per_address": server.max_streams_per_address,
            "trusted_proxies": texts(&server.trusted_proxies),
        },
        "limits": {
            "browser_messages_per_user": limits.browser_messages_per_user,
            "browser_reads_per_user": limits.browser_reads_per_user,
            "bytes_waiting_per_conversation": size_text(limits.bytes_waiting_per_conversation),
            "connections_per_address": limits.connections_per_address,
        },
        "admin": {
            "listen": admin.listen.to_string(),
            "token": admin.token.as_ref().map(hidden),
            "operators": admin.operators.iter().map(|NamedOperator { operator, .. }| json!({
                "name": operator.name, "role": operator.role.as_str(), "texts": operator.texts, "token": HIDDEN,
            })).collect::<Vec<_>>(),
        },
        "store": {
            "url": store.url.to_string(),
            "retention": span(store.retention),
            "connections": store.connections,
        },
        "cache": { "interaction_ids": cache.interaction_ids, "time_to_idle": span(cache.time_to_idle) },
        "fini": {
            "base_url": address(&fini.base_url),
            "read_api_key": hidden(&fini.keys.read),
            "write_api_key": hidden(&fini.keys.write),
            "action_key": fini.action_key.as_ref().map(hidden),
            "proxy": fini.proxy.as_ref().map(hidden),
            "no_proxy": fini.no_proxy,
            "ca_file": fini.ca_file,
            "client_cert_file": fini.client_cert_file,
            "client_key_file": fini.client_key_file,
            "rate_limit": { "requests": fini.rate_limit.requests, "window": span(fini.rate_limit.window) },
            "reply_timeout": span(fini.reply_timeout),
            "late_reply_window": span(fini.late_reply_window),
            "hold_window": span(fini.hold_window),
            "escalated_statuses": fini.escalated_statuses,
            "resolved_statuses": fini.resolved_statuses,
            "waiting_statuses": fini.waiting_statuses,
        },
        "turns": {
            "join_window": span(turns.join_window),
            "max_waiting_per_conversation": turns.max_waiting_per_conversation,
            "max_waiting_per_frontend": turns.max_waiting_per_frontend,
            "absence_window": span(turns.absence_window),
        },
        "poll": {
            "sweep_interval": span(poll.sweep_interval),
            "watch_idle": span(poll.watch_idle),
            "watch_escalated": span(poll.watch_escalated),
            "send_reserve": poll.send_reserve,
        },
        "delivery": {
            "timeout": span(delivery.timeout),
            "connect_timeout": span(delivery.connect_timeout),
            "retry_schedule": spans(&delivery.retry_schedule),
            "allow_networks": texts(&delivery.allow_networks),
            "allow_http": delivery.allow_http,
            "max_in_flight_per_frontend": delivery.max_in_flight_per_frontend,
            "lease": span(delivery.lease),
            "on_exhausted": match delivery.on_exhausted {
                OnExhausted::Continue => "continue",
                OnExhausted::Hold => "hold",
            },
            "max_age": span(delivery.max_age),
        },
        "log": {
            "format": match log.format { LogFormat::Json => "json", LogFormat::Pretty => "pretty" },
            "level": log.level,
            "content": log.content,
        },
        "telemetry": { "otlp_endpoint": telemetry.otlp_endpoint.as_ref().map(address) },
        "frontends": frontends.iter().map(frontend).collect::<Vec<_>>(),
    })
}

fn frontend(frontend: &Frontend) -> Value {
    let Frontend {
        name,
        bot_id,
        tokens,
        signing_secrets,
        browser_token_secrets,
        browser_attributes,
        handoff,
        callback,
        destinations,
        ..
    } = frontend;
    let mut shown = json!({
        "name": name,
        "bot_id": bot_id.to_string(),
        "tokens": all_hidden(tokens),
        "signing_secrets": rotating(signing_secrets),
        "browser_token_secrets": all_hidden(browser_token_secrets),
        "browser_attributes": browser_attributes,
        "handoff": {
            "claim_timeout": span(handoff.claim_timeout),
            "on_unclaimed": match &handoff.on_unclaimed {
                OnUnclaimed::Bot => json!("bot"),
                OnUnclaimed::Stay => json!("stay"),
                OnUnclaimed::Ask(text) => json!({"ask": text}),
            },
            "return_after": span(handoff.return_after),
        },
        "destinations": destinations.iter().map(destination).collect::<Vec<_>>(),
    });
    let main = callback.as_ref().map(destination).unwrap_or_default();
    for (key, value) in main.as_object().into_iter().flatten().filter(|(key, _)| *key != "name") {
        shown[key] = value.clone();
    }
    shown
}

fn destination(callback: &Callback) -> Value {
    json!({
        "name": callback.name,
        "callback_url": address(&callback.url),
        "callback_secrets": rotating(&callback.secrets),
        "callback_signing_key": callback.signing_key.as_ref().map(hidden),
        "callback_events": texts(&callback.events),
        "callback_posted": callback.posted,
        "headers": callback.headers.iter().map(|line| {
            let name = Callback::header(line.expose_secret()).map_or("", |(name, _)| name);
            format!("{name}: {HIDDEN}")
        }).collect::<Vec<_>>(),
        "proxy": callback.proxy.as_ref().map(hidden),
        "ca_file": callback.ca_file,
        "client_cert_file": callback.client_cert_file,
        "client_key_file": callback.client_key_file,
        "retry_schedule": callback.retry_schedule.as_deref().map(spans),
        "timeout": callback.timeout.map(span),
        "max_in_flight": callback.max_in_flight,
    })
}

fn hidden(secret: &SecretString) -> Option<&'static str> {
    (!secret.expose_secret().is_empty()).then_some(HIDDEN)
}

fn all_hidden(secrets: &[SecretString]) -> Vec<&'static str> {
    vec![HIDDEN; secrets.len()]
}

fn rotating(secrets: &[RotatingSecret]) -> Vec<String> {
    let one = |secret: &RotatingSecret| match secret.not_after {
        Some(end) => format!("{HIDDEN} not_after={end}"),
        None => HIDDEN.to_owned(),
    };
    secrets.iter().map(one).collect()
}

/// Scheme, host and port: the rest may be a credential.
fn address(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let rest = if matches!(url.path(), "" | "/") && url.query().is_none() { "" } else { "/…" };
    format!("{}://{}{port}{rest}", url.scheme(), url.host_str().unwrap_or_default())
}

fn texts<T: ToString>(all: &[T]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

fn spans(all: &[std::time::Duration]) -> Vec<String> {
    all.iter().copied().map(span).collect()
}
