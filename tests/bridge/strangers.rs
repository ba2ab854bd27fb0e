//! Callers without credentials: they hold little, for a short time, and nobody else's share.

use std::process::Stdio;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant, timeout},
};

use crate::harness::{
    Bridge, DEADLINE, Setup, browser_token, epoch_seconds, eventually, random_secret, random_token, unique,
};

fn authority(bridge: &Bridge) -> String {
    bridge.url.trim_start_matches("http://").to_owned()
}

/// Sends these bytes on a new connection and gives the status of the answer, with the connection still open.
async fn asks(bridge: &Bridge, bytes: &[u8]) -> (u16, TcpStream) {
    let mut stream = TcpStream::connect(authority(bridge)).await.expect("connects");
    // A side that has refused may not take the rest.
    let _ = stream.write_all(bytes).await;
    let status = answered(&mut stream).await;
    (status, stream)
}

async fn answered(stream: &mut TcpStream) -> u16 {
    let mut head = [0; 12];
    timeout(DEADLINE, stream.read_exact(&mut head)).await.expect("in time").expect("an answer");
    String::from_utf8_lossy(&head[9..]).parse().expect("a status")
}

/// The head of a signed message of so many bytes, of which nobody can know yet whether the signature is right.
fn signed_head(timestamp: i64, bytes: usize) -> Vec<u8> {
    format!(
        "POST /v1/messages HTTP/1.1\r\nhost: bridge\r\ncontent-type: application/json\r\ncontent-length: {bytes}\r\n\
         webhook-id: msg_1\r\nwebhook-timestamp: {timestamp}\r\n\
         webhook-signature: v1,MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\r\n\r\n"
    )
    .into_bytes()
}

#[tokio::test]
async fn where_no_frontend_signs_a_signed_request_is_refused_without_its_body() {
    let bridge = Setup::new().web(|web| web.signing_secrets = Vec::new()).start().await;
    assert_eq!(asks(&bridge, &signed_head(epoch_seconds(), 60_000)).await.0, 401);
    bridge.finish().await;
}

#[tokio::test]
async fn what_the_head_gives_away_is_refused_without_the_body() {
    let bridge = Setup::new().start().await;
    assert_eq!(asks(&bridge, &signed_head(epoch_seconds() - 400, 60_000)).await.0, 401, "too old");
    let text = String::from_utf8(signed_head(epoch_seconds(), 60_000)).expect("text");
    assert_eq!(asks(&bridge, text.replace("v1,", "v9,").as_bytes()).await.0, 401, "of no known form");
    assert_eq!(asks(&bridge, text.replace("msg_1", "msg.1").as_bytes()).await.0, 401, "an id that cannot be signed");
    bridge.finish().await;
}

#[tokio::test]
async fn bodies_of_those_who_have_proved_nothing_share_one_room() {
    let mut bridge = Setup::new().set("server.max_body", "\"1MiB\"").start().await;
    let almost = vec![b' '; (1 << 20) - 1];
    let (mut held, mut refused) = (Vec::new(), 0);
    for _ in 0..12 {
        let mut stream = TcpStream::connect(authority(&bridge)).await.expect("connects");
        stream.write_all(&signed_head(epoch_seconds(), 1 << 20)).await.expect("writes");
        let _ = stream.write_all(&almost).await;
        let mut byte = [0; 1];
        match timeout(Duration::from_millis(100), stream.peek(&mut byte)).await {
            Ok(_) => {
                assert_eq!(answered(&mut stream).await, 429);
                refused += 1;
            }
            Err(_) => held.push(stream),
        }
    }
    assert!(refused >= 3, "{} bodies of 1 MiB were held", held.len());
    // A proved caller does not need that room.
    bridge.turn("c", "Where is my order?").await;
    drop(held);
    eventually("room for a signed message", async || {
        let status = asks(&bridge, &[signed_head(epoch_seconds(), 2), b"{}".to_vec()].concat()).await.0;
        (status == 401).then_some(())
    })
    .await;
    bridge.finish().await;
}

