//! What a refusal leaves of the connection it came over: a table of every early refusal, by every way in which a body
//! comes and every manner in which it is sent. Afterwards the next request on that connection is answered, or the answer
//! said that the connection ends. Raw sockets, since clients hide what this is about.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::harness::{Bridge, DEADLINE, Setup, browser_token, epoch_seconds, random_token};

const NEXT: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: bridge\r\n\r\n";
/// Connections open at one time; an address may have 256.
const AT_ONCE: usize = 100;

/// One answer: its status, its head in lower case, its body.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn is_last(&self) -> bool {
        self.head.contains("\r\nconnection: close\r\n")
    }
}

/// Reads the next answer, past any that is only provisional; an error says what was seen instead.
async fn read_answer(stream: &mut TcpStream) -> Result<Answer, String> {
    loop {
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            let read = stream.read_u8().await;
            seen.push(read.map_err(|error| format!("{error} after {:?}", String::from_utf8_lossy(&seen)))?);
        }
        let head = String::from_utf8_lossy(&seen).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let mut body = vec![0; length.unwrap_or_default()];
        stream.read_exact(&mut body).await.map_err(|error| format!("{error} in the body of {head:?}"))?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| head.clone())?;
        if status != 100 {
            return Ok(Answer { status, head, body });
        }
    }
}

/// Waits for the beginning of an answer that is not only provisional. What has come is left to be read, however this ends.
async fn last_begins(stream: &TcpStream) {
    const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut begin = [0; GO_ON.len()];
    loop {
        let count = stream.peek(&mut begin).await.unwrap_or_default();
        if begin[..count] != *GO_ON {
            return;
        }
        let _ = stream.try_read(&mut begin);
    }
}

async fn answer(stream: &mut TcpStream) -> Result<Answer, String> {
    timeout(DEADLINE, read_answer(stream)).await.map_err(|_| "no answer in time".to_owned())?
}

/// Checks that a refusal has the shape of all of them.
fn is_ours(answer: &Answer, code: Option<&str>) -> Result<(), String> {
    let body: Value = serde_json::from_slice(&answer.body).map_err(|error| format!("{error}: {}", answer.head))?;
    let id = body["request_id"].as_str().unwrap_or_default().to_lowercase();
    let is_whole = answer.head.contains("\r\ncontent-type: application/problem+json\r\n")
        && answer.head.contains("\r\ncache-control: no-store\r\n")
        && !id.is_empty()
        && answer.head.contains(&format!("\r\nx-request-id: {id}\r\n"))
        && body["status"] == answer.status
        && code.is_none_or(|code| body["code"] == code);
    if is_whole { Ok(()) } else { Err(format!("not one of ours: {} {body}", answer.head)) }
}

/// How a body comes after the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    None,
    Length(usize),
    Chunked(usize),
    Trailers(usize),
    /// Its sender waits to be asked for it.
    Expected(usize),
    /// Its sender asks, and does not wait.
    Impatient(usize),
}

impl Way {
    const ALL: [Self; 11] = [
        Self::None,
        Self::Length(53),
        Self::Length(60_000),
        Self::Length(90_000),
        Self::Chunked(53),
        Self::Chunked(90_000),
        Self::Trailers(53),
        Self::Expected(53),
        Self::Expected(90_000),
        Self::Impatient(53),
        Self::Impatient(90_000),
    ];

    fn head(self) -> String {
        match self {
            Self::None => String::new(),
            Self::Length(bytes) => format!("content-length: {bytes}\r\n"),
            Self::Chunked(_) => "transfer-encoding: chunked\r\n".to_owned(),
            Self::Trailers(_) => "transfer-encoding: chunked\r\ntrailer: x-sum\r\n".to_owned(),
            Self::Expected(bytes) | Self::Impatient(bytes) => {
                format!("content-length: {bytes}\r\nexpect: 100-continue\r\n")
            }
        }
    }

    /// Small bodies are read, wanted or not. Of one that is held back nobody knows whether it comes.
    fn is_small(self) -> bool {
        matches!(self, Self::None | Self::Length(53 | 60_000) | Self::Chunked(53) | Self::Trailers(53))
    }

