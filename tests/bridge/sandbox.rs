//! The simulated vendor as a program: personalities from a file or drawn, and who may speak to it.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::harness::client;

/// Starts it on a free port; gives its base address.
async fn start(folder: &Path, arguments: &[&str]) -> (Child, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fini-bridge"));
    command.args(["sandbox", "--listen", "127.0.0.1:0"]).args(arguments).current_dir(folder).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("the binary under test was built");
    let mut out = BufReader::new(child.stdout.take().expect("piped")).lines();
    let address = out.next_line().await.expect("it can be read").expect("it says where it listens");
    (child, address)
}

/// Ends it; gives what it said beside its address.
async fn end(mut child: Child) -> String {
    child.kill().await.expect("it runs");
    let mut said = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut said).await.expect("it is text");
    said
}

async fn get(url: &str, header: Option<(&str, &str)>) -> (u16, Value) {
    let request = client().get(url);
    let request = header.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    let answer = request.send().await.expect("it answers");
    (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.expect("a whole body")).expect("JSON"))
}

#[tokio::test]
async fn a_drawn_personality_is_printed_and_can_be_kept_and_taken_on_again() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (child, address) = start(folder.path(), &["--personality", "random:4711"]).await;
    let settings = get(&format!("{address}/_sandbox/settings"), None).await;
    let faults = get(&format!("{address}/_sandbox/faults"), None).await;
    let said = end(child).await;
    let kept = &said[said.find('{').expect("it is printed")..=said.rfind('}').expect("and is JSON")];
    std::fs::write(folder.path().join("kept.json"), kept).expect("the folder can be written");

    let (child, address) = start(folder.path(), &["--personality", "kept.json"]).await;
    assert_eq!(get(&format!("{address}/_sandbox/settings"), None).await, settings);
    assert_eq!(get(&format!("{address}/_sandbox/faults"), None).await, faults);
    end(child).await;
    let (child, address) = start(folder.path(), &[]).await;
    assert_ne!(get(&format!("{address}/_sandbox/settings"), None).await, settings);
    end(child).await;
}

#[tokio::test]
async fn it_takes_the_keys_that_it_is_given_both_of_a_rotation() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let usual = "fini_sandbox";
    for (arguments, good, bad) in [
        (&[][..], &[usual][..], &["fini_next"][..]),
        (&["--api-key", "fini_first"], &["fini_first"], &[usual]),
        (&["--api-key", "fini_first", "--api-key", "fini_next"], &["fini_first", "fini_next"], &[usual]),
    ] {
        let (child, address) = start(folder.path(), arguments).await;
        for (keys, status) in [(good, 200), (bad, 401)] {
            for key in keys {
                let bearer = format!("Bearer {key}");
                let url = format!("{address}/v2/bots/public");
                assert_eq!(get(&url, Some(("authorization", &bearer))).await.0, status, "{arguments:?}: {key}");
            }
        }
        let said = end(child).await;
        assert!(good.iter().all(|key| said.contains(key)), "{said}");
    }
}

#[tokio::test]
async fn a_personality_may_be_toml_and_a_wrong_one_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let write =
        |text: &str| std::fs::write(folder.path().join("vendor.toml"), text).expect("the folder can be written");
    write(
        "name = \"late\"\nsettings = { list_lag_ms = 8000 }\n[[faults]]\nroute = \"get\"\nkind = \"status\"\nfor_ms = 60000\n",
    );
    let (child, address) = start(folder.path(), &["--personality", "vendor.toml"]).await;
    assert_eq!(get(&format!("{address}/_sandbox/settings"), None).await.1["list_lag_ms"], 8_000);
    assert_eq!(get(&format!("{address}/_sandbox/faults"), None).await.1["faults"][0]["for_ms"], 60_000);
    end(child).await;

    write("settings = { list_lag = 8000 }\n");
    for wrong in ["vendor.toml", "nowhere.toml", "random:x"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fini-bridge"));
        command.args(["sandbox", "--listen", "127.0.0.1:0", "--personality", wrong]).current_dir(folder.path());
        let output = command.env_clear().output().await.expect("the binary under test was built");
        assert_eq!(output.status.code(), Some(2), "{wrong}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
async fn foreign_hosts_and_pages_are_turned_away_on_every_route() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (child, address) = start(folder.path(), &["--host", "vendor.test"]).await;
    for path in ["/_sandbox/settings", "/v2/bots/public", "/"] {
        let url = format!("{address}{path}");
        for foreign in [("host", "evil.example"), ("origin", "https://evil.example"), ("origin", "null")] {
            let (status, body) = get(&url, Some(foreign)).await;
            assert_eq!(
                (status, body["statusCode"].clone(), body["error"].clone()),
                (403, 403.into(), "Forbidden".into())
            );
        }
    }
    let settings = format!("{address}/_sandbox/settings");
    for own in [("host", "localhost:8090"), ("host", "vendor.test"), ("origin", "http://localhost:3000")] {
        assert_eq!(get(&settings, Some(own)).await.0, 200, "{own:?}");
    }
    end(child).await;
}
