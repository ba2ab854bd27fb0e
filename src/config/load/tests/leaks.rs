//! No secret shows anywhere.

use super::*;
use crate::config::describe;

#[test]
fn a_secret_put_where_its_path_belongs_is_not_printed() {
    let canary = "fini_canary-not-a-real-key";
    let errors = Draft::valid().without("fini.api_key").env("FINI_BRIDGE__FINI__API_KEY_FILE", canary).errors();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].what.contains("looks like a secret"));
    assert!(!format!("{errors:?}").contains("canary"), "{errors:#?}");
}

#[test]
fn no_secret_shows_in_debug_in_the_summary_or_in_warnings() {
    let canary = "canary-not-a-real-secret-0123456789";
    let whsec = format!("whsec_{}", STANDARD.encode(canary));
    let inbound = STANDARD.encode(format!("inbound-{canary}"));
    let whsk = format!("whsk_{}", STANDARD.encode(&canary[..32]));
    let loaded = Draft::valid()
        .with("admin.token", &format!("{canary:?}"))
        .with("store.url", &format!("\"postgres://u:{canary}@db/bridge?password={canary}\""))
        .with("fini.api_key", &format!("\"fini_{canary}\""))
        .with("frontends[0].tokens", &format!("[\"{canary}1\"]"))
        .with("frontends[0].signing_secrets", &format!("[\"whsec_{inbound}\"]"))
        .with("frontends[0].browser_token_secret", &format!("{canary:?}"))
        .with("frontends[0].callback_secrets", &format!("[{{ secret = {whsec:?} }}]"))
        .with("frontends[0].callback_signing_key", &format!("{whsk:?}"))
        .loaded();
    let mut shown = format!("{loaded:?}{loaded:#?}{}", describe(&loaded.config).join("\n"));
    for warning in &loaded.warnings {
        shown.push_str(&warning.to_string());
    }
    assert!(!loaded.warnings.is_empty(), "something is warned of");
    for secret in [canary, &STANDARD.encode(canary), &inbound, &STANDARD.encode(&canary[..32])] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn no_secret_shows_in_errors_wherever_it_was_put() {
    let canary = "canary";
    let whsec = format!("whsec_{canary}!");
    for (key, value) in [
        ("fini.api_key", format!("\"{canary} with a space\"")),
        ("fini.base_url", format!("\"https://user:{canary}@api.example\"")),
        ("store.url", format!("\"mysql://u:{canary}@db/x\"")),
        ("store.url", format!("\"postgres://u:{canary}@db:port/x\"")),
        ("frontends[0].tokens", format!("[{canary:?}]")),
        ("frontends[0].callback_secrets", format!("[{whsec:?}]")),
        ("frontends[0].callback_secrets", format!("[\"x {canary}\"]")),
        ("frontends[0].callback_secrets", format!("[{{ secret = {whsec:?}, not_after = {canary:?} }}]")),
        ("frontends[0].browser_token_secret", format!("{canary:?}")),
        ("frontends[0].callback_url", format!("\"https://u:{canary}@h/\"")),
        ("frontends[0].bot_id", format!("{whsec:?}")),
        ("frontends[0].name", format!("\"fini_{canary}\"")),
        ("server.cors_origins", format!("[\"https://u:{canary}@h\"]")),
        ("log.level", format!("{whsec:?}")),
        ("fini.\"fini_canary\"", "1".to_owned()),
    ] {
        let errors = Draft::valid().with(key, &value).load().expect_err(key);
        assert!(!errors.to_string().contains(canary), "{key} = {value}\n{errors}");
        assert!(!format!("{errors:?}").contains(canary), "{key} = {value}\n{errors:?}");
    }
}
