//! The destinations of a frontend: its own callback, and further ones with the same keys.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{
    addresses,
    finding::{Wrong, quote},
    forms::{self, Form},
    frontends::name,
    reader::Scope,
    secret_forms,
    tree::Value,
};
use crate::{
    config::{Callback, EventPattern},
    domain::{destination::MAIN, event::EVENT_TYPES, nearest},
};

/// Its faults have been noted.
pub(super) struct Faulty;

/// Keys that say something about a callback, and nothing without an address.
const OF_A_CALLBACK: [&str; 5] =
    ["callback_secrets", "callback_secrets_file", "callback_signing_key", "callback_signing_key_file", "headers_file"];

/// The frontend's own callback, and the further destinations.
pub(super) fn read(s: &mut Scope<'_>) -> (Result<Option<Callback>, Faulty>, Vec<Callback>) {
    let own = own(s);
    let mut names = BTreeMap::from([(MAIN.to_owned(), s.path("callback_url"))]);
    let mut destinations = Vec::new();
    for (path, node) in s.entries("destinations").unwrap_or_default() {
        let help = "begin every destination with a line [[frontends.destinations]]";
        let destination = s.entry(path, node, help, |s| further(s, &mut names));
        destinations.extend(destination.flatten());
    }
    (own, destinations)
}

fn own(s: &mut Scope<'_>) -> Result<Option<Callback>, Faulty> {
    let says = s.optional("callbacks", forms::boolean);
    let is_spoken_of = OF_A_CALLBACK.iter().any(|key| s.has(key));
    let is_wanted = says.unwrap_or_else(|| s.has("callback_url") || is_spoken_of);
    if !is_wanted {
        s.optional("callback_url", |value| match forms::text(value)? {
            "" => Ok(()),
            _ => Err(Wrong::new("is given, but `callbacks` is false", "leave out one of the two")),
        });
        // A value that is read is known, and checked; it is not called back.
        let _ = keys(s, MAIN.to_owned(), None, false);
        return Ok(None);
    }
    let help = "set it to the frontend's endpoint; a frontend that only reads its feed says callbacks = false";
    let url = s.required("callback_url", help, addresses::web_address);
    if let Some(url) = &url {
        let path = s.path("callback_url");
        s.cx.callback_urls.push((path, url.clone()));
    }
    keys(s, MAIN.to_owned(), url, true).map(Some)
}

fn further(s: &mut Scope<'_>, names: &mut BTreeMap<String, String>) -> Option<Callback> {
    let found = s.required("name", "give the destination a name, such as name = \"desk\"", name);
    if let Some(name) = &found {
        let path = s.path("name");
        if let Some(first) = names.insert(name.clone(), path.clone()) {
            let what = format!("is {} like `{first}`", quote(name));
            let help = "give every destination of a frontend its own name; main is the frontend's own callback";
            s.cx.error(path, Wrong::new(what, help));
        }
    }
    let url = s.required("callback_url", "set it to the destination's endpoint", addresses::web_address);
    if let Some(url) = &url {
        let path = s.path("callback_url");
        s.cx.callback_urls.push((path, url.clone()));
    }
    let callback = keys(s, found.clone().unwrap_or_default(), url, true);
    found.and(callback.ok())
}