#[tokio::test]
async fn of_two_hosts_or_two_credentials_none_counts() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let token = bridge.web().tokens[0].clone();
    let request = |headers: &str| format!("GET /v1/conversations/c HTTP/1.1\r\n{headers}\r\n").into_bytes();
    let good = format!("authorization: Bearer {token}\r\n");
    for (headers, status) in [
        (format!("host: a\r\n{good}"), 200),
        (format!("host: a\r\nhost: a\r\n{good}"), 400),
        (format!("host: a\r\nhost: b\r\n{good}"), 400),
        (good.clone(), 400),
        (format!("host: a\r\n{good}{good}"), 401),
        (format!("host: a\r\nauthorization: Basic eDp5\r\n{good}"), 401),
    ] {
        assert_eq!(asks(&bridge, &request(&headers)).await.0, status, "{headers}");
    }
    let browser = {
        let now = epoch_seconds();
        let claims =
            json!({"iss": "fini-bridge", "frontend": "web", "conversation_id": "c", "iat": now, "exp": now + 60});
        browser_token(bridge.web().browser_token_secret.as_ref().expect("configured"), &claims)
    };
    bridge.keep_private(&browser);
    let stream = |headers: &str| {
        format!("GET /v1/conversations/c/stream?access_token={browser} HTTP/1.1\r\nhost: a\r\n{headers}\r\n")
            .into_bytes()
    };
    let basic = "authorization: Basic eDp5\r\n";
    assert_eq!(asks(&bridge, &stream(basic)).await.0, 200);
    assert_eq!(asks(&bridge, &stream(&format!("{basic}{basic}"))).await.0, 401);
    bridge.finish().await;
}

#[tokio::test]
async fn known_and_unknown_frontends_are_answered_alike() {
    let bridge = Setup::new().start().await;
    let now = epoch_seconds();
    let mut answers = Vec::new();
    for frontend in ["web", "nobody-has-this-name"] {
        let claims =
            json!({"iss": "fini-bridge", "frontend": frontend, "conversation_id": "c", "iat": now, "exp": now + 60});
        let token = browser_token(&random_token(), &claims);
        let answer = bridge.anonymous("GET", "/v1/conversations/c").bearer(&token).send().await;
        answers.push(answer.problem(401, "unauthorized")["detail"].clone());
    }
    assert_eq!(answers[0], answers[1]);
    bridge.finish().await;
}

#[tokio::test]
async fn a_claim_that_is_null_is_no_claim_that_is_left_out() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let now = epoch_seconds();
    for claim in ["origins", "sub", "nbf"] {
        let mut claims =
            json!({"iss": "fini-bridge", "frontend": "web", "conversation_id": "c", "iat": now, "exp": now + 60});
        claims[claim] = json!(null);
        let token = browser_token(bridge.web().browser_token_secret.as_ref().expect("configured"), &claims);
        bridge.anonymous("GET", "/v1/conversations/c").bearer(&token).send().await.problem(401, "unauthorized");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn guessing_tokens_writes_a_line_a_second_with_a_count() {
    let bridge = Setup::new().start().await;
    for _ in 0..200 {
        bridge
            .anonymous("GET", "/v1/conversations/c")
            .bearer(&random_token())
            .send()
            .await
            .problem(401, "unauthorized");
    }
    let told = || {
        let lines: Vec<_> = bridge.log().into_iter().filter(|line| line["status"] == 401).collect();
        let counts: Vec<u64> = lines.iter().map(|line| line["count"].as_u64().unwrap_or(1)).collect();
        (lines.len(), counts.iter().sum::<u64>())
    };
    let (lines, _) = eventually("every refusal to be told of", async || {
        bridge.anonymous("GET", "/healthz").send().await;
        Some(told()).filter(|(_, count)| *count == 200)
    })
    .await;
    assert!(lines <= 20, "{lines} lines");
    assert!(
        bridge.log().iter().any(|line| line["message"] == "further requests refused" && line["address"] == "127.0.0.1")
    );
    bridge.finish().await;
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_a_trusted_proxy_any() {
    let mut bridge = Setup::new().set("limits.connections_per_address", "3").start().await;
    let open = async |bridge: &Bridge| {
        let mut stream = TcpStream::connect(authority(bridge)).await.expect("connects");
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut head = [0; 12];
        let read = timeout(DEADLINE, stream.read_exact(&mut head)).await.expect("in time");
        read.is_ok().then_some(stream)
    };
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(open(&bridge).await.expect("a place"));
    }
    assert!(open(&bridge).await.is_none(), "one more than its address may have");
    let series = "fini_bridge_http_connections_ended_total{listener=\"public\",reason=\"address_limit\"}";
    assert!(bridge.metric(series).await.is_some_and(|count| count >= 1.0));
    held.pop();
    held.push(eventually("the place to be free", async || open(&bridge).await).await);
    drop(held);
    bridge.stop().await;
    bridge.restart_with(|setup| setup.set("server.trusted_proxies", "[\"127.0.0.0/8\"]")).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(open(&bridge).await.expect("a place"));
    }
    drop(held);
    bridge.finish().await;
}

