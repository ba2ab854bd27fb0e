//! Refusals, and their words.

use super::*;

/// One fault each: key and value to set, the key that must be blamed, words of what is wrong, words of the remedy.
const FAULTS: &str = r#"
# Names
serve.listen | "x" | serve | is not a known key | did you mean `server`?
fini.api_kye | "x" | fini.api_kye | is not a known key | did you mean `fini.api_key`?
server.retention | "1d" | server.retention | is not a known key | did you mean `store.retention`?
fini.rate_limit | { request = 5 } | fini.rate_limit.request | is not a known key | `fini.rate_limit.requests`
frontends[0].colour | 1 | frontends[0].colour | is not a known key | takes name, bot_id
log | 3 | log | must be a table, found an integer | [log]
fini.rate_limit | 100 | fini.rate_limit | must be a table, found an integer |
# Listeners
server.listen | "localhost:8080" | server.listen | is not an address to listen on: "localhost:8080" | "127.0.0.1:8080"
server.listen | 8080 | server.listen | must be a string, found an integer | "127.0.0.1:8080"
admin.listen | "127.0.0.1:8080" | admin.listen | which the public listener takes | different ports
admin.listen | "0.0.0.0:9090" | admin.token | is required because admin.listen (0.0.0.0:9090) | FINI_BRIDGE__ADMIN__TOKEN
admin.token | "two words that are long enough" | admin.token | white space | ASCII
admin.token | 7 | admin.token | must be a string, found an integer | quotes
server.max_body | "64 kilobytes" | server.max_body | is not a size | "64KiB"
server.max_body | "1GiB" | server.max_body | is out of range | from 1KiB to 64MiB
server.max_connections | 0 | server.max_connections | is out of range: "0" | from 1 to 1000000
server.max_connections | "many" | server.max_connections | must be a whole number, found a string | without quotes
server.max_connections | 99999999999999999999 | server.max_connections | is out of range |
server.request_timeout | "60s" | server.request_timeout | must be longer than 60s | "75s"
server.header_timeout | "0s" | server.header_timeout | is out of range: "0s" | from 1ms to 5m
server.cors_origins | ["*"] | server.cors_origins[0] | has a wildcard | in full
server.cors_origins | ["https://a.example/app"] | server.cors_origins[0] | more than an origin | write "https://a.example"
server.cors_origins | "https://a.example" | server.cors_origins | must be a list, found a string | brackets
server.trusted_proxies | ["10.0.0.0/33"] | server.trusted_proxies[0] | is not a network | "10.0.0.0/8"
# Store and cache
store.url | "mysql://root@db/bridge" | store.url | is neither a sqlite nor a postgres address | sqlite://data
store.url | "sqlite::memory:" | store.url | in memory |
store.retention | 30 | store.retention | must be a string, found an integer | "30s" for 30 seconds
store.retention | "30 parsecs" | store.retention | is not a duration: "30 parsecs" | "7d"
store.connections | 1 | store.connections | is out of range: "1" |
cache.interaction_ids | -1 | cache.interaction_ids | is out of range: "-1" |
cache.time_to_idle | true | cache.time_to_idle | must be a string, found a boolean | "15s"
# Fini
fini.api_key | "" | fini.api_key | is missing | FINI_BRIDGE__FINI__API_KEY_FILE
fini.api_key | "line\nbreak" | fini.api_key | white space | line break
fini.read_api_key | "not-a-real-read-key" | fini.api_key | is given besides | both scopes
fini.base_url | "api-prod.usefini.com" | fini.base_url | is not an address | in full
fini.base_url | "ftp://api.example" | fini.base_url | has the scheme "ftp" | https://
fini.base_url | "https://api.example/?a=b" | fini.base_url | has a query |
fini.rate_limit | { requests = 0 } | fini.rate_limit.requests | is out of range | from 1 to
fini.rate_limit | { window = "0s" } | fini.rate_limit.window | is out of range: "0s" |
fini.reply_timeout | "-5s" | fini.reply_timeout | is not a duration |
fini.escalated_statuses | [" "] | fini.escalated_statuses[0] | is empty |
fini.resolved_statuses | [1] | fini.resolved_statuses[0] | must be a string, found an integer | quotes
# Turns and polling
turns.join_window | "1h" | turns.join_window | is out of range: "1h" | from 0s to 10m
turns.max_waiting_per_conversation | 0 | turns.max_waiting_per_conversation | is out of range |
turns.max_waiting_per_frontend | 1.5 | turns.max_waiting_per_frontend | found a floating-point number |
poll.sweep_interval | "0s" | poll.sweep_interval | is out of range: "0s" | from 1ms to 1d
poll.watch_idle | 1979-05-27 | poll.watch_idle | must be a string, found a date |
poll.send_reserve | 1.01 | poll.send_reserve | is not a share from 0 to 1 | 1.0 (reading keeps only its floor)
poll.send_reserve | nan | poll.send_reserve | is not a share |
poll.send_reserve | -0.1 | poll.send_reserve | is not a share |
# Delivery
delivery.retry_schedule | [] | delivery.retry_schedule | is empty | ["1s"]
delivery.retry_schedule | ["1s", "soon"] | delivery.retry_schedule[1] | is not a duration: "soon" |
delivery.lease | "19s" | delivery.lease | is shorter than delivery.timeout and a margin of 5s (20s) | leave it out for 30s
delivery.on_exhausted | "stop" | delivery.on_exhausted | cannot be "stop" | "continue" or "hold"
delivery.allow_http | "yes" | delivery.allow_http | must be true or false, found a string |
delivery.allow_networks | ["everything"] | delivery.allow_networks[0] | is not a network |
delivery.max_in_flight_per_frontend | 0 | delivery.max_in_flight_per_frontend | is out of range |
# Log
log.format | "jsn" | log.format | cannot be "jsn" | did you mean "json"?
log.level | "wran" | log.level | is not a log level: "wran" | did you mean "warn"?
log.level | "info,fini_bridge=loud" | log.level | is not a log level | fini_bridge::delivery=debug
log.content | 1 | log.content | must be true or false, found an integer |
# Frontends
frontends[0].name | "" | frontends[0].name | is missing |
frontends[0].name | "Web Chat" | frontends[0].name | cannot be "Web Chat" | a-z, 0-9 and -
frontends[0].bot_id | "4f5ef695" | frontends[0].bot_id | is not a UUID: "4f5ef695" | fini-bridge agents
frontends[0].bot_id | "" | frontends[0].bot_id | is missing | fini-bridge agents
frontends[0].tokens | [] | frontends[0].tokens | is missing | 24 characters
frontends[0].tokens | ["short"] | frontends[0].tokens[0] | has only 5 characters | at least 24
frontends[0].tokens | ["umlauts-are-nöt-visible-ascii"] | frontends[0].tokens[0] | cannot stand in an HTTP header |
frontends[0].browser_token_secret | "thirty-one-bytes-is-one-too-few" | frontends[0].browser_token_secret | has only 31 bytes | at least 32
frontends[0].signing_secrets | ["secret"] | frontends[0].signing_secrets[0] | does not begin with whsec_ | fini-bridge secret
frontends[0].callback_secrets | [] | frontends[0].callback_secrets | is missing | fini-bridge secret
frontends[0].callback_secrets | ["whsec_%%%"] | frontends[0].callback_secrets[0] | something else than base64 |
frontends[0].callback_secrets | ["whsec_AAAA"] | frontends[0].callback_secrets[0] | holds 3 bytes where 24 to 64 |
frontends[0].callback_secrets | [{ not_after = "2030-01-01T00:00:00Z" }] | frontends[0].callback_secrets[0].secret | is missing | { secret =
frontends[0].callback_secrets | [7] | frontends[0].callback_secrets[0] | must be a string or a table, found an integer | { secret =
frontends[0].callback_signing_key | "whpk_AAAA" | frontends[0].callback_signing_key | does not begin with whsk_ | ed25519
frontends[0].callback_signing_key | "whsk_AAAA" | frontends[0].callback_signing_key | holds 3 bytes where 32 or 64 | ed25519
frontends[0].callback_url | "" | frontends[0].callback_url | is missing | callbacks = false
frontends[0].callback_url | "/fini/callback" | frontends[0].callback_url | is not an address | in full
frontends[0].callback_url | "http://chat.example.com/" | frontends[0].callback_url | is plain http | delivery.allow_http
frontends[0].callback_url | "https://chat.example.com/#x" | frontends[0].callback_url | has a fragment |
frontends[0].callback_url | "https://user@chat.example.com/" | frontends[0].callback_url | holds a user or a password | before the @
frontends[0].callbacks | false | frontends[0].callback_url | is given, but `callbacks` is false |
frontends[0].text_format | "html" | frontends[0].text_format | cannot be "html" | "plain" or "markdown"
frontends[0].browser_attributes | ["page", "user_id"] | frontends[0].browser_attributes[1] | has user_id | sub
frontends[0].browser_token_secrets | ["thirty-one-bytes-is-one-too-few"] | frontends[0].browser_token_secrets[0] | has only 31 bytes | at least 32
frontends[0].callback_events | [] | frontends[0].callback_events | is empty | ["*"]
frontends[0].callback_events | ["message.create"] | frontends[0].callback_events[0] | is not an event type | did you mean "message.created"?
frontends[0].callback_events | ["conversations.*"] | frontends[0].callback_events[0] | matches no event type | did you mean "conversation.*"?
frontends[0].callback_events | ["turn"] | frontends[0].callback_events[0] | is not an event type | did you mean "turn.*"?
"#;

#[test]
fn every_fault_is_blamed_on_its_key_with_its_remedy_and_nothing_else_is() {
    let rows = rows::<5>(FAULTS);
    assert!(rows.len() > 70);
    for [set, value, key, what, help] in rows {
        let draft = Draft::valid().with(set, value);
        let errors = draft.errors();
        let report = format!("{set} = {value}\n{errors:#?}");
        assert_eq!(errors.len(), 1, "{report}");
        assert_eq!(errors[0].key, key, "{report}");
        assert!(errors[0].what.contains(what), "{report}");
        let found = errors[0].help.as_deref().unwrap_or_default();
        assert!(found.contains(help), "{report}");
    }
}

#[test]
fn a_signing_key_whose_halves_differ_is_refused() {
    let key = format!("whsk_{}", STANDARD.encode([1; 64]));
    let errors = Draft::valid().with("frontends[0].callback_signing_key", &format!("{key:?}")).errors();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert!(errors[0].what.contains("do not belong together"), "{errors:#?}");
}

#[test]
fn an_entry_that_is_no_table_is_one_fault() {
    let text = "fini.api_key = \"not-a-real-key\"\nfrontends = [7]\n";
    let errors = load_text(text, &BTreeMap::new(), Needs::Serve).expect_err("7").errors;
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!(errors[0].key, "frontends[0]");
    assert!(errors[0].help.as_deref().unwrap().contains("[[frontends]]"));
}

#[test]
fn missing_parts_are_named_with_what_to_set() {
    let errors = Draft::empty().errors();
    let keys: Vec<&str> = errors.iter().map(|error| error.key.as_str()).collect();
    assert_eq!(keys, ["fini.api_key", "frontends"]);
    assert!(errors[0].help.as_deref().unwrap().contains("FINI_BRIDGE__FINI__API_KEY"));
    assert!(errors[1].help.as_deref().unwrap().contains("FINI_BRIDGE__FRONTENDS__0__NAME"));

    for (key, what) in [
        ("name", "is missing"),
        ("bot_id", "is missing"),
        ("tokens", "nobody could post"),
        ("callback_url", "is missing"),
        ("callback_secrets", "is missing"),
    ] {
        let key = format!("frontends[0].{key}");
        let errors = Draft::valid().without(&key).errors();
        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert_eq!(errors[0].key, key);
        assert!(errors[0].what.contains(what), "{errors:#?}");
        assert!(matches!(&errors[0].place, Place::File { line: Some(_), .. }), "{errors:#?}");
    }
}

#[test]
fn what_a_command_does_not_need_may_be_missing() {
    let draft = Draft::empty().needs(Needs::Nothing);
    assert!(draft.load().is_ok());
    let errors = Draft::empty().needs(Needs::ReadKey).errors();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].key, "fini.api_key");
    let reading = Draft::empty().with("fini.read_api_key", "\"not-a-real-key\"");
    assert!(reading.clone().needs(Needs::ReadKey).load().is_ok());
    assert_eq!(reading.errors()[0].key, "fini.write_api_key");
    let writing = Draft::valid().without("fini.api_key").with("fini.write_api_key", "\"not-a-real-key\"");
    assert_eq!(writing.errors()[0].key, "fini.read_api_key");
}