/// The keys that every destination has.
fn keys(s: &mut Scope<'_>, name: String, url: Option<url::Url>, is_wanted: bool) -> Result<Callback, Faulty> {
    let secrets = s.rotating_secrets("callback_secrets", "callback_secrets_file", secret_forms::webhook_secret);
    let signing_key = s.secret("callback_signing_key", "callback_signing_key_file", secret_forms::signing_key);
    let events = s.list("callback_events", vec![EventPattern::All], event_pattern);
    let path = s.path("callback_events");
    if events.is_empty() && !s.cx.has_error_under(&path) {
        let wrong = Wrong::new(
            "is empty, so nothing would be called back",
            "write [\"*\"] for all events; a frontend that only reads its feed says callbacks = false",
        );
        s.cx.error(path, wrong);
    }
    let posted = s.value("callback_posted", name != MAIN, forms::boolean);
    let headers = s.secrets("headers", "headers_file", secret_forms::header);
    let proxy = s.secret("proxy", "proxy_file", secret_forms::proxy);
    let ca_file = s.value("ca_file", None, forms::file);
    let client_cert_file = s.value("client_cert_file", None, forms::file);
    let client_key_file = s.value("client_key_file", None, forms::file);
    if client_cert_file.is_some() != client_key_file.is_some() {
        let key = s.path("client_cert_file");
        let help = "give client_cert_file and client_key_file, or neither";
        s.cx.error(key, Wrong::new("is given without its other half", help));
    }
    let positive = || forms::duration(Duration::from_millis(1)..=Duration::from_hours(24 * 365));
    let retry_schedule = s.has("retry_schedule").then(|| s.list("retry_schedule", Vec::new(), positive()));
    let path = s.path("retry_schedule");
    if retry_schedule.as_ref().is_some_and(Vec::is_empty) && !s.cx.has_error_under(&path) {
        s.cx.error(path, Wrong::new("is empty", "name at least one pause, such as [\"1s\"]"));
    }
    let longest = Duration::from_hours(1);
    let timeout = s.optional("timeout", forms::duration(Duration::from_millis(1)..=longest));
    let max_in_flight = s.optional("max_in_flight", forms::integer(1..=10_000));
    if is_wanted {
        has_something_to_sign_with(s, &secrets, signing_key.is_some());
    }
    Ok(Callback {
        name,
        url: url.ok_or(Faulty)?,
        secrets,
        signing_key,
        events,
        posted,
        headers,
        proxy,
        ca_file,
        client_cert_file,
        client_key_file,
        retry_schedule,
        timeout,
        max_in_flight,
    })
}

fn has_something_to_sign_with(s: &mut Scope<'_>, secrets: &[crate::config::RotatingSecret], has_key: bool) {
    let now = s.cx.now;
    let path = s.path("callback_secrets");
    let faulty = s.cx.has_error_under(&path) || s.cx.has_error_under(&s.path("callback_signing_key"));
    if has_key || faulty {
        return;
    }
    if secrets.is_empty() {
        let help = "callbacks are always signed; `fini-bridge secret` makes a secret";
        s.cx.error(path, Wrong::new("is missing", help));
    } else if !secrets.iter().any(|secret| secret.is_live(now)) {
        let help = "add a secret without an end, or with a later one";
        s.cx.error(path, Wrong::new("has only secrets whose not_after has passed", help));
    } else if let Some(last) = secrets
        .iter()
        .map(|secret| secret.not_after)
        .collect::<Option<Vec<_>>>()
        .and_then(|ends| ends.into_iter().max())
    {
        let what = format!("has no secret that lasts: from {last} on nothing could be signed");
        s.cx.warn(path, Wrong::new(what, "add the secret that comes next"));
    }
}

fn event_pattern(value: &Value) -> Form<EventPattern> {
    let written = forms::text(value)?.trim();
    let families = || EVENT_TYPES.iter().filter_map(|known| known.split_once('.').map(|(family, _)| family));
    if written == "*" {
        return Ok(EventPattern::All);
    }
    if let Some(family) = written.strip_suffix(".*") {
        if families().any(|known| known == family) {
            return Ok(EventPattern::Family(family.to_owned()));
        }
        let help = match nearest::closest(family, families()) {
            Some(near) => format!("did you mean \"{near}.*\"?"),
            None => format!("the event types are {}", EVENT_TYPES.join(", ")),
        };
        return Err(Wrong::new(format!("matches no event type: {}", quote(written)), help));
    }
    if EVENT_TYPES.contains(&written) {
        return Ok(EventPattern::Exact(written.to_owned()));
    }
    let help = match nearest::closest(written, EVENT_TYPES) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if families().any(|family| family == written) => {
            format!("did you mean \"{written}.*\"?")
        }
        None => format!("write \"*\", a family such as \"conversation.*\", or one of {}", EVENT_TYPES.join(", ")),
    };
    Err(Wrong::new(format!("is not an event type: {}", quote(written)), help))
}