    fn body(self) -> Vec<u8> {
        let chunked = |bytes: usize, end: &str| {
            [format!("{bytes:x}\r\n").into_bytes(), vec![b'x'; bytes], format!("\r\n0\r\n{end}\r\n").into_bytes()]
                .concat()
        };
        match self {
            Self::None | Self::Expected(_) => Vec::new(),
            Self::Length(bytes) | Self::Impatient(bytes) => vec![b'x'; bytes],
            Self::Chunked(bytes) => chunked(bytes, ""),
            Self::Trailers(bytes) => chunked(bytes, "x-sum: 1\r\n"),
        }
    }
}

/// How a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// The body in packets of its own; the next request after the answer.
    KeptAlive,
    /// Head, body and the next request at once.
    Pipelined,
    /// Half of the body; the rest of it after the answer, or once the bridge waits for it.
    HalfSent,
}

/// The outcome of one case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    GoesOn,
    Ends,
}

/// Sends one request and says what became of its connection.
async fn refused(to: String, head: String, way: Way, manner: Manner, status: u16) -> Result<Left, String> {
    let mut stream = TcpStream::connect(to).await.map_err(|error| error.to_string())?;
    let (head, body) = (format!("{head}{}\r\n", way.head()).into_bytes(), way.body());
    let (now, later) = match manner {
        Manner::KeptAlive => (vec![head, body], Vec::new()),
        Manner::Pipelined => (vec![[head, body, NEXT.to_vec()].concat()], Vec::new()),
        Manner::HalfSent => {
            let (half, rest) = body.split_at(body.len() / 2);
            (vec![head, half.to_vec()], rest.to_vec())
        }
    };
    for part in now {
        // A side that has answered and closed may refuse the rest.
        let _ = stream.write_all(&part).await;
    }
    let mut is_complete = later.is_empty();
    let mut first = None;
    if !is_complete {
        // Longer than the bridge waits for a rest that it does not want.
        if timeout(Duration::from_millis(2_500), last_begins(&stream)).await.is_ok() {
            first = Some(answer(&mut stream).await);
        } else {
            let _ = stream.write_all(&later).await;
            is_complete = true;
        }
    }
    let first = match first {
        Some(first) => first,
        None => answer(&mut stream).await,
    }?;
    if first.status != status {
        return Err(format!("{} instead of {status}: {}", first.status, String::from_utf8_lossy(&first.body)));
    }
    is_ours(&first, None)?;
    if first.is_last() {
        if manner != Manner::HalfSent && way.is_small() {
            return Err("a small body that was there cost the connection".to_owned());
        }
        let mut rest = Vec::new();
        let end = timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
        return match (end, rest.is_empty()) {
            (Ok(_), true) => Ok(Left::Ends),
            (Err(_), _) => Err("said that it ends, and does not".to_owned()),
            (Ok(_), false) => Err(format!("more after its last answer: {}", String::from_utf8_lossy(&rest))),
        };
    }
    if !is_complete {
        stream.write_all(&later).await.map_err(|error| format!("the rest of the body: {error}"))?;
    }
    if manner != Manner::Pipelined {
        stream.write_all(NEXT).await.map_err(|error| format!("the next request: {error}"))?;
    }
    let next = answer(&mut stream).await.map_err(|seen| format!("the next request on the connection: {seen}"))?;
    if next.status == 200 { Ok(Left::GoesOn) } else { Err(format!("the next request is answered {}", next.status)) }
}

fn authority(url: &str) -> String {
    url.trim_start_matches("http://").to_owned()
}

/// Answers counted with statuses of refusals so far.
async fn counted(bridge: &Bridge) -> u64 {
    let text = bridge.admin("GET", "/metrics").send().await.expect(200).text;
    let lines = text.lines().filter(|line| line.starts_with("fini_bridge_http_requests_total{"));
    let refusals = lines.filter(|line| line.contains("status=\"4"));
    refusals.map(|line| line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok()).expect("a count")).sum()
}

