//! Rules between keys, for keys that are right by themselves.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use secrecy::ExposeSecret;
use url::{Host, Url};

use super::{context::Context, finding::Wrong, forms::span};
use crate::config::{Config, Delivery};

/// Checks the whole. Only what could not work is an error; what merely defeats its purpose is a warning.
///
/// A faulty key stands here with its default, so a relation it is part of may be reported against that.
pub(super) fn check(config: &Config, cx: &mut Context) {
    listeners(config, cx);
    turns_and_polling(config, cx);
    deliveries(config, cx);
    callbacks(config, cx);
    secrets(cx);
    if config.log.content {
        let help = "meant for a test system; message texts are personal data";
        cx.warn("log.content", Wrong::new("is true: message texts go into the log", help));
    }
    if config.fini.client_cert_file.is_some() != config.fini.client_key_file.is_some() {
        let wrong =
            Wrong::new("is given without its other half", "give client_cert_file and client_key_file, or neither");
        cx.error("fini.client_cert_file".to_owned(), wrong);
    }
    vendor_limit(config, cx);
    if config.fini.base_url.scheme() == "http" && !is_local(&config.fini.base_url) {
        let help = "use https:// unless this is the sandbox in a network of your own";
        cx.warn("fini.base_url", Wrong::new("is plain http: the API key travels unencrypted", help));
    }
    if config.store.url.trusts_any_name() {
        let what = "compares certificates and no names: any server with a certificate of an authority that the system trusts is believed, too";
        cx.warn("store.url", Wrong::new(what, "write sslmode=verify-full"));
    }
}

/// Fini's documentation: 100 requests in 60 seconds, over everything. A larger budget is for the sandbox, or by agreement.
fn vendor_limit(config: &Config, cx: &mut Context) {
    const REQUESTS: u128 = 100;
    const WINDOW: Duration = Duration::from_mins(1);
    let limit = config.fini.rate_limit;
    let windows = WINDOW.as_millis().div_ceil(limit.window.as_millis().max(1));
    let most = u128::from(limit.requests) * windows;
    let host = config.fini.base_url.host_str().unwrap_or_default();
    if host.ends_with("usefini.com") && most > REQUESTS {
        let what = format!("allows {most} requests in 1m where Fini documents {REQUESTS}");
        let help = "Fini will refuse what is over, unless it has agreed to a higher limit with you";
        cx.warn("fini.rate_limit", Wrong::new(what, help));
    }
}

fn listeners(config: &Config, cx: &mut Context) {
    let (public, admin) = (config.server.listen, config.admin.listen);
    if overlap(public, admin) {
        let what = format!("is {admin}, which the public listener takes ({public})");
        cx.error("admin.listen", Wrong::new(what, "give the two listeners different ports"));
    }
    if let Some(token) = &config.admin.token
        && token.expose_secret().len() < 24
        && !cx.has_error("admin.token")
    {
        let help = "use at least 24 characters; elsewhere than on loopback that is required";
        cx.warn("admin.token", Wrong::new("is short", help));
    }
}

fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same_host = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && same_host
}

fn turns_and_polling(config: &Config, cx: &mut Context) {
    let (turns, poll, fini) = (&config.turns, &config.poll, &config.fini);
    if turns.max_waiting_per_frontend < turns.max_waiting_per_conversation {
        let what =
            format!("is smaller than turns.max_waiting_per_conversation ({})", turns.max_waiting_per_conversation);
        let help = "the smaller of the two decides";
        cx.warn("turns.max_waiting_per_frontend", Wrong::new(what, help));
    }
    if turns.absence_window >= fini.late_reply_window {
        let what = format!("is not shorter than fini.late_reply_window ({})", span(fini.late_reply_window));
        let help = "a message whose outcome is unclear would be given up before it could be proven absent";
        cx.warn("turns.absence_window", Wrong::new(what, help));
    }
    if poll.watch_idle < poll.sweep_interval {
        let what = format!("is shorter than poll.sweep_interval ({})", span(poll.sweep_interval));
        let help = "a conversation would leave the watch before it was looked at once";
        cx.warn("poll.watch_idle", Wrong::new(what, help));
    }
    if poll.watch_idle < fini.late_reply_window {
        let what = format!("is shorter than fini.late_reply_window ({})", span(fini.late_reply_window));
        let help = "a turn that waits for its reply by reading must stay on the watch";
        cx.warn("poll.watch_idle", Wrong::new(what, help));
    }
    if poll.watch_escalated < poll.watch_idle {
        let what = format!("is shorter than poll.watch_idle ({})", span(poll.watch_idle));
        let help = "an escalated conversation, where a human may still write, is usually watched longer";
        cx.warn("poll.watch_escalated", Wrong::new(what, help));
    }
    if poll.send_reserve >= 1.0 {
        let what = "is 1.0: reading keeps only its floor, so replies found by reading and messages of agents come late";
        cx.warn("poll.send_reserve", Wrong::new(what, "0.5 lets reading use half of the budget"));
    }
}

