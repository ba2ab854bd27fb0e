//! The program as it is called from a shell: configuration, exit statuses and the commands around a running bridge.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::process::Command;

use crate::harness::{Allow, Reply, Setup, Stream, eventually, random_secret, random_token, unique};

/// Runs the program in `folder` with these variables and no others.
pub async fn run(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fini-bridge"));
    command.args(arguments).current_dir(folder).env_clear().envs(environment.iter().copied());
    command.stdin(Stdio::null()).kill_on_drop(true).output().await.expect("the binary under test was built")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

/// A configuration that is right, with what a test adds to it.
fn file(folder: &Path, change: impl FnOnce(Setup) -> Setup) -> String {
    let path = folder.join("config.toml");
    let setup = change(Setup::new());
    std::fs::write(&path, setup.render("http://127.0.0.1:9", "sqlite://bridge.db", "http://127.0.0.1:9"))
        .expect("writable");
    path.to_str().expect("a plain name").to_owned()
}

#[tokio::test]
async fn exit_statuses() {
    let folder = folder();
    let good = file(folder.path(), |setup| setup);
    for (arguments, status) in [
        (&["--help"][..], 0),
        (&["--version"], 0),
        (&["secret"], 0),
        (&["openapi"], 0),
        (&["check", "--config", &good], 0),
        (&[], 2),
        (&["no-such-command"], 2),
        (&["serve", "--no-such-option"], 2),
        (&["serve", "--config", "missing.toml"], 2),
        (&["serve"], 2),
        (&["check"], 2),
        (&["check", "--config", &good, "--online"], 1),
        (&["agents", "--config", &good], 1),
    ] {
        let output = run(folder.path(), arguments, &[]).await;
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", text(&output.stderr));
        if status != 0 {
            assert!(!output.stderr.is_empty(), "{arguments:?} says nothing");
        }
    }
}

#[tokio::test]
async fn every_fault_of_a_configuration_is_told_at_once_with_its_key() {
    let folder = folder();
    let secret = random_token();
    let path = file(folder.path(), |setup| {
        setup
            .set("server.listen", "\"nowhere\"")
            .set("server.no_such_key", "1")
            .set("fini.rate_limit", "{ requests = 0, window = \"60s\" }")
            .set("poll.sweep_interval", "\"2 parsecs\"")
            .set("delivery.retry_schedule", "[\"1s\", \"soon\"]")
            .set("admin.listen", "\"0.0.0.0:9090\"")
            .set("log.format", "\"xml\"")
            .web(|web| {
                web.name = "No Such Name".to_owned();
                web.tokens = vec![secret.chars().take(10).collect()];
                web.callback_url = Some("ftp://chat.example.com".to_owned());
            })
    });
    for command in ["serve", "check"] {
        let output = run(folder.path(), &[command, "--config", &path], &[]).await;
        assert_eq!(output.status.code(), Some(2));
        let said = text(&output.stderr) + &text(&output.stdout);
        for key in [
            "server.listen",
            "server.no_such_key",
            "fini.rate_limit.requests",
            "poll.sweep_interval",
            "delivery.retry_schedule",
            "admin.token",
            "log.format",
            "name",
            "tokens",
            "callback_url",
        ] {
            assert!(said.contains(key), "{key} is missing in\n{said}");
        }
        assert!(!said.contains(&secret[..10]), "a secret is quoted in\n{said}");
    }
}

#[tokio::test]
async fn the_environment_stands_above_the_file_and_secrets_may_be_files() {
    let folder = folder();
    let path = file(folder.path(), |setup| setup.set("fini.api_key", "\"\""));
    let key = folder.path().join("key");
    std::fs::write(&key, format!("fini_{}\n", random_token())).expect("writable");
    let key = key.to_str().expect("a plain name");
    let check = ["check", "--config", &path];
    assert_eq!(run(folder.path(), &check, &[]).await.status.code(), Some(2), "a key is required");
    let from_file = [("FINI_BRIDGE__FINI__API_KEY_FILE", key)];
    assert_eq!(run(folder.path(), &check, &from_file).await.status.code(), Some(0));
    let both = [("FINI_BRIDGE__FINI__API_KEY_FILE", key), ("FINI_BRIDGE__FINI__API_KEY", "fini_of_the_environment")];
    let output = run(folder.path(), &check, &both).await;
    assert_eq!(output.status.code(), Some(2), "both at once is an error");
    assert!(!text(&output.stderr).contains("fini_of_the_environment"));
    let wrong = [from_file[0], ("FINI_BRIDGE__POLL__SWEEP_INTERVAL", "never")];
    let output = run(folder.path(), &check, &wrong).await;
    assert_eq!(output.status.code(), Some(2));
    let by_variable = [from_file[0], ("FINI_BRIDGE_CONFIG", &path)];
    assert_eq!(run(folder.path(), &["check"], &by_variable).await.status.code(), Some(0));
    let unknown = [from_file[0], ("FINI_BRIDGE__POLL__NO_SUCH_KEY", "1")];
    assert_eq!(run(folder.path(), &check, &unknown).await.status.code(), Some(2));
}

#[tokio::test]
async fn secrets_are_made_and_are_never_twice_the_same() {
    let folder = folder();
    let mut made = Vec::new();
    for _ in 0..3 {
        let output = run(folder.path(), &["secret"], &[]).await;
        let said = text(&output.stdout);
        let secret = said.trim().to_owned();
        assert!(secret.starts_with("whsec_"), "{said}");
        Webhook::new(&secret).expect("a valid secret");
        made.push(secret);
    }
    made.sort();
    made.dedup();
    assert_eq!(made.len(), 3);
}

#[tokio::test]
async fn a_token_of_the_command_line_opens_its_conversation() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let path = bridge.config_file();
    let arguments = ["token", "--config", &path, "--frontend", "web", "--conversation", "c", "--ttl", "5m"];
    let output = run(Path::new("/"), &arguments, &[]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    let token = said.split_whitespace().find(|word| word.matches('.').count() == 2).expect("a JWT").trim_matches('"');
    let call = bridge.anonymous("GET", "/v1/conversations/c").bearer(token);
    call.send().await.expect(200);
    let mut stream = Stream::open(bridge.anonymous("GET", "/v1/conversations/c/stream").bearer(token)).await;
    assert_eq!(stream.next().await.expect("an event").id, "1");
    drop(stream);
    bridge.finish().await;
}

#[tokio::test]
async fn a_secret_in_a_file_is_the_same_for_every_command() {
    let folder = folder();
    let secret = folder.path().join("secret");
    let path = secret.to_str().expect("a plain name").to_owned();
    let key = random_token();
    for content in [format!("{key}\n\n"), format!("\u{feff}{key}\r\n"), format!(" {key}\t\n")] {
        std::fs::write(&secret, content).expect("writable");
        let setup = Setup::new().web(|web| web.browser_token_secret = None);
        let mut bridge = setup.set_web("browser_token_secret_file", &format!("{path:?}")).start().await;
        bridge.turn("c", "Where is my order?").await;
        let config = bridge.config_file();
        for source in [["--secret-file", &path], ["--config", &config]] {
            let arguments = [&["token", "--frontend", "web", "--conversation", "c"][..], &source].concat();
            let output = run(folder.path(), &arguments, &[]).await;
            let token = text(&output.stdout).trim().to_owned();
            bridge.anonymous("GET", "/v1/conversations/c").bearer(&token).send().await.expect(200);
        }
        bridge.finish().await;
    }
}

#[tokio::test]
async fn addresses_of_databases_are_checked_and_no_part_of_a_password_is_told() {
    let folder = folder();
    for (url, said) in [
        ("postgres://u:p@127.0.0.1:1/b?sslpassword=hunter2", "sslpassword"),
        ("postgres://u:p@127.0.0.1:1/b?connect_timeout=hunter2", "connect_timeout"),
        ("postgres://u:hunter2/x@127.0.0.1:1/b", "%2F"),
        ("postgres://u:12/hunter2@127.0.0.1:1/b", "%2F"),
        ("postgres://u:12#hunter2@127.0.0.1:1/b", "%23"),
        ("postgres://u:12?hunter2@127.0.0.1:1/b", "%3F"),
        ("postgres://u:p@127.0.0.1:1/b?sslrootcert=/hunter2.pem&sslmode=prefer", "verify-full"),
    ] {
        let path = file(folder.path(), |setup| setup.set("store.url", &format!("{url:?}")));
        for command in ["check", "serve"] {
            let output = run(folder.path(), &[command, "--config", &path], &[]).await;
            let all = text(&output.stderr) + &text(&output.stdout);
            assert_eq!(output.status.code(), Some(2), "{url}: {all}");
            assert!(all.contains(said) && all.contains("store.url") && !all.contains("hunter2"), "{url}: {all}");
        }
    }
    for url in ["postgres://u:p%40ss@127.0.0.1:1/b?sslmode=verify-full", "postgres://u:hunter2@/b?host=/run/postgresql"]
    {
        let path = file(folder.path(), |setup| setup.set("store.url", &format!("{url:?}")));
        let output = run(folder.path(), &["check", "--config", &path], &[]).await;
        let all = text(&output.stderr) + &text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{url}: {all}");
        assert!(!all.contains("hunter2") && !all.contains("ss@"), "{all}");
    }
}

#[tokio::test]
async fn check_online_logs_in_to_the_database() {
    let Some(url) = crate::harness::database().await else { return };
    let bridge = Setup::new().store(&url).start().await;
    let config = bridge.config_file();
    let online = run(Path::new("/"), &["check", "--config", &config, "--online"], &[]).await;
    assert_eq!(online.status.code(), Some(0), "{}", text(&online.stderr));
    assert!(text(&online.stdout).contains("lets the bridge in"), "{}", text(&online.stdout));
    let nowhere = format!("{url}-that-nobody-made");
    let variables = [("FINI_BRIDGE__STORE__URL", nowhere.as_str())];
    let offline = run(Path::new("/"), &["check", "--config", &config, "--online"], &variables).await;
    assert_eq!(offline.status.code(), Some(1));
    assert!(text(&offline.stderr).contains("does not exist"), "{}", text(&offline.stderr));
    bridge.finish().await;
}

#[tokio::test]
async fn a_captured_callback_is_verified() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let callback = bridge.receiver.wait_for("c", "turn.completed").await;
    let folder = folder();
    let at = |name: &str| folder.path().join(name).to_str().expect("a plain name").to_owned();
    let (body, secret) = (at("body"), at("secret"));
    std::fs::write(&body, &callback.body).expect("writable");
    std::fs::write(&secret, &bridge.web().callback_secrets[0]).expect("writable");
    let (id, time, signature) =
        (callback.header("webhook-id"), callback.header("webhook-timestamp"), callback.header("webhook-signature"));
    let arguments = [
        "verify",
        "--secret-file",
        &secret,
        "--id",
        id,
        "--timestamp",
        time,
        "--signature",
        signature,
        "--body",
        &body,
    ];
    let output = run(folder.path(), &arguments, &[]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    std::fs::write(&secret, random_secret()).expect("writable");
    assert_eq!(run(folder.path(), &arguments, &[]).await.status.code(), Some(1));
    bridge.finish().await;
}

#[tokio::test]
async fn the_openapi_document_names_every_route() {
    let folder = folder();
    let document: Value = serde_json::from_slice(&run(folder.path(), &["openapi"], &[]).await.stdout).expect("JSON");
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", document["openapi"]);
    for (path, methods) in [
        ("/v1/messages", &["post"][..]),
        ("/v1/conversations/{conversation_id}", &["get", "delete"]),
        ("/v1/conversations/{conversation_id}/events", &["get"]),
        ("/v1/conversations/{conversation_id}/stream", &["get"]),
        ("/v1/conversations/{conversation_id}/tokens", &["post"]),
        ("/v1/users/{user_id}/tokens", &["post"]),
    ] {
        for method in methods {
            assert!(document["paths"][path][method].is_object(), "{method} {path}");
        }
    }
    let bridge = Setup::new().start().await;
    let served = bridge.anonymous("GET", "/openapi.json").send().await.expect(200).json();
    assert_eq!(served, document, "the same, whichever way it is asked for");
    bridge.finish().await;
}

#[tokio::test]
async fn operators_list_and_replay_dead_letters_from_the_command_line() {
    let mut bridge = Setup::new().set("delivery.retry_schedule", "[\"20ms\"]").start().await;
    bridge.receiver.script_for("c", [Reply::Status(500), Reply::Status(500)]);
    bridge.turn("c", "Where is my order?").await;
    let dead = bridge.dead_letters(1).await.remove(0);
    let id = dead["id"].as_str().expect("an id").to_owned();
    let (path, admin) = (bridge.config_file(), bridge.admin_url.clone());
    let call = async |arguments: &[&str]| {
        let whole = [arguments, &["--config", &path, "--admin", &admin]].concat();
        let output = run(Path::new("/"), &whole, &[]).await;
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let listed: Value =
        serde_json::from_str(&call(&["deliveries", "list", "--state", "dead", "--json"]).await).expect("JSON");
    assert_eq!(listed["id"], id.as_str());
    assert!(call(&["deliveries", "show", &id]).await.contains("500"));
    // The ids of the log's line are those that the commands take.
    let line = bridge.log().into_iter().find(|line| line["message"] == "callback given up: dead letter");
    let line = line.expect("it is said");
    assert_eq!((&line["delivery_id"], &line["event_id"]), (&dead["id"], &dead["event_id"]), "{line}");
    assert!(line["type"].is_string() && line["replica"].is_string(), "{line}");
    let event = dead["event_id"].as_str().expect("an id");
    assert!(call(&["deliveries", "show", event]).await.contains(&id));
    assert!(call(&["deliveries", "list"]).await.contains(event));
    call(&["deliveries", "retry", &id]).await;
    eventually("the replay", async || bridge.deliveries("state=dead").await.is_empty().then_some(())).await;
    bridge.allow(Allow::Undelivered);
    bridge.allow(Allow::Repeats);
    bridge.finish().await;
}

#[tokio::test]
async fn the_workspace_is_read_and_exported() {
    let mut bridge = Setup::new().start().await;
    let (_, text_) = bridge.say("c", "Where is my order?").await;
    bridge.event_of("c", "turn.completed").await;
    let interaction = bridge.bound("c").await;
    let path = bridge.config_file();
    let folder = folder();
    let agents = run(folder.path(), &["agents", "--config", &path, "--json"], &[]).await;
    let agents: Value = serde_json::from_slice(&agents.stdout).expect("JSON");
    assert_eq!(agents[0]["id"], fini_bridge::sandbox::DEFAULT_BOT_ID);
    let online = run(folder.path(), &["check", "--config", &path, "--online"], &[]).await;
    assert_eq!(online.status.code(), Some(0), "{}", text(&online.stderr));
    // Not every Fini shows its tags: that is said, and is no fault of the configuration.
    assert!(text(&online.stderr).contains("could not be compared"), "{}", text(&online.stderr));
    let exported = run(folder.path(), &["export", "conversations", "--config", &path, "--quiet"], &[]).await;
    assert_eq!(exported.status.code(), Some(0), "{}", text(&exported.stderr));
    let lines: Vec<Value> = text(&exported.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
        .collect();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["id"], interaction.as_str());
    assert!(lines[0].to_string().contains(&text_));
    let history = run(folder.path(), &["export", "history", "--config", &path, "--quiet"], &[]).await;
    assert_eq!(history.status.code(), Some(0), "{}", text(&history.stderr));
    bridge.finish().await;
}

#[tokio::test]
async fn the_simulator_runs_alone() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let mut command = Command::new(env!("CARGO_BIN_EXE_fini-bridge"));
    command.args(["sandbox", "--listen", "127.0.0.1:0"]).env_clear().kill_on_drop(true);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("built");
    let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let (mut out, mut err) = (BufReader::new(stdout).lines(), BufReader::new(stderr).lines());
    let address = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        loop {
            let line = tokio::select! {
                Ok(Some(line)) = out.next_line() => line,
                Ok(Some(line)) = err.next_line() => line,
                else => panic!("it ended without an address"),
            };
            if let Some(at) = line.find("127.0.0.1:") {
                let end = line[at..].find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
                break line[at..end.map_or(line.len(), |end| at + end)].to_owned();
            }
        }
    });
    let address = address.await.expect("it says where it listens");
    let bridge = Setup::new().start().await;
    let call = bridge.elsewhere("POST", &format!("http://{address}/v2/hc-interactions/events/public"));
    let body = json!({"botId": fini_bridge::sandbox::DEFAULT_BOT_ID, "content": unique("Where is my order?")});
    let answer = call.bearer(fini_bridge::sandbox::DEFAULT_API_KEY).json(&body).send().await.expect(200).json();
    assert_eq!(answer.as_array().map(Vec::len), Some(2));
    child.kill().await.expect("it runs");
    bridge.finish().await;
}
