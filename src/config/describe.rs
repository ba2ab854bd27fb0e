//! The effects of a configuration, in sentences for `fini-bridge check`.
//!
//! Shows no secret, and of a callback address the host only: its path may be a credential.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::{
    Callback, Config, Frontend, LogFormat, NamedOperator, OnExhausted,
    load::forms::{size_text, span},
};
use crate::domain::{
    event::TextFormat,
    handoff::{HandoffPolicy, OnUnclaimed},
};

/// One line per thing an operator would ask about.
pub fn describe(config: &Config) -> Vec<String> {
    let mut lines = vec![
        format!(
            "listens on {} for frontends, with bodies up to {} and {} connections",
            config.server.listen,
            size_text(config.server.max_body),
            config.server.max_connections
        ),
        format!("listens on {} for operators, {}", config.admin.listen, operators(config)),
        format!(
            "stores in {} and keeps finished conversations and delivered callbacks for {}",
            config.store.url,
            span(config.store.retention)
        ),
        fini(config),
        reading(config),
        deliveries(config),
        log(config),
    ];
    if let Some(endpoint) = &config.telemetry.otlp_endpoint {
        let host = endpoint.host_str().unwrap_or_default();
        lines.push(format!("sends spans to the OTLP collector at {host}"));
    }
    if !config.turns.join_window.is_zero() {
        let window = span(config.turns.join_window);
        lines.push(format!("joins user messages that wait within {window} into one turn"));
    }
    if config.fini.action_key.is_some() {
        lines.push("takes Fini's own requests, which know the action key".to_owned());
    }
    for one in &config.frontends {
        lines.extend(std::iter::once(frontend(one)).chain(destinations(one)));
        if one.text_format == TextFormat::Markdown {
            lines.push(format!("tells {} that what Fini's side writes is Markdown", one.name));
        }
        lines.push(handoff(one));
    }
    lines
}

fn operators(config: &Config) -> String {
    let admin = &config.admin;
    let named: Vec<String> = admin
        .operators
        .iter()
        .map(|NamedOperator { operator, .. }| {
            let texts = if operator.texts { ", texts" } else { "" };
            format!("{} ({}{texts})", operator.name, operator.role.as_str())
        })
        .collect();
    match (&admin.token, named.as_slice()) {
        (Some(_), []) => "who need the admin token".to_owned(),
        (None, []) => "without a token".to_owned(),
        (Some(_), named) => format!("who need the admin token or their own: {}", named.join(", ")),
        (None, named) => format!("who need their own token: {}", named.join(", ")),
    }
}

fn fini(config: &Config) -> String {
    let (read, write) = (config.fini.keys.read.expose_secret(), config.fini.keys.write.expose_secret());
    let keys = match (read.is_empty(), write.is_empty()) {
        (true, true) => "no key",
        (false, true) => "a key for reading only",
        (true, false) => "a key for writing only",
        (false, false) if read == write => "one key for reading and writing",
        (false, false) => "a key for reading and a key for writing",
    };
    let limit = config.fini.rate_limit;
    format!(
        "asks Fini at {} with {keys}, never more than {} times in any {}",
        config.fini.base_url,
        limit.requests,
        span(limit.window)
    )
}

fn reading(config: &Config) -> String {
    let (limit, interval) = (config.fini.rate_limit, config.poll.sweep_interval);
    let share = reading_share(limit.requests, config.poll.send_reserve);
    let sweeps = limit.window.as_millis().div_ceil(interval.as_millis().max(1));
    let pace = if sweeps <= u128::from(share) {
        format!("a sweep every {} takes {sweeps}", span(interval))
    } else if share > 0 {
        let stretched =
            Duration::from_millis(u64::try_from(limit.window.as_millis()).unwrap_or(u64::MAX).div_ceil(share.into()));
        format!("a sweep every {} would take {sweeps}, so it stretches to {}", span(interval), span(stretched))
    } else {
        "sweeps come at the slowest pace, from the floor that is kept for reading".to_owned()
    };
    format!(
        "reading may use up to {share} of {} requests per {} while messages wait; {pace}",
        limit.requests,
        span(limit.window)
    )
}

/// Returns the number of requests in a window that reading may make while messages wait to be sent.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share from 0 to 1 of a u32 is a u32")]
fn reading_share(requests: u32, send_reserve: f64) -> u32 {
    (f64::from(requests) * (1.0 - send_reserve.clamp(0.0, 1.0))).floor() as u32
}

