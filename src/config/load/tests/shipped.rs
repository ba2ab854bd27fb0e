//! The files that are shipped: the defaults in them are the code's, every key stands in them, and the example works.

use super::*;
use crate::config::Config;

const DEFAULTS: &str = include_str!("../../../../config/default.toml");
const EXAMPLE: &str = include_str!("../../../../config/example.toml");

/// The shipped defaults with those keys in force that are only shown: `#key = value`.
fn with_shown_keys() -> String {
    let shown = |line: &str| line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase());
    DEFAULTS.lines().map(|line| if shown(line) { &line[1..] } else { line }).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_shipped_defaults_are_the_codes_key_by_key() {
    let defaults = format!("{:#?}", Config::defaults());
    for text in [DEFAULTS.to_owned(), with_shown_keys()] {
        let loaded = load_text(&text, &BTreeMap::new(), Needs::Nothing).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(format!("{:#?}", loaded.config), defaults);
        assert_eq!(loaded.warnings, []);
    }
}

#[test]
fn every_key_stands_in_the_shipped_defaults() {
    let folder = TempDir::new().unwrap();
    let mut cx = Context::new(now());
    let file = folder.path().join("bridge.toml");
    std::fs::write(&file, Draft::valid().text()).unwrap();
    let read = super::super::read(&sources(Some(file), folder.path()), &mut cx);
    assert!(read.is_some());
    assert!(cx.known.len() > 60, "{:?}", cx.known);

    let Ok(tree) = tree::parse_file(&with_shown_keys(), Path::new("config/default.toml")) else {
        panic!("the shipped defaults are TOML");
    };
    for key in cx.known.iter().filter(|key| *key != "frontends") {
        let documented = if let Some(key) = key.strip_prefix("frontends.") {
            DEFAULTS.contains(&format!("\n# {key} = "))
        } else {
            let mut steps = key.split('.');
            let mut node = steps.next().and_then(|section| tree.get(section));
            for step in steps {
                node = node.and_then(|node| match &node.value {
                    tree::Value::Table(table) => table.get(step),
                    _ => None,
                });
            }
            node.is_some()
        };
        assert!(documented, "{key} is not in config/default.toml");
    }
}

#[test]
fn on_the_shipped_defaults_only_the_key_and_a_frontend_are_missing() {
    let errors = load_text(DEFAULTS, &BTreeMap::new(), Needs::Serve).expect_err("no key").errors;
    let keys: Vec<&str> = errors.iter().map(|error| error.key.as_str()).collect();
    assert_eq!(keys, ["fini.api_key", "frontends"]);
}

#[test]
fn the_shipped_defaults_and_an_environment_make_a_whole() {
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("database");
    write_private(&database, "postgres://bridge@db/bridge\n");
    let env = BTreeMap::from(
        [
            ("FINI__API_KEY", "not-a-real-key".to_owned()),
            ("STORE__URL_FILE", database.display().to_string()),
            ("DELIVERY__TIMEOUT", "40s".to_owned()),
            ("FRONTENDS__0__NAME", "web".to_owned()),
            ("FRONTENDS__0__BOT_ID", BOT.to_owned()),
            ("FRONTENDS__0__TOKENS", token(1)),
            ("FRONTENDS__0__CALLBACK_URL", "https://chat.example.com/".to_owned()),
            ("FRONTENDS__0__CALLBACK_SECRETS", webhook_secret(1, 32)),
        ]
        .map(|(name, value)| (format!("FINI_BRIDGE__{name}"), OsString::from(value))),
    );
    let loaded = load_text(DEFAULTS, &env, Needs::Serve).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.store.url.to_string(), "postgres://bridge@db/bridge");
}

#[test]
fn the_example_works_once_its_secrets_are_there() {
    let folder = TempDir::new().unwrap();
    let old = webhook_secret(5, 32);
    for (name, content) in [
        ("admin_token", token(1)),
        ("database_url", "postgres://bridge:not-a-real-password@db/bridge".to_owned()),
        ("fini_read_key", "not-a-real-read-key".to_owned()),
        ("fini_write_key", "not-a-real-write-key".to_owned()),
        ("web_tokens", format!("{}\n{}", token(2), token(3))),
        ("web_browser_token_secret", token(4)),
        ("web_callback_secrets", format!("{}\n{old} not_after=2030-01-01T00:00:00Z", webhook_secret(6, 32))),
        ("web_callback_signing_key", format!("whsk_{}", STANDARD.encode([9; 32]))),
        ("web_crm_callback_secrets", webhook_secret(10, 32)),
        ("web_crm_headers", "Authorization: Basic bm90LWEtcmVhbC1wYXNzd29yZA==".to_owned()),
        ("desk_signing_secrets", webhook_secret(7, 32)),
        ("desk_callback_secret", webhook_secret(8, 32)),
        ("desk_callback_secret_old", webhook_secret(9, 32)),
        ("widget_browser_token_secret", token(5)),
    ] {
        write_private(&folder.path().join(name), &(content + "\n"));
    }
    let text = EXAMPLE.replace("/run/secrets", &folder.path().display().to_string());
    let loaded = load_text(&text, &BTreeMap::new(), Needs::Serve).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, []);
    let names: Vec<&str> = loaded.config.frontends.iter().map(|frontend| frontend.name.as_str()).collect();
    assert_eq!(names, ["web", "desk", "widget"]);
    assert_eq!(loaded.config.frontends[0].callbacks().count(), 2);
    assert_eq!(loaded.config.frontends[1].callback.as_ref().unwrap().secrets.len(), 2);
}
