//! Whatever stands in the file or in the environment, the loader answers.

use proptest::prelude::*;

use super::*;
use crate::config::describe;

/// Values of every type, right and wrong ones for most keys among them.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|yes| yes.to_string()),
        prop_oneof![Just("nan"), Just("-inf"), Just("1e400"), Just("0.5"), Just("99999999999999999999")]
            .prop_map(str::to_owned),
        "[ -!#-\\[\\]-~]{0,20}".prop_map(|text| format!("\"{text}\"")),
        "[0-9]{1,25}(ms|s|m|h|d|y|KiB|GiB|/8)?".prop_map(|text| format!("\"{text}\"")),
        "(https?|postgres|sqlite)://[a-z0-9.@:/\\[\\]%-]{0,20}".prop_map(|text| format!("\"{text}\"")),
        Just("2026-12-01T00:00:00Z".to_owned()),
        Just("12:00:00".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|entries| format!("[{}]", entries.join(", "))),
            (key(), inner).prop_map(|(key, value)| format!("{{ {key} = {value} }}")),
        ]
    })
}

/// Keys that exist, and some that do not.
fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "listen",
        "max_body",
        "cors_origins",
        "trusted_proxies",
        "token",
        "token_file",
        "url",
        "retention",
        "connections",
        "interaction_ids",
        "base_url",
        "api_key",
        "rate_limit",
        "requests",
        "window",
        "late_reply_window",
        "hold_window",
        "escalated_statuses",
        "join_window",
        "sweep_interval",
        "watch_idle",
        "send_reserve",
        "timeout",
        "retry_schedule",
        "allow_networks",
        "lease",
        "max_age",
        "on_exhausted",
        "format",
        "level",
        "name",
        "bot_id",
        "tokens",
        "signing_secrets",
        "text_format",
        "callback_url",
        "callback_secrets",
        "callback_events",
        "callbacks",
        "secret",
        "not_after",
        "unknown",
        "\"\"",
        "\"a b\"",
    ])
    .prop_map(str::to_owned)
}

fn section() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "server",
        "admin",
        "store",
        "cache",
        "fini",
        "turns",
        "poll",
        "delivery",
        "log",
        "telemetry",
        "frontends",
        "other",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}") {
        let _ = load_text(&text, &BTreeMap::new(), Needs::Serve);
    }

    #[test]
    fn any_toml_is_answered_and_what_is_accepted_can_be_described(
        tables in prop::collection::btree_map(section(), prop::collection::btree_map(key(), value(), 0..6), 0..6),
        as_list in any::<bool>(),
    ) {
        let mut text = String::new();
        for (section, keys) in tables {
            let header = if as_list && section == "frontends" { "[[frontends]]".to_owned() } else { format!("[{section}]") };
            text.push_str(&header);
            for (key, value) in keys {
                write!(text, "\n{key} = {value}").unwrap();
            }
            text.push('\n');
        }
        match load_text(&text, &BTreeMap::new(), Needs::Nothing) {
            Ok(loaded) => prop_assert!(!describe(&loaded.config).is_empty()),
            Err(errors) => prop_assert!(!errors.errors.is_empty() && !errors.to_string().is_empty()),
        }
    }

    #[test]
    fn any_environment_is_answered(
        settings in prop::collection::btree_map(
            "FINI_BRIDGE__(SERVER|FINI|FRONTENDS|DELIVERY)(__[0-9A-Z_]{0,12}){0,3}",
            "\\PC{0,40}",
            0..8,
        ),
    ) {
        let env = settings.into_iter().map(|(name, value)| (name, OsString::from(value))).collect();
        let _ = load_text("", &env, Needs::Nothing);
    }
}