#[test]
fn what_must_be_unique_is_compared_across_frontends() {
    let twice = Draft::valid()
        .second()
        .with("frontends[1].name", "\"web\"")
        .with("frontends[1].tokens", &format!("[{:?}, {:?}]", token(1), token(0)));
    let errors = twice.errors();
    assert_eq!(errors.len(), 2, "{errors:#?}");
    assert_eq!(errors[0].key, "frontends[1].name");
    assert!(errors[0].what.contains("`frontends[0].name`"), "{errors:#?}");
    assert_eq!(errors[1].key, "frontends[1].tokens[1]");
    assert!(errors[1].what.contains("`frontends[0].tokens[0]`"), "{errors:#?}");
}

#[test]
fn many_faults_are_reported_at_once_in_the_order_of_the_file() {
    let text = "[server]\nlisten = \"nowhere\"\nmax_bdy = 1\n\n[delivery]\nallow_http = 1\nretry_schedule = [\"1s\",\n  \"x\"]\n\n\
                [[frontends]]\nname = \"web\"\nbot_id = \"?\"\ntokens = [\"a\", \"b\"]\ncallback_url = \"http://h/\"\n";
    let env = BTreeMap::from([("FINI_BRIDGE__POLL__SWEEP_INTERVAL".to_owned(), OsString::from("never"))]);
    let errors = load_text(text, &env, Needs::Serve).expect_err("this is all wrong").errors;
    let found: Vec<(&str, Option<usize>)> = errors
        .iter()
        .map(|error| match &error.place {
            Place::File { line, .. } => (error.key.as_str(), *line),
            _ => (error.key.as_str(), None),
        })
        .collect();
    assert_eq!(
        found,
        [
            ("server.listen", Some(2)),
            ("server.max_bdy", Some(3)),
            ("delivery.allow_http", Some(6)),
            ("delivery.retry_schedule[1]", Some(8)),
            ("frontends[0].callback_secrets", Some(10)),
            ("frontends[0].bot_id", Some(12)),
            ("frontends[0].tokens[0]", Some(13)),
            ("frontends[0].tokens[1]", Some(13)),
            ("frontends[0].callback_url", Some(14)),
            ("poll.sweep_interval", None),
            ("fini.api_key", None),
        ]
    );
}

