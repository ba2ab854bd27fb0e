//! Secrets by file.

use secrecy::ExposeSecret;

use super::*;

/// A folder of secrets, and the TOML for the path of one.
struct Secrets(TempDir);

impl Secrets {
    fn new() -> Self {
        Self(TempDir::new().expect("a temporary folder"))
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.0.path().join(name), content).expect("a writable folder");
        self.path(name)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}

/// Every secret by its key, with a value of its form.
fn every_secret() -> Vec<(&'static str, String, bool)> {
    let ed25519 = format!("whsk_{}", STANDARD.encode([7; 32]));
    vec![
        ("admin.token", token(40), false),
        ("store.url", "postgres://bridge:hunter2@db/bridge".to_owned(), false),
        ("fini.api_key", "not-a-real-key".to_owned(), false),
        ("fini.proxy", "http://user:hunter2@proxy.example:3128".to_owned(), false),
        ("frontends[0].tokens", token(41), true),
        ("frontends[0].signing_secrets", webhook_secret(1, 32), true),
        ("frontends[0].browser_token_secret", token(42).repeat(2), false),
        ("frontends[0].browser_token_secrets", token(43).repeat(2), true),
        ("frontends[0].callback_secrets", webhook_secret(2, 32), true),
        ("frontends[0].callback_signing_key", ed25519, false),
    ]
}

#[test]
fn white_space_around_a_secret_is_taken_off_in_files_and_refused_in_texts() {
    let secrets = Secrets::new();
    for (key, secret, is_list) in every_secret() {
        for (before, after) in
            [("", "\n"), ("", "\n\n"), ("", " \r\n"), ("\u{feff}", "\r\n"), ("\t ", "\t"), ("\n", "")]
        {
            let file = secrets.put("secret", format!("{before}{secret}{after}"));
            let loaded = Draft::valid().without(key).with(&format!("{key}_file"), &format!("{file:?}")).load();
            assert!(loaded.is_ok(), "{key} {before:?} {after:?}: {}", loaded.expect_err("refused"));
        }
        for (before, after) in [("", "\n"), (" ", ""), ("", "\r"), ("", "\t"), ("\u{feff}", "")] {
            let text = format!("{:?}", format!("{before}{secret}{after}")).replace("\\u{feff}", "\\ufeff");
            let text = if is_list { format!("[{text}]") } else { text };
            let errors = Draft::valid().without(key).with(key, &text).errors();
            assert!(errors[0].key.starts_with(key), "{errors:#?}");
            assert!(errors[0].what.contains("white space"), "{errors:#?}");
            assert!(!format!("{errors:?}").contains(&secret), "{errors:#?}");
        }
    }
    let by_variable = Draft::valid().env("FINI_BRIDGE__FRONTENDS__0__BROWSER_TOKEN_SECRET", format!("{}\n", token(1)));
    assert_eq!(by_variable.errors()[0].key, "frontends[0].browser_token_secret");
}

#[test]
fn files_of_secrets_are_named_for_whoever_watches_them() {
    let secrets = Secrets::new();
    let key = secrets.put("key", "not-a-real-key");
    let loaded = Draft::valid().without("fini.api_key").with("fini.api_key_file", &format!("{key:?}")).loaded();
    assert_eq!(loaded.secret_files, [PathBuf::from(key)]);
}

#[test]
fn a_line_break_at_the_end_is_not_part_of_a_secret() {
    let secrets = Secrets::new();
    for content in ["not-a-real-key", "not-a-real-key\n", "not-a-real-key\r\n", "\u{feff}not-a-real-key \n\n"] {
        let file = secrets.put("key", content);
        let loaded = Draft::valid().without("fini.api_key").with("fini.api_key_file", &format!("{file:?}")).loaded();
        assert_eq!(loaded.config.fini.keys.read.expose_secret(), "not-a-real-key");
        assert_eq!(loaded.config.fini.keys.write.expose_secret(), "not-a-real-key");
        let by_variable = Draft::valid().without("fini.api_key").env("FINI_BRIDGE__FINI__API_KEY_FILE", file).loaded();
        assert_eq!(by_variable.config.fini.keys.read.expose_secret(), "not-a-real-key");
    }
}

#[test]
fn lists_have_one_secret_per_line_and_an_end_where_one_is_set() {
    let secrets = Secrets::new();
    let tokens = secrets.put("tokens", format!("{}\r\n\n{}\n", token(1), token(2)));
    let lines = format!("{}\n{} not_after=2030-01-01T00:00:00Z\n", webhook_secret(1, 24), webhook_secret(2, 64));
    let callback = secrets.put("callback", lines);
    let loaded = Draft::valid()
        .without("frontends[0].tokens")
        .without("frontends[0].callback_secrets")
        .with("frontends[0].tokens_file", &format!("{tokens:?}"))
        .with("frontends[0].callback_secrets_file", &format!("{callback:?}"))
        .loaded();
    let frontend = &loaded.config.frontends[0];
    let found: Vec<&str> = frontend.tokens.iter().map(ExposeSecret::expose_secret).collect();
    assert_eq!(found, [token(1), token(2)]);
    let callback = &frontend.callback.as_ref().unwrap().secrets;
    assert_eq!(callback[0].secret.expose_secret(), webhook_secret(1, 24));
    assert_eq!(callback[0].not_after, None);
    assert_eq!(callback[1].secret.expose_secret(), webhook_secret(2, 64));
    assert_eq!(callback[1].not_after, Some("2030-01-01T00:00:00Z".parse().unwrap()));
    assert!(callback[1].is_live(now()) && !callback[1].is_live("2030-01-01T00:00:00Z".parse().unwrap()));
}

