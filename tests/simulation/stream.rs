//! A customer who follows the stream, and comes back when it breaks off.

use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt as _;
use http::Request;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    host::Door,
    plan::Talk,
    world::{TOKEN, World, lock},
};

/// An event as the stream showed it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub id: i64,
    pub data: Value,
}

/// Follows a conversation's stream for so long.
pub async fn follow(world: &World, talk: Talk, stay: Duration) {
    let until = Instant::now() + stay;
    let mut last = 0;
    while Instant::now() < until {
        let request = Request::builder()
            .uri(format!("/v1/conversations/{}/stream", talk.id()))
            .header("authorization", format!("Bearer {TOKEN}-{}", talk.frontend()))
            .header("last-event-id", last.to_string())
            .body(Body::empty());
        let Ok(request) = request else { return };
        if let Ok((response, dead)) = world.host.open(Door::Public, request).await
            && response.status().is_success()
        {
            let mut body = response.into_body().into_data_stream();
            let mut text = String::new();
            loop {
                let next = tokio::select! {
                    biased;
                    () = dead.cancelled() => break,
                    next = timeout_at(until, body.next()) => next,
                };
                let Ok(Some(Ok(chunk))) = next else { break };
                text.push_str(&String::from_utf8_lossy(&chunk));
                while let Some((event, rest)) = text.split_once("\n\n") {
                    if let Some(seen) = parse(event) {
                        last = seen.id;
                        lock(&world.streamed).entry(talk).or_default().push(seen);
                    }
                    text = rest.to_owned();
                }
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
}

fn parse(event: &str) -> Option<Seen> {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let data = serde_json::from_str(field("data")?).unwrap_or(Value::Null);
    Some(Seen { id: field("id")?.parse().ok()?, data })
}