fn deliveries(config: &Config) -> String {
    let delivery = &config.delivery;
    let networks: Vec<String> = delivery.allow_networks.iter().map(ToString::to_string).collect();
    let allowed = match (networks.is_empty(), delivery.allow_http) {
        (true, _) => "public addresses only, over https".to_owned(),
        (false, false) => format!("public addresses and {}, over https", networks.join(", ")),
        (false, true) => format!("public addresses over https, and {} over http as well", networks.join(", ")),
    };
    let exhausted = match delivery.on_exhausted {
        OnExhausted::Continue => "goes on",
        OnExhausted::Hold => "waits for an operator",
    };
    format!(
        "calls back to {allowed}; retries {} times over {}, then the conversation {exhausted}",
        delivery.retry_schedule.len(),
        humantime::format_duration(delivery.retry_schedule.iter().sum())
    )
}

fn log(config: &Config) -> String {
    let format = match config.log.format {
        LogFormat::Json => "JSON",
        LogFormat::Pretty => "text",
    };
    let content = if config.log.content { "with" } else { "without" };
    format!("logs {format} at {}, {content} message texts", config.log.level)
}

fn frontend(frontend: &Frontend) -> String {
    let mut ways = Vec::new();
    if !frontend.tokens.is_empty() {
        ways.push(count(frontend.tokens.len(), "token"));
    }
    if !frontend.signing_secrets.is_empty() {
        ways.push(count(frontend.signing_secrets.len(), "signing secret"));
    }
    if !frontend.browser_token_secrets.is_empty() {
        ways.push("browser tokens".to_owned());
    }
    let callback = frontend.callback.as_ref().map_or_else(|| "is not called back".to_owned(), callback);
    format!("frontend {} asks bot {}, comes with {}, {callback}", frontend.name, frontend.bot_id, ways.join(", "))
}

/// The further receivers of a frontend's feed.
fn destinations(frontend: &Frontend) -> impl Iterator<Item = String> {
    let name = &frontend.name;
    frontend.destinations.iter().map(move |one| format!("destination {name}/{} {}", one.name, callback(one)))
}

fn handoff(frontend: &Frontend) -> String {
    let HandoffPolicy { claim_timeout, on_unclaimed, return_after } = &frontend.handoff;
    let then = match on_unclaimed {
        OnUnclaimed::Bot => "goes back to the bot",
        OnUnclaimed::Stay => "goes on waiting",
        OnUnclaimed::Ask(_) => "is asked for an address",
    };
    format!(
        "a customer of {} who waits for a human for {} {then}; one whom a human has left alone for {} goes back to the bot",
        frontend.name,
        span(*claim_timeout),
        span(*return_after)
    )
}

fn callback(callback: &Callback) -> String {
    let host = callback.url.host_str().unwrap_or_default();
    let port = callback.url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let events: Vec<String> = callback.events.iter().map(ToString::to_string).collect();
    let mut keys = Vec::new();
    if !callback.secrets.is_empty() {
        keys.push(count(callback.secrets.len(), "secret"));
    }
    if callback.signing_key.is_some() {
        keys.push("an ed25519 key".to_owned());
    }
    let mut text = format!(
        "is called back at {}://{host}{port} for {}, signed with {}",
        callback.url.scheme(),
        events.join(", "),
        keys.join(" and ")
    );
    if callback.posted {
        text.push_str(", also what its own server posted");
    }
    if !callback.headers.is_empty() {
        text = format!("{text}, with {}", count(callback.headers.len(), "further header"));
    }
    if callback.proxy.is_some() {
        text.push_str(", through a proxy");
    }
    if callback.client_cert_file.is_some() {
        text.push_str(", with a client certificate");
    }
    if let Some(schedule) = &callback.retry_schedule {
        let over = humantime::format_duration(schedule.iter().sum());
        text = format!("{text}, with {} over {over}", count_of(schedule.len(), "retry", "retries"));
    }
    text
}

fn count_of(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_gets_what_the_reserve_leaves() {
        for (requests, reserve, share) in
            [(100, 0.5, 50), (100, 0.0, 100), (100, 1.0, 0), (3, 0.5, 1), (u32::MAX, 0.0, u32::MAX)]
        {
            assert_eq!(reading_share(requests, reserve), share, "{requests} {reserve}");
        }
    }

    #[test]
    fn the_pace_of_sweeps_is_set_against_the_budget() {
        let mut config = Config::defaults();
        assert!(reading(&config).contains("up to 50 of 100 requests per 1m"));
        assert!(reading(&config).contains("a sweep every 2s takes 30"));
        config.poll.sweep_interval = Duration::from_secs(1);
        assert!(reading(&config).contains("would take 60, so it stretches to 1200ms"));
        config.poll.send_reserve = 1.0;
        assert!(reading(&config).contains("slowest pace"));
    }
}
