//! Warnings, and the summary.

use super::*;
use crate::config::describe;

/// Key and value, the key that must be warned of, words of the warning.
const WARNINGS: &str = r#"
delivery.allow_http | true | delivery.allow_http | without delivery.allow_networks
delivery.allow_networks | ["10.1.2.3/8"] | delivery.allow_networks | all of 10.0.0.0/8
delivery.allow_networks | ["0.0.0.0/0"] | delivery.allow_networks | a large part of all addresses
server.trusted_proxies | ["fc00::/6"] | server.trusted_proxies | a large part of all addresses
delivery.max_age | "1h" | delivery.max_age | ends before
delivery.connect_timeout | "20s" | delivery.connect_timeout | never applies
log.content | true | log.content | message texts
poll.send_reserve | 1 | poll.send_reserve | only its floor
poll.watch_idle | "1m" | poll.watch_idle | fini.late_reply_window
poll.watch_escalated | "1h" | poll.watch_escalated | poll.watch_idle
turns.max_waiting_per_frontend | 5 | turns.max_waiting_per_frontend | is smaller
admin.token | "short" | admin.token | is short
fini.rate_limit | { requests = 101 } | fini.rate_limit | allows 101 requests in 1m
fini.rate_limit | { requests = 34, window = "20s" } | fini.rate_limit | allows 102 requests in 1m
fini.rate_limit | { requests = 101, window = "5m" } | fini.rate_limit | allows 101 requests in 1m
store.url | "postgres://u:p@db/b?sslmode=verify-ca&sslrootcert=/ca.pem" | store.url | no names
store.url | "postgres://u:p@db/b?sslmode=require&sslrootcert=/ca.pem" | store.url | no names
fini.base_url | "http://fini.example" | fini.base_url | unencrypted
frontends[0].callback_url | "https://10.0.0.7/" | frontends[0].callback_url | will be refused
"#;

/// The one warning, with its key and words.
fn assert_warns(draft: &Draft, key: &str, what: &str) {
    let warnings = draft.loaded().warnings;
    let report = format!("{}\n{warnings:#?}", draft.text());
    assert_eq!(warnings.len(), 1, "{report}");
    assert_eq!(warnings[0].key, key, "{report}");
    assert!(warnings[0].what.contains(what), "{report}");
    assert!(warnings[0].to_string().starts_with("warning: "), "{report}");
}

#[test]
fn what_is_probably_not_meant_is_warned_of_and_not_refused() {
    for [set, value, key, what] in rows::<4>(WARNINGS) {
        assert_warns(&Draft::valid().with(set, value), key, what);
    }
    let sandbox = Draft::valid()
        .with("fini.base_url", "\"http://127.0.0.1:8090\"")
        .with("fini.rate_limit", "{ requests = 10000 }");
    assert_eq!(sandbox.loaded().warnings, []);
    let named = Draft::valid().with("store.url", "\"postgres://u:p@db/b?sslmode=verify-full&sslrootcert=/ca.pem\"");
    assert_eq!(named.loaded().warnings, []);
    let networks =
        Draft::valid().with("delivery.allow_http", "true").with("delivery.allow_networks", "[\"10.0.0.0/8\"]");
    assert_warns(&networks, "delivery.allow_http", "unencrypted");
}

#[test]
fn a_secret_that_everybody_on_the_machine_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("key");
    write_private(&file, "not-a-real-key");
    let draft = Draft::valid().without("fini.api_key").with("fini.api_key_file", &format!("{file:?}"));
    assert_eq!(draft.loaded().warnings, []);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("ours");
    assert_warns(&draft, "fini.api_key_file", "every user of this machine");
}

#[test]
fn secrets_that_end_are_warned_of() {
    let (first, second) = (webhook_secret(1, 32), webhook_secret(2, 32));
    let callback = "frontends[0].callback_secrets";
    let ended = format!("[{first:?}, {{ secret = {second:?}, not_after = \"2026-01-01T00:00:00Z\" }}]");
    let draft = Draft::valid().with(callback, &ended);
    assert_warns(&draft, "frontends[0].callback_secrets[1]", "no longer counts");

    let ending = format!("[{{ secret = {first:?}, not_after = 2026-12-01T00:00:00Z }}]");
    let draft = Draft::valid().with(callback, &ending);
    assert_warns(&draft, callback, "from 2026-12-01T00:00:00Z on");
}

#[test]
fn a_secret_that_lets_in_who_was_only_called_back_is_refused() {
    let secret = webhook_secret(1, 32);
    let errors = Draft::valid()
        .with("frontends[0].callback_secrets", &format!("[{secret:?}]"))
        .with("frontends[0].signing_secrets", &format!("[{secret:?}]"))
        .errors();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!(errors[0].key, "frontends[0].callback_secrets[0]");
    assert!(errors[0].what.contains("same secret as `frontends[0].signing_secrets[0]`"), "{errors:#?}");
}

#[test]
fn a_callback_that_nothing_signs_any_more_is_refused() {
    let ended = format!("[{{ secret = {:?}, not_after = \"2026-01-01T00:00:00Z\" }}]", webhook_secret(1, 32));
    let errors = Draft::valid().with("frontends[0].callback_secrets", &ended).errors();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!(errors[0].key, "frontends[0].callback_secrets");
    assert!(errors[0].what.contains("not_after has passed"), "{errors:#?}");
}

#[test]
fn variables_that_do_nothing_are_warned_of_unless_kubernetes_makes_them() {
    let draft = Draft::valid().env("FINI_BRIDGE_FINI_API_KEY", "x");
    assert_warns(&draft, "fini.api_key", "has no effect");
    let quiet =
        Draft::valid().env("FINI_BRIDGE_PORT", "tcp://10.0.0.1:8080").env("FINI_BRIDGE_SERVICE_HOST", "10.0.0.1");
    assert_eq!(quiet.loaded().warnings, []);
}

#[test]
fn the_summary_says_where_what_and_how_much() {
    let config = Draft::valid()
        .second()
        .with("frontends[1].callback_url", "\"https://desk.example.com:8443/private-path\"")
        .loaded()
        .config;
    let lines = describe(&config).join("\n");
    for part in [
        "127.0.0.1:8080",
        "127.0.0.1:9090",
        "sqlite://data/fini-bridge.db",
        "30d",
        "up to 50 of 100 requests per 1m",
        "frontend web asks bot 4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3",
        "https://desk.example.com:8443 for *, signed with 1 secret",
        "retries 10 times",
    ] {
        assert!(lines.contains(part), "{part} is not in:\n{lines}");
    }
    assert!(!lines.contains("private-path"), "{lines}");
}
