//! Secrets that change while the bridge runs: files written over, renamed onto, swapped by a symbolic link, and SIGHUP.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tempfile::TempDir;

use crate::harness::{Bridge, Setup, browser_token, epoch_seconds, eventually, random_secret, random_token, unique};

/// Files as Kubernetes mounts them: names that lead through a link to a folder, which is exchanged as a whole.
struct Mounted(TempDir);

impl Mounted {
    fn new(files: &[(&str, String)]) -> Self {
        let mounted = Self(tempfile::tempdir().expect("a temporary folder can be made"));
        mounted.swap(files);
        for (name, _) in files {
            std::os::unix::fs::symlink(format!("..data/{name}"), mounted.path(name)).expect("links can be made");
        }
        mounted
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn toml(&self, name: &str) -> String {
        format!("{:?}", self.path(name).display().to_string())
    }

    /// Puts other files in the place of all of them, at once.
    fn swap(&self, files: &[(&str, String)]) {
        let folder = self.0.path().join(format!("..{}", random_token()));
        std::fs::create_dir(&folder).expect("writable");
        for (name, content) in files {
            std::fs::write(folder.join(name), content).expect("writable");
        }
        let link = self.0.path().join("..data_tmp");
        std::os::unix::fs::symlink(folder.file_name().expect("a name"), &link).expect("links can be made");
        std::fs::rename(link, self.0.path().join("..data")).expect("renames onto");
    }
}

async fn status(bridge: &Bridge, token: &str) -> u16 {
    bridge.anonymous("GET", "/v1/conversations/c").bearer(token).send().await.status
}

/// Waits until a token is good, or is not any more.
async fn until_status(bridge: &Bridge, token: &str, wanted: u16) {
    eventually(&format!("{wanted} for a token"), async || Some(status(bridge, token).await).filter(|s| *s == wanted))
        .await;
}

fn lines(bridge: &Bridge, message: &str) -> Vec<Value> {
    bridge.log().into_iter().filter(|line| line["message"] == message).collect()
}

async fn until_line(bridge: &Bridge, message: &str, count: usize) -> Vec<Value> {
    eventually(message, async || Some(lines(bridge, message)).filter(|lines| lines.len() >= count)).await
}

fn write_onto(path: &Path, content: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, content).expect("writable");
    std::fs::rename(beside, path).expect("renames onto");
}