#[test]
fn every_secret_has_a_file_of_its_own() {
    let secrets = Secrets::new();
    let file = |name: &str, content: &str| format!("{:?}", secrets.put(name, content));
    let ed25519 = format!("whsk_{}", STANDARD.encode([7; 32]));
    let config = Draft::empty()
        .with("admin.token_file", &file("admin", &token(40)))
        .with("store.url_file", &file("store", "postgres://bridge:hunter2@db/bridge\n"))
        .with("fini.read_api_key_file", &file("read", "not-a-real-read-key"))
        .with("fini.write_api_key_file", &file("write", "not-a-real-write-key"))
        .with("frontends[0].name", "\"web\"")
        .with("frontends[0].bot_id", &format!("{BOT:?}"))
        .with("frontends[0].tokens_file", &file("tokens", &token(41)))
        .with("frontends[0].signing_secrets_file", &file("signing", &webhook_secret(1, 32)))
        .with("frontends[0].browser_token_secret_file", &file("browser", &token(42).repeat(2)))
        .with("frontends[0].callback_url", "\"https://chat.example.com/\"")
        .with("frontends[0].callback_secrets_file", &file("callback", &webhook_secret(2, 32)))
        .with("frontends[0].callback_signing_key_file", &file("ed25519", &ed25519))
        .loaded()
        .config;
    assert_eq!(config.fini.keys.read.expose_secret(), "not-a-real-read-key");
    assert_eq!(config.fini.keys.write.expose_secret(), "not-a-real-write-key");
    assert_eq!(config.store.url.to_string(), "postgres://bridge:***@db/bridge");
    assert!(config.admin.token.is_some());
    let frontend = &config.frontends[0];
    assert_eq!((frontend.tokens.len(), frontend.signing_secrets.len()), (1, 1));
    assert!(frontend.browser_token_secrets.len() == 1);
    assert!(frontend.callback.as_ref().unwrap().signing_key.is_some());
}

/// Key, file, the key that must be blamed, words of what is wrong, the end of the place.
const FAULTS: &str = "
fini.api_key_file | absent | fini.api_key_file | absent: No such file | bridge.toml:2:16
fini.api_key_file | . | fini.api_key_file | cannot be read | bridge.toml:2:16
fini.api_key_file | empty | fini.api_key | an empty file | /empty
fini.api_key_file | binary | fini.api_key_file | not UTF-8 | bridge.toml:2:16
fini.api_key_file | large | fini.api_key_file | larger than 64KiB | bridge.toml:2:16
fini.api_key_file | spaced | fini.api_key | white space | /spaced
frontends[0].tokens_file | absent | frontends[0].tokens_file | No such file | bridge.toml:8:15
frontends[0].tokens_file | nothing | frontends[0].tokens | an empty file | /nothing
frontends[0].tokens_file | short | frontends[0].tokens[1] | has only 5 characters | /short:2
frontends[0].callback_secrets_file | tail | frontends[0].callback_secrets[0] | something after the secret | /tail:1
frontends[0].callback_secrets_file | garbled | frontends[0].callback_secrets[0].not_after | is not a moment | /garbled:1
";

#[test]
fn faults_of_secret_files_name_the_file() {
    let secrets = Secrets::new();
    secrets.put("empty", "\n");
    secrets.put("nothing", "");
    secrets.put("binary", [0xff, 0xfe, 0x00]);
    secrets.put("large", "x".repeat(70_000));
    secrets.put("short", format!("{}\nshort\n", token(3)));
    secrets.put("spaced", "not a real key\n");
    let secret = webhook_secret(3, 32);
    secrets.put("tail", format!("{secret} until tomorrow\n"));
    secrets.put("garbled", format!("{secret} not_after=soon\n"));
    for [key, file, blamed, what, place] in rows::<5>(FAULTS) {
        let errors = Draft::valid()
            .without(key.trim_end_matches("_file"))
            .with(key, &format!("{:?}", secrets.path(file)))
            .errors();
        let report = format!("{key} = {file}\n{errors:#?}");
        assert_eq!(errors.len(), 1, "{report}");
        assert_eq!(errors[0].key, blamed, "{report}");
        assert!(errors[0].what.contains(what), "{report}");
        assert!(errors[0].place.to_string().ends_with(place), "{report}");
    }
}

#[test]
fn a_secret_given_in_place_and_by_file_is_refused_in_every_mixture_of_layers() {
    let secrets = Secrets::new();
    let key = secrets.put("key", "not-a-real-key");
    let tokens = secrets.put("tokens", token(1));
    let quoted = format!("{key:?}");
    for draft in [
        Draft::valid().with("fini.api_key_file", &quoted),
        Draft::valid().env("FINI_BRIDGE__FINI__API_KEY_FILE", &key),
        Draft::valid()
            .without("fini.api_key")
            .with("fini.api_key_file", &quoted)
            .env("FINI_BRIDGE__FINI__API_KEY", "not-a-real-key"),
    ] {
        let errors = draft.errors();
        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert_eq!(errors[0].key, "fini.api_key_file");
        assert!(errors[0].what.contains("is given besides `fini.api_key`"), "{errors:#?}");
        assert!(errors[0].help.as_deref().unwrap().contains("FINI_BRIDGE__FINI__API_KEY=\"\""), "{errors:#?}");
    }
    let errors = Draft::valid().with("frontends[0].tokens_file", &format!("{tokens:?}")).errors();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!(errors[0].key, "frontends[0].tokens_file");

    // The way out that the message names.
    let cleared = Draft::valid().env("FINI_BRIDGE__FINI__API_KEY", "").env("FINI_BRIDGE__FINI__API_KEY_FILE", key);
    assert!(cleared.load().is_ok());
}