#[tokio::test]
async fn what_anybody_may_read_is_counted_by_address() {
    let bridge = Setup::new().set("limits.browser_reads_per_user", "4").start().await;
    for _ in 0..4 {
        bridge.anonymous("GET", "/v1/client.js").send().await.expect(200);
    }
    let answer = bridge.anonymous("GET", "/openapi.json").send().await;
    answer.problem(429, "rate_limited");
    let seconds: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&seconds), "{seconds}");
    bridge.anonymous("GET", "/healthz").send().await.expect(200);
    bridge.finish().await;
}

#[tokio::test]
async fn check_says_when_too_few_files_may_be_open() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("config.toml");
    let setup = Setup::new().web(|web| web.callback_secrets = vec![random_secret()]);
    let store = format!("sqlite://{}", folder.path().join("bridge.db").display());
    let text = setup.render("http://127.0.0.1:9", &store, "http://127.0.0.1:9");
    std::fs::write(&file, text).expect("the folder can be written");
    let check = async |files: u32| {
        let command =
            format!("ulimit -n {files}; exec {} check --config {}", env!("CARGO_BIN_EXE_fini-bridge"), file.display());
        let mut shell = tokio::process::Command::new("sh");
        let output = shell.args(["-c", &command]).stdin(Stdio::null()).output().await.expect("a shell runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let said = check(1024).await;
    assert!(said.contains("server.max_connections: 4096 are more than 1024 open files leave room for"), "{said}");
    let said = check(16_384).await;
    assert!(!said.contains("server.max_connections"), "{said}");
}

#[tokio::test]
async fn the_files_that_may_be_open_are_as_many_as_the_process_may_have() {
    let bridge = Setup::new().start().await;
    let (soft, hard) = {
        let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        (limits.current, limits.maximum)
    };
    let most = bridge.metric("process_max_fds").await.expect("told");
    #[expect(clippy::cast_precision_loss, reason = "a number of files")]
    let hard = hard.or(soft).map_or(f64::INFINITY, |files| files as f64);
    assert!(most >= hard, "{most} of {hard}");
    bridge.finish().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_crash_leaves_no_file_of_what_was_in_memory() {
    let bridge = Setup::new().start().await;
    let processes = std::fs::read_dir("/proc").expect("reads").flatten().map(|process| process.path());
    let config = bridge.config_file();
    let is_ours = |process: &std::path::PathBuf| {
        std::fs::read(process.join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&config))
    };
    let ours: Vec<_> = processes.filter(is_ours).collect();
    assert!(!ours.is_empty(), "the bridge is a process");
    for process in ours {
        let limits = std::fs::read_to_string(process.join("limits")).expect("reads");
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("it is listed");
        assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn a_silent_end_of_an_answer_costs_a_reader_no_more_than_its_connection() {
    let bridge = Setup::new().start().await;
    let begun = Instant::now();
    let unread = unique("no such conversation").replace(' ', "-");
    for _ in 0..20 {
        let (status, stream) = asks(&bridge, format!("GET /v1/{unread} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await;
        assert_eq!(status, 404);
        drop(stream);
    }
    eventually("every connection to be closed", async || {
        bridge.metric("fini_bridge_http_connections{listener=\"public\"}").await.filter(|open| *open == 0.0)
    })
    .await;
    assert!(begun.elapsed() < DEADLINE);
    bridge.finish().await;
}

#[tokio::test]
async fn the_configured_admin_token_goes_to_the_configured_address_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("config.toml");
    let token = random_token();
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let address = elsewhere.local_addr().expect("it is bound");
    let asked = async |own: &str| {
        let setup = Setup::new().set("admin.token", &format!("{token:?}")).set("admin.listen", &format!("{own:?}"));
        let store = format!("sqlite://{}", folder.path().join("bridge.db").display());
        std::fs::write(&file, setup.render("http://127.0.0.1:9", &store, "http://127.0.0.1:9")).expect("writes");
        let arguments =
            ["deliveries", "list", "--config", file.to_str().expect("plain"), "--admin", &format!("http://{address}")]
                .map(str::to_owned);
        let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_fini-bridge"));
        let run = program.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let heard = async {
            let (mut stream, _) = elsewhere.accept().await.expect("accepts");
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.expect("reads");
            String::from_utf8_lossy(&head[..read]).into_owned()
        };
        let (_, heard) = timeout(DEADLINE, async { tokio::join!(run, heard) }).await.expect("in time");
        heard
    };
    assert!(asked(&address.to_string()).await.contains(&token), "to its own listener it goes");
    let heard = asked("127.0.0.1:9").await;
    assert!(heard.starts_with("GET /admin/v1/deliveries") && !heard.contains(&token), "{heard}");
}