fn token(bridge: &mut Bridge, conversation: &str) -> String {
    let now = epoch_seconds();
    let claims =
        json!({"iss": "fini-bridge", "frontend": "web", "conversation_id": conversation, "iat": now, "exp": now + 600});
    let token = browser_token(bridge.web().browser_token_secret.as_ref().expect("configured"), &claims);
    bridge.keep_private(&token);
    token
}

/// A request that is refused, with the status for a body of at most 70 KiB and for a larger one. Without a body it may be no
/// refusal.
struct Refusal {
    line: &'static str,
    headers: String,
    without: Option<u16>,
    small: u16,
    large: u16,
}

/// The refusals, of a bridge whose frontend has this token, and where this browser token of `c` has read all it may.
fn refusals(token: &str, browser: &str) -> Vec<Refusal> {
    let row = |line, headers, without, small, large| Refusal { line, headers, without, small, large };
    let bearer = |token: &str| format!("authorization: Bearer {token}\r\n");
    let (good, json) = (bearer(token), "content-type: application/json\r\n");
    let two = format!("{good}{}", bearer(&random_token()));
    let signed = "webhook-id: a\r\nwebhook-timestamp: 1\r\nwebhook-signature: v1,x\r\n";
    let (bad, browser) = (bearer(&random_token()), bearer(browser));
    vec![
        row("POST /v1/messages", format!("{bad}{json}"), Some(401), 401, 401),
        row("POST /v1/messages", json.to_owned(), Some(401), 401, 401),
        row("POST /v1/messages", format!("{two}{json}"), Some(401), 401, 401),
        row("POST /v1/messages", format!("{json}{signed}"), Some(401), 401, 401),
        row("POST /v1/messages", format!("{good}content-type: text/plain\r\n"), Some(415), 415, 415),
        row("POST /v1/messages", format!("{good}{json}content-encoding: gzip\r\n"), Some(415), 415, 415),
        row("POST /v1/messages", format!("{good}{json}"), Some(400), 400, 413),
        row("POST /v1/conversations/c/tokens", format!("{good}{json}"), None, 400, 413),
        row("POST /v1/conversations/c/read", format!("{good}{json}"), Some(422), 400, 413),
        row("PUT /v1/desk", format!("{good}{json}"), Some(422), 400, 413),
        row("POST /v1/nothing", format!("{good}{json}"), Some(404), 404, 404),
        row("POST /v1/conversations/%zz", good.clone(), Some(405), 405, 405),
        row("PUT /v1/messages", format!("{good}{json}"), Some(405), 405, 405),
        row("DELETE /v1/conversations/none", good.clone(), Some(404), 404, 404),
        row("POST /v1/conversations/c/handoff/claim", format!("{browser}{json}"), Some(403), 403, 413),
        row("GET /v1/conversations/c", browser, Some(429), 429, 429),
        row("GET /v1/conversations/c/events?after=x", good.clone(), Some(422), 422, 422),
        row("GET /v1/events?after=nobody", good.clone(), Some(400), 400, 400),
        row("POST /v1/fini/attributes", json.to_owned(), Some(404), 404, 404),
    ]
}

struct Case {
    what: String,
    head: String,
    way: Way,
    manner: Manner,
    status: u16,
}

fn cases(refusals: &[Refusal]) -> Vec<Case> {
    let mut cases = Vec::new();
    for Refusal { line, headers, without, small, large } in refusals {
        for way in Way::ALL {
            for manner in [Manner::KeptAlive, Manner::Pipelined, Manner::HalfSent] {
                let status = match way {
                    Way::None => *without,
                    Way::Length(90_000) | Way::Chunked(90_000) | Way::Expected(90_000) | Way::Impatient(90_000) => {
                        Some(*large)
                    }
                    _ => Some(*small),
                };
                // Who waits to be asked is asked where the body is read: nothing is refused before it has come.
                let is_read = way == Way::Expected(53) && *large == 413;
                let has_no_half = manner == Manner::HalfSent && way.body().is_empty();
                let (Some(status), false, false) = (status, is_read, has_no_half) else { continue };
                let what = format!("{line} {way:?} {manner:?} -> {status}");
                let head = format!("{line} HTTP/1.1\r\nhost: bridge\r\n{headers}");
                cases.push(Case { what, head, way, manner, status });
            }
        }
    }
    cases
}

