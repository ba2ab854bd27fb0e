//! The environment as a source, and the reports of its faults.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::config::EventPattern;

#[test]
fn values_of_every_type_can_come_from_the_environment() {
    let config = Draft::valid()
        .env("FINI_BRIDGE__SERVER__LISTEN", "[::1]:0")
        .env("FINI_BRIDGE__SERVER__MAX_BODY", "128KiB")
        .env("FINI_BRIDGE__SERVER__CORS_ORIGINS", "https://a.example, https://b.example")
        .env("FINI_BRIDGE__FINI__RATE_LIMIT__REQUESTS", "50")
        .env("FINI_BRIDGE__FINI__ESCALATED_STATUSES", "[\"One, two\", \"Three\"]")
        .env("FINI_BRIDGE__POLL__SEND_RESERVE", "0.25")
        .env("FINI_BRIDGE__DELIVERY__ALLOW_HTTP", "true")
        .env("FINI_BRIDGE__DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8")
        .env("FINI_BRIDGE__DELIVERY__RETRY_SCHEDULE", "1s,2s")
        .env("FINI_BRIDGE__LOG__FORMAT", "pretty")
        .loaded()
        .config;
    assert_eq!(config.server.listen, "[::1]:0".parse().unwrap());
    assert_eq!(config.server.max_body, 128 * 1024);
    assert_eq!(config.server.cors_origins, ["https://a.example", "https://b.example"]);
    assert_eq!(config.fini.rate_limit.requests, 50);
    assert_eq!(config.fini.rate_limit.window, Duration::from_mins(1));
    assert_eq!(config.fini.escalated_statuses, ["One, two", "Three"]);
    assert!((config.poll.send_reserve - 0.25).abs() < f64::EPSILON);
    assert!(config.delivery.allow_http);
    assert_eq!(config.delivery.allow_networks, ["127.0.0.0/8".parse().unwrap()]);
    assert_eq!(config.delivery.retry_schedule, [1, 2].map(Duration::from_secs));
    assert_eq!(config.log.format, crate::config::LogFormat::Pretty);
}

#[test]
fn a_container_can_be_configured_by_its_environment_alone() {
    let folder = TempDir::new().unwrap();
    let mut sources = sources(None, folder.path());
    for (name, value) in [
        ("FINI_BRIDGE__FINI__API_KEY", "not-a-real-key".to_owned()),
        ("FINI_BRIDGE__FRONTENDS__0__NAME", "web".to_owned()),
        ("FINI_BRIDGE__FRONTENDS__0__BOT_ID", BOT.to_owned()),
        ("FINI_BRIDGE__FRONTENDS__0__TOKENS", format!("{},{}", token(1), token(2))),
        ("FINI_BRIDGE__FRONTENDS__0__CALLBACK_URL", "https://chat.example.com/".to_owned()),
        ("FINI_BRIDGE__FRONTENDS__0__CALLBACK_SECRETS", webhook_secret(1, 24)),
        ("FINI_BRIDGE__FRONTENDS__0__CALLBACK_EVENTS", "turn.*,message.created".to_owned()),
        ("PATH", "/bin".to_owned()),
    ] {
        sources.env.insert(name.to_owned(), value.into());
    }
    let loaded = load(&sources).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.origin.file, None);
    assert_eq!(loaded.config.frontends.len(), 1);
    let frontend = &loaded.config.frontends[0];
    assert_eq!(frontend.tokens.len(), 2);
    assert_eq!(frontend.tokens[1].expose_secret(), token(2));
    let callback = frontend.callback.as_ref().unwrap();
    let family = EventPattern::Family("turn".to_owned());
    assert_eq!(callback.events, [family, EventPattern::Exact("message.created".to_owned())]);
    assert!(callback.wants("turn.failed") && !callback.wants("conversation.resolved"));
}

#[test]
fn frontends_beyond_the_ninth_come_in_the_order_of_their_numbers() {
    let mut draft = Draft::valid();
    for number in 1..12_u8 {
        let at = |key: &str| format!("FINI_BRIDGE__FRONTENDS__{number}__{key}");
        draft = draft
            .env(&at("NAME"), format!("f{number}"))
            .env(&at("BOT_ID"), BOT)
            .env(&at("TOKENS__0"), token(number))
            .env(&at("CALLBACKS"), "false");
    }
    let frontends = draft.loaded().config.frontends;
    let names: Vec<&str> = frontends.iter().map(|frontend| frontend.name.as_str()).collect();
    assert_eq!(names, ["web", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11"]);
    assert!(frontends[11].callback.is_none());
}

#[test]
fn variables_change_a_frontend_of_the_file() {
    let config = Draft::valid()
        .env("FINI_BRIDGE__FRONTENDS__0__CALLBACK_URL", "https://other.example/")
        .env("FINI_BRIDGE__FRONTENDS__0__TOKENS__1", token(9))
        .loaded()
        .config;
    let frontend = &config.frontends[0];
    assert_eq!(frontend.name, "web");
    assert_eq!(frontend.tokens.len(), 2);
    assert_eq!(frontend.callback.as_ref().unwrap().url.as_str(), "https://other.example/");
}

/// Variable and value, the key that must be blamed, words of what is wrong, words of the remedy.
const FAULTS: &str = r#"
FINI_BRIDGE__FINI__API_KEE | x | fini.api_kee | is not a known key | `FINI_BRIDGE__FINI__API_KEY`
FINI_BRIDGE__LOGS__LEVEL | x | logs | is not a known key | `FINI_BRIDGE__LOG`
FINI_BRIDGE__POLL__SWEEP_INTERVAL |  | poll.sweep_interval | is not a duration |
FINI_BRIDGE__DELIVERY__ALLOW_HTTP | on | delivery.allow_http | is not a boolean: "on" | true or false
FINI_BRIDGE__SERVER__MAX_CONNECTIONS | 1e3 | server.max_connections | is not a whole number |
FINI_BRIDGE__SERVER__MAX_CONNECTIONS | 0 | server.max_connections | is out of range |
FINI_BRIDGE__DELIVERY__RETRY_SCHEDULE | [1s, 2s] | delivery.retry_schedule | is not a list | commas
FINI_BRIDGE__FINI__RATE_LIMIT | fast | fini.rate_limit | must be a table |
FINI_BRIDGE__FRONTENDS__2__NAME | x | frontends[2] | there is no `frontends[1]` | FINI_BRIDGE__FRONTENDS__1
FINI_BRIDGE__FRONTENDS__WEB__NAME | x | frontends.web | is not an entry of a list | FINI_BRIDGE__FRONTENDS__0
FINI_BRIDGE__FINI__API_KEY__FILE | x | fini.api_key.file | `fini.api_key` has no keys below it |
FINI_BRIDGE__POLL__WATCH_IDLE__X | x | poll.watch_idle | must be a string, found a table |
FINI_BRIDGE__FINI____API_KEY | x | fini..api_key | is not the name of a key |
FINI_BRIDGE__0 | x | [0] | is not a known key |
"#;

#[test]
fn faults_of_the_environment_name_their_variable() {
    for [name, value, key, what, help] in rows::<5>(FAULTS) {
        let errors = Draft::valid().env(name, value).errors();
        let report = format!("{name}={value}\n{errors:#?}");
        assert_eq!(errors.len(), 1, "{report}");
        assert_eq!(errors[0].key, key, "{report}");
        assert_eq!(errors[0].place, Place::Variable(name.to_owned()), "{report}");
        assert!(errors[0].what.contains(what), "{report}");
        assert!(errors[0].help.as_deref().unwrap_or_default().contains(help), "{report}");
    }
}
