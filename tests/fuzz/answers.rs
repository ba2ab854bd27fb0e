//! Fini's answers: whatever comes, a call ends in time, and its failure repeats nothing of what people wrote.

use std::time::Duration;

use fini_bridge::{
    domain::{ids::InteractionId, message::Role},
    fini::{ClientSettings, Departure, FiniApi as _, FiniClient, GenerateAnswer, ListQuery, Network, Target},
};
use secrecy::SecretString;
use serde_json::Map;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};

use crate::{Run, mutate::mutate};

/// Stands in every text of the answers.
const CANARY: &str = "canary-text-5512";
/// The client's own deadlines, which every call has to keep.
const DEADLINE: Duration = Duration::from_secs(5);
const ID: &str = "0b8617a4-6d2f-4f6e-9d0a-3c5f1f0e9b11";

/// Answers of all shapes, damaged in the body or in the whole.
pub(crate) fn answers(run: Run) -> u64 {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let mut server = JoinSet::new();
        server.spawn(serve(listener, run));
        let client = client(&format!("http://{address}"));
        let mut number = 0;
        while run.goes_on() {
            number += 1;
            let call = one(&client, number);
            let said = tokio::time::timeout(DEADLINE * 3, call).await;
            let said = said.unwrap_or_else(|_| panic!("input {number}, seed {}: the call did not end", run.seed));
            assert!(!said.contains(CANARY), "input {number}, seed {}: {said}", run.seed);
        }
        number
    })
}

fn client(base: &str) -> FiniClient {
    let key = || SecretString::from("fuzz-key".to_owned());
    let settings = ClientSettings {
        base_url: base.parse().expect("a URL"),
        read_key: key(),
        write_key: key(),
        reply_timeout: DEADLINE,
        read_timeout: DEADLINE,
        connect_timeout: DEADLINE,
        network: Network::default(),
    };
    FiniClient::new(settings, Box::new(|_| {})).expect("a client")
}

/// One call; gives what its failure says, if it failed.
async fn one(client: &FiniClient, number: u64) -> String {
    let departure = Departure::untold();
    match number % 3 {
        0 => {
            let request = GenerateAnswer {
                text: "hello".to_owned(),
                role: Role::User,
                target: Target::Bot("bot".to_owned()),
                attributes: Map::new(),
                channel: None,
                metadata: Map::new(),
            };
            let result = client.generate_answer(&request, &departure).await;
            result.map_or_else(|failure| failure.to_string(), |_| String::new())
        }
        1 => match client.list_conversations(&ListQuery::default(), &departure).await {
            Ok(page) => {
                let parsed = page.conversations.iter().map(fini_bridge::fini::RawConversation::parse);
                let refused = parsed.filter_map(Result::err);
                refused.map(|malformed| malformed.to_string()).collect()
            }
            Err(failure) => failure.to_string(),
        },
        _ => {
            let result = client.get_conversation(&InteractionId::trusted(ID), &departure).await;
            result.map_or_else(|failure| failure.to_string(), |_| String::new())
        }
    }
}

/// Answers each request with a damaged answer to it, one connection at a time.
async fn serve(listener: TcpListener, run: Run) {
    let mut number = 0;
    while run.goes_on() {
        let Ok((mut stream, _)) = listener.accept().await else { return };
        number += 1;
        let mut dice = run.dice(number);
        let mut head = [0; 8192];
        let Ok(Ok(read)) = tokio::time::timeout(DEADLINE, stream.read(&mut head)).await else { continue };
        let line = String::from_utf8_lossy(&head[..read]);
        let body = mutate(&mut dice, valid(&line).as_bytes());
        let status = *dice.choice(&[200, 200, 200, 200, 201, 400, 404, 429, 500]).expect("some to choose from");
        let mut answer = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        answer.extend(body);
        if dice.u8(..4) == 0 {
            answer = mutate(&mut dice, &answer);
        }
        let _ = stream.write_all(&answer).await;
        let _ = stream.shutdown().await;
    }
}

/// A right answer to the request with this first line.
fn valid(line: &str) -> String {
    let event = format!(
        r#"{{"id":"e-1","createdAt":1795000000123,"role":"finibot","type":"message","message":"{CANARY}","externalId":null,
        "externalCreatedAt":null,"csatRating":0,"feedback":"{CANARY}","approved":true,"resolved":false,"attachments":[{{"url":"x"}}],
        "tags":["a"],"usedArticles":[{{"id":"a","title":"{CANARY}","url":"https://x.example.com"}}]}}"#
    );
    let conversation = format!(
        r#"{{"id":"{ID}","createdAt":1795000000000,"status":"Open","resolved":false,"source":"api","channel":"chat",
        "userAttributes":{{"email":"{CANARY}"}},"events":[{event},{event}]}}"#
    );
    if line.starts_with("POST") {
        format!("[{event}]")
    } else if line.contains(ID) {
        conversation
    } else {
        format!(r#"{{"interactions":[{conversation}],"hasMore":true,"nextCursor":"c","prevCursor":null}}"#)
    }
}