/// Runs all cases, some at a time; gives how often which status left the connection how, and what went wrong.
async fn outcomes(to: &str, cases: Vec<Case>) -> (BTreeMap<(u16, Left), usize>, Vec<String>) {
    let (mut outcomes, mut failed, mut running) = (BTreeMap::new(), Vec::new(), JoinSet::new());
    let mut cases = cases.into_iter();
    loop {
        while running.len() < AT_ONCE
            && let Some(Case { what, head, way, manner, status }) = cases.next()
        {
            let to = to.to_owned();
            running.spawn(async move { (what, status, refused(to, head, way, manner, status).await) });
        }
        let Some(ended) = running.join_next().await else { return (outcomes, failed) };
        let (what, status, left) = ended.expect("a case does not panic");
        match left {
            Ok(left) => *outcomes.entry((status, left)).or_insert(0) += 1,
            Err(fault) => failed.push(format!("{what}: {fault}")),
        }
    }
}

#[tokio::test]
async fn after_any_refusal_the_connection_goes_on_or_says_that_it_ends() {
    let setup = Setup::new().set("limits.browser_reads_per_user", "1").set("server.max_body", "\"70KiB\"");
    let mut bridge = setup.start().await;
    bridge.turn("c", "Where is my order?").await;
    let browser = token(&mut bridge, "c");
    bridge.anonymous("GET", "/v1/conversations/c").bearer(&browser).send().await.expect(200);
    let refusals = refusals(&bridge.web().tokens[0], &browser);
    let cases = cases(&refusals);
    let (count, before) = (cases.len(), counted(&bridge).await);
    let (outcomes, failed) = outcomes(&authority(&bridge.url), cases).await;
    let counted = counted(&bridge).await - before;
    println!("{} refusals by {} ways and 3 manners: {count} cases", refusals.len(), Way::ALL.len());
    for ((status, left), count) in &outcomes {
        println!("  {status} {left:?}: {count}");
    }
    assert!(failed.is_empty(), "{} of {count}:\n{}", failed.len(), failed.join("\n"));
    assert_eq!(counted, count as u64, "each is counted once");
    bridge.finish().await;
}