fn deliveries(config: &Config, cx: &mut Context) {
    let delivery = &config.delivery;
    if delivery.retry_schedule.is_empty() && !cx.has_error_under("delivery.retry_schedule") {
        let help = "name at least one pause, such as [\"1s\"]";
        cx.error("delivery.retry_schedule", Wrong::new("is empty", help));
    }
    let least = delivery.timeout + Delivery::LEASE_MARGIN;
    if delivery.lease < least && !cx.has_error("delivery.timeout") {
        let what = format!("is shorter than delivery.timeout and a margin of 5s ({})", span(least));
        let help = format!(
            "a second worker would send what the first still sends; leave it out for {}",
            span(delivery.timeout + Delivery::LEASE_SLACK)
        );
        cx.error("delivery.lease", Wrong::new(what, help));
    }
    let built_in = Delivery::default();
    if delivery.connect_timeout > delivery.timeout && delivery.connect_timeout != built_in.connect_timeout {
        let what = format!("is longer than delivery.timeout ({}) and never applies", span(delivery.timeout));
        cx.warn("delivery.connect_timeout", Wrong::new(what, "make it shorter than the whole attempt"));
    }
    let schedule: Duration = delivery.retry_schedule.iter().sum();
    if schedule > delivery.max_age {
        let what = format!("ends before delivery.retry_schedule, which takes {}", span(schedule));
        let help = "the last attempts would never be made; lengthen it, or shorten the schedule";
        cx.warn("delivery.max_age", Wrong::new(what, help));
    }
    if delivery.allow_http {
        if delivery.allow_networks.is_empty() {
            let help = "name the networks plain http may go to in delivery.allow_networks, or set it to false";
            let what = "is true without delivery.allow_networks, so plain http is refused all the same";
            cx.warn("delivery.allow_http", Wrong::new(what, help));
        } else {
            let what = "is true: customers' messages may travel unencrypted within delivery.allow_networks";
            cx.warn("delivery.allow_http", Wrong::new(what, "use https:// where the frontend can"));
        }
    }
}

fn callbacks(config: &Config, cx: &mut Context) {
    let delivery = &config.delivery;
    for (key, url) in std::mem::take(&mut cx.callback_urls) {
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address).to_canonical()),
            _ => None,
        };
        let outside =
            literal.filter(|address| !delivery.allow_networks.iter().any(|network| network.contains(address)));
        if url.scheme() == "http" {
            if !delivery.allow_http {
                let help =
                    "use https://, or in a network of your own set delivery.allow_http and delivery.allow_networks";
                cx.error(key, Wrong::new("is plain http", help));
            } else if let Some(address) = outside {
                let what = format!("is plain http to {address}, which is not in delivery.allow_networks");
                cx.error(key, Wrong::new(what, "use https://, or add the network"));
            }
        } else if let Some(address) = outside.filter(|address| is_private(*address)) {
            let what = format!("leads to {address}, a private address, and will be refused");
            cx.warn(key, Wrong::new(what, "add its network to delivery.allow_networks if it is meant"));
        }
    }
}

/// Secrets used for two things. One leak then opens two doors, and a callback's own signature would be taken for an
/// inbound request's.
fn secrets(cx: &mut Context) {
    let mut shared = Vec::new();
    for (index, later) in cx.secrets.iter().enumerate() {
        let same =
            cx.secrets[..index].iter().find(|first| first.secret.expose_secret() == later.secret.expose_secret());
        if let Some(first) = same
            && !cx.has_error(&later.path)
        {
            shared.push((later.path.clone(), first.path.clone()));
        }
    }
    for (path, first) in shared {
        let wrong = Wrong::new(
            format!("is the same secret as `{first}`"),
            "make one of its own, so that a leak of one is not a leak of both",
        );
        if opens_another_door(&path, &first) { cx.error(path, wrong) } else { cx.warn(path, wrong) }
    }
}

/// Returns true if two places of one secret let somebody in where they were never let in: another frontend, or the way in for who
/// was only called back.
fn opens_another_door(one: &str, other: &str) -> bool {
    let frontend =
        |path: &str| path.strip_prefix("frontends").and_then(|rest| rest.split('.').next().map(str::to_owned));
    let (first, second) = (frontend(one), frontend(other));
    let signs = |path: &str, way: &str| path.contains(way);
    let in_and_out = |one, other| signs(one, "signing_secrets") && signs(other, "callback_secrets");
    first.is_some() && second.is_some() && (first != second || in_and_out(one, other) || in_and_out(other, one))
}

fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The plain cases only, for an early word; whether an address is refused is decided when connecting.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}
