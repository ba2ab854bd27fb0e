//! Whoever follows the stream, and comes back when it breaks off: the frontend's server, or a customer's browser.

use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt as _;
use http::Request;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    host::Door,
    plan::Talk,
    world::{Who, World, lock},
};

/// An event as the stream showed it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub id: i64,
    pub data: Value,
}

/// Follows a conversation's stream for so long.
pub async fn follow(world: &World, talk: Talk, stay: Duration, is_browser: bool) {
    let until = Instant::now() + stay;
    let shown = if is_browser { &world.browsed } else { &world.streamed };
    let mut last = 0;
    while Instant::now() < until {
        // A token is short-lived, and is older than an erasure that came meanwhile.
        let who = if is_browser { world.browser(talk).await } else { Some(Who::Server) };
        let Some(who) = who else { return };
        let request = Request::builder()
            .uri(format!("/v1/conversations/{}/stream", talk.id()))
            .header("authorization", who.bearer(talk.frontend()))
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
                        lock(shown).entry(talk).or_default().push(seen);
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