#[tokio::test]
async fn an_answer_to_what_is_no_http_is_one_of_ours() {
    let bridge = Setup::new().start().await;
    let long = format!("GET /healthz HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n", "b".repeat(17 * 1024));
    let far = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "b".repeat(70 * 1024));
    let many = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(200));
    let unreadable: [(&[u8], u16, &str); 15] = [
        (b"BREW\x7f /pot\r\n\r\n", 400, "invalid_http"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS client\r\n\r\n", 400, "invalid_http"),
        (b"GET /healthz HTTP/9.9\r\nhost: x\r\n\r\n", 400, "invalid_http"),
        (b"GET /heal thz HTTP/1.1\r\nhost: x\r\n\r\n", 400, "invalid_http"),
        (b"GET /healthz HTTP/1.1\r\nno colon\r\n\r\n", 400, "invalid_http"),
        (b"GET /healthz HTTP/1.1\r\nhost : x\r\n\r\n", 400, "invalid_http"),
        (b"GET /healthz HTTP/1.1\r\nhost: x\r\na: b\r\n folded\r\n\r\n", 400, "invalid_http"),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400, "invalid_http"),
        (b"GET /healthz HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n", 400, "invalid_http"),
        (
            b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
            400,
            "invalid_http",
        ),
        (b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", 400, "invalid_http"),
        (b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n", 400, "invalid_http"),
        (long.as_bytes(), 431, "head_too_large"),
        (far.as_bytes(), 431, "head_too_large"),
        (many.as_bytes(), 431, "head_too_large"),
    ];
    let before = counted(&bridge).await;
    let mut answers = 0;
    for url in [&bridge.url, &bridge.admin_url] {
        for (bytes, status, code) in unreadable {
            // Alone, behind an answered request, behind one that is answered at the same time, and before another.
            for (earlier, is_together, later) in
                [(false, false, false), (true, false, false), (true, true, false), (false, true, true)]
            {
                let what = format!("{url} {:.60}, {earlier} {is_together} {later}", String::from_utf8_lossy(bytes));
                let mut stream = TcpStream::connect(authority(url)).await.expect("connects");
                let mut sent = Vec::new();
                if earlier {
                    sent.extend_from_slice(NEXT);
                }
                if earlier && !is_together {
                    stream.write_all(&sent).await.expect("writes");
                    sent.clear();
                    assert_eq!(answer(&mut stream).await.expect("an answer").status, 200, "{what}");
                }
                sent.extend_from_slice(bytes);
                if later {
                    sent.extend_from_slice(NEXT);
                }
                stream.write_all(&sent).await.expect("writes");
                if earlier && is_together {
                    assert_eq!(answer(&mut stream).await.expect("an answer").status, 200, "{what}");
                }
                let refusal = answer(&mut stream).await.unwrap_or_else(|seen| panic!("{what}: {seen}"));
                assert_eq!(refusal.status, status, "{what}: {}", refusal.head);
                is_ours(&refusal, Some(code)).unwrap_or_else(|fault| panic!("{what}: {fault}"));
                assert!(refusal.is_last(), "{what}: {}", refusal.head);
                assert!(refusal.head.contains("\r\ndate: "), "{what}: {}", refusal.head);
                let mut rest = Vec::new();
                let end = timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
                assert!(end.is_ok() && rest.is_empty(), "{what}: {}", String::from_utf8_lossy(&rest));
                answers += 1;
            }
        }
    }
    println!("{answers} answers to {} kinds of what is no HTTP", unreadable.len());
    assert_eq!(counted(&bridge).await - before, answers, "each is counted once");
    let lines = bridge.log().iter().filter(|line| line["message"] == "request" && line["method"] == "-").count();
    assert!((1..20).contains(&lines), "noise writes no log: {lines} lines");
    bridge.finish().await;
}

#[tokio::test]
async fn what_is_completed_while_the_bridge_stops_is_answered_and_the_connection_ends() {
    let mut bridge = Setup::new().start().await;
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: bridge\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n",
        bridge.web().tokens[0]
    );
    let body = br#"{"conversation_id": "c", "message_id": "m", "text": "Where is it?"}"#;
    let mut half = Vec::new();
    for framing in [format!("content-length: {}\r\n", body.len()), "transfer-encoding: chunked\r\n".to_owned()] {
        let mut stream = TcpStream::connect(authority(&bridge.url)).await.expect("connects");
        stream.write_all(format!("{head}{framing}\r\n").as_bytes()).await.expect("writes");
        half.push((stream, framing.starts_with("transfer")));
    }
    let mut idle = TcpStream::connect(authority(&bridge.url)).await.expect("connects");
    idle.write_all(NEXT).await.expect("writes");
    assert_eq!(answer(&mut idle).await.expect("an answer").status, 200);
    bridge.terminate().await;
    // It is closed when the last call is over: from then on nothing is taken.
    assert!(timeout(DEADLINE, idle.read_u8()).await.expect("in time").is_err());
    for (mut stream, is_chunked) in half {
        let frame = |bytes: &[u8]| {
            if is_chunked {
                [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n0\r\n\r\n"].concat()
            } else {
                bytes.to_vec()
            }
        };
        stream.write_all(&frame(body)).await.expect("writes");
        let last = answer(&mut stream).await.expect("an answer");
        assert!(last.is_last(), "{}", last.head);
        // The bridge may have a moment left in which it takes messages in.
        if last.status != 202 {
            assert_eq!(last.status, 503, "{}", last.head);
            is_ours(&last, Some("shutting_down")).expect("a refusal");
        }
    }
    bridge.ended().await;
    bridge.restart().await;
    bridge.finish().await;
}