#[tokio::test]
async fn every_secret_of_a_mounted_folder_changes_while_the_bridge_runs() {
    let secrets = |prefix: &str| {
        let browser = random_token();
        vec![
            ("api_key", format!("fini_{prefix}{}", random_token())),
            ("tokens", random_token()),
            ("signing", random_secret()),
            ("browser", browser),
            ("callback", random_secret()),
        ]
    };
    let value = |all: &[(&str, String)], name: &str| {
        all.iter().find(|(known, _)| *known == name).expect("it is there").1.clone()
    };
    let with_line_ends = |all: &[(&'static str, String)]| -> Vec<(&'static str, String)> {
        all.iter().map(|(name, secret)| (*name, format!("\u{feff}{secret} \r\n\r\n"))).collect()
    };
    let (old, new) = (secrets("old"), secrets("new"));
    let mounted = Mounted::new(&with_line_ends(&old));
    let mut setup = Setup::new().set("fini.api_key", "\"\"").set("fini.api_key_file", &mounted.toml("api_key"));
    setup.sandbox.api_keys = [&old, &new].map(|all| fini_bridge::sandbox::ApiKey::full(value(all, "api_key"))).into();
    setup.api_key = value(&old, "api_key");
    let mut setup = setup.web(|web| {
        (web.tokens, web.signing_secrets) = (vec![value(&old, "tokens")], vec![value(&old, "signing")]);
        (web.browser_token_secret, web.callback_secrets) = (None, vec![value(&old, "callback")]);
    });
    setup.secrets_in_files = true;
    for (key, name) in [
        ("tokens_file", "tokens"),
        ("signing_secrets_file", "signing"),
        ("browser_token_secret_file", "browser"),
        ("callback_secrets_file", "callback"),
    ] {
        setup = setup.set_web(key, &mounted.toml(name));
    }
    let mut bridge = setup.start().await;
    bridge.turn("c", "Where is my order?").await;

    // What is in flight when the secrets change ends as it began.
    let slow =
        bridge.message(&json!({"conversation_id": "c", "message_id": "slow", "text": unique("Answer me later")}));
    let mut waiting = tokio::task::JoinSet::new();
    waiting.spawn(slow.header("prefer", "wait=20").send());
    // As one rotates what signs: both for a while, the new one first.
    let both = [value(&new, "callback"), value(&old, "callback")];
    let files = new.iter().map(|(name, secret)| match *name {
        "callback" => (*name, both.join("\r\n")),
        _ => (*name, secret.clone()),
    });
    mounted.swap(&with_line_ends(&files.collect::<Vec<_>>()));
    until_status(&bridge, &value(&new, "tokens"), 200).await;
    assert_eq!(status(&bridge, &value(&old, "tokens")).await, 401);
    assert!(waiting.join_all().await.iter().all(|answer| matches!(answer.status, 200 | 202)));

    // The line names what changed, and shows none of it.
    let changed = until_line(&bridge, "secrets read again", 1).await[0]["changed"].as_str().expect("a text").to_owned();
    for key in [
        "fini.read_api_key",
        "frontends.web.tokens",
        "frontends.web.signing_secrets",
        "frontends.web.browser_token_secrets",
        "frontends.web.callback_secrets",
    ] {
        assert!(changed.contains(key), "{key} in {changed}");
    }

    bridge.frontends[0].tokens = vec![value(&new, "tokens")];
    let now = epoch_seconds();
    let claims = json!({"iss": "fini-bridge", "frontend": "web", "conversation_id": "c", "iat": now, "exp": now + 600});
    assert_eq!(status(&bridge, &browser_token(&value(&new, "browser"), &claims)).await, 200);
    assert_eq!(status(&bridge, &browser_token(&value(&old, "browser"), &claims)).await, 401);
    for (secrets, expected) in [(&new, 202), (&old, 401)] {
        let body = json!({"conversation_id": "c", "message_id": "signed", "text": "Where is my order, signed?"});
        bridge.remember("web", &body);
        let secret = Webhook::new(&value(secrets, "signing")).expect("valid");
        let signature = secret.sign("req_1", now, body.to_string().as_bytes()).expect("UTF-8");
        let call = bridge.anonymous("POST", "/v1/messages").json(&body);
        let call = call.header("webhook-id", "req_1").header("webhook-timestamp", &now.to_string());
        call.header("webhook-signature", &signature).send().await.expect(expected);
    }
    // Fini and the receiver see the new ones: the old key is taken away, and every callback's signature is verified.
    bridge.sandbox.set_api_keys(vec![fini_bridge::sandbox::ApiKey::full(value(&new, "api_key"))]);
    bridge.receiver.expect_secrets("web", &both);
    bridge.turn("c", "Is the new key good?").await;
    bridge.finish().await;
}

#[tokio::test]
async fn a_bad_file_is_told_and_the_secrets_before_stay() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let tokens = folder.path().join("tokens");
    let (first, second, third) = (random_token(), random_token(), random_token());
    std::fs::write(&tokens, &first).expect("writable");
    let mut setup = Setup::new().web(|web| web.tokens = vec![first.clone()]);
    setup.secrets_in_files = true;
    let web = setup.frontends[0].clone();
    let list = |all: &[String]| format!("{all:?}");
    let setup = setup
        .set_web("tokens_file", &format!("{:?}", tokens.display().to_string()))
        .set_web("signing_secrets", &list(&web.signing_secrets))
        .set_web("callback_secrets", &list(&web.callback_secrets));
    let mut bridge = setup.start().await;
    bridge.turn("c", "Where is my order?").await;
    let bad = "secrets cannot be read again; those before stay";
    for (told, content) in ["short", "", "two words in a line of this file"].iter().enumerate() {
        write_onto(&tokens, content);
        let lines = until_line(&bridge, bad, told + 1).await;
        assert!(
            lines.iter().all(|line| line["key_path"].as_str().is_some_and(|key| key.contains("tokens"))),
            "{lines:?}"
        );
        assert_eq!(status(&bridge, &first).await, 200, "{content:?}");
    }
    std::fs::remove_file(&tokens).expect("it is there");
    until_line(&bridge, bad, 4).await;
    assert_eq!(status(&bridge, &first).await, 200);
    // Written over in place, with both for a while, and then with the new one alone.
    std::fs::write(&tokens, format!("{second}\n{first}\n")).expect("writable");
    until_status(&bridge, &second, 200).await;
    assert_eq!(status(&bridge, &first).await, 200);
    write_onto(&tokens, &third);
    until_status(&bridge, &third, 200).await;
    assert_eq!([status(&bridge, &first).await, status(&bridge, &second).await], [401, 401]);
    // SIGHUP asks for it, and ends nothing.
    let before = lines(&bridge, "secrets read again").len();
    bridge.signal("HUP").await;
    until_line(&bridge, "secrets read again", before + 1).await;
    assert_eq!(status(&bridge, &third).await, 200);
    bridge.frontends[0].tokens = vec![third];
    bridge.finish().await;
}