#[test]
fn a_report_reads_like_a_compilers() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("bridge.toml");
    let draft = Draft::valid().with("delivery.timeout", "\"15 parsecs\"");
    std::fs::write(&file, draft.text()).unwrap();
    let errors = load(&sources(Some(file.clone()), folder.path())).expect_err("parsecs are no time");
    let line = draft.text().lines().position(|line| line.contains("parsecs")).unwrap() + 1;
    let expected = format!(
        "error: `delivery.timeout` is not a duration: \"15 parsecs\"\n  --> {}:{line}:11\n  help: write a number with a \
         unit, such as \"250ms\", \"15s\", \"5m\", \"12h\" or \"7d\"\n\n1 error in the configuration",
        file.display()
    );
    assert_eq!(errors.to_string(), expected);
}

#[test]
fn a_file_that_is_no_toml_is_one_error_with_its_position() {
    for (text, line) in [("[server]\nlisten = nowhere\n[[x\n", 2), ("a = 1\na = 2\n", 2), ("\n\n= 1\n", 3)] {
        let errors = load_text(text, &BTreeMap::new(), Needs::Serve).expect_err(text).errors;
        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert!(errors[0].what.contains("is not TOML"), "{errors:#?}");
        assert!(matches!(errors[0].place, Place::File { line: Some(found), .. } if found == line), "{errors:#?}");
    }
}

#[test]
fn a_syntax_error_does_not_show_the_line_it_is_in() {
    let text = "[fini]\napi_key = canary-of-a-secret\n";
    let errors = load_text(text, &BTreeMap::new(), Needs::Serve).expect_err("unquoted");
    assert!(!errors.to_string().contains("canary"), "{errors}");
}

#[test]
fn plain_http_is_taken_for_allowed_networks_and_for_names_checked_later() {
    let allowed = Draft::valid()
        .with("delivery.allow_http", "true")
        .with("delivery.allow_networks", "[\"10.1.0.0/16\", \"::1\"]");
    for url in ["http://10.1.2.3:8000/", "http://[::1]/x", "http://chat.internal/"] {
        let draft = allowed.clone().with("frontends[0].callback_url", &format!("{url:?}"));
        assert!(draft.load().is_ok(), "{url}");
    }
    let errors = allowed.with("frontends[0].callback_url", "\"http://10.2.0.1/\"").errors();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].what.contains("10.2.0.1, which is not in delivery.allow_networks"));
}
