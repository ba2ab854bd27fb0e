//! The frontend's callback endpoint, and the stream that shows the page what came in.
//!
//! It behaves as a good receiver should: verifies the signature over the raw bytes before anything else, answers at once,
//! and refuses what it cannot verify. It can be switched off, to watch the bridge retry in order.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Demo;
use super::inbox::{Arrival, Inbox, WebhookHeaders};
use super::verify;
use crate::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP};

/// Time between two signs of life on an idle stream.
const HEARTBEAT: Duration = Duration::from_secs(15);

pub(super) async fn receive(State(demo): State<Demo>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let now = demo.settings.wall.now();
    let verdict = verify::callback(&demo.settings.callback_secrets, &headers, &body, now);
    let header = |name| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let headers = WebhookHeaders {
        id: header(HEADER_ID),
        timestamp: header(HEADER_TIMESTAMP),
        signature: header(HEADER_SIGNATURE),
    };
    let status = match (&verdict, demo.inbox.working()) {
        (_, false) => StatusCode::SERVICE_UNAVAILABLE,
        (Err(_), true) => StatusCode::UNAUTHORIZED,
        (Ok(()), true) => StatusCode::NO_CONTENT,
    };
    let event: Option<Value> = serde_json::from_slice(&body).ok();
    let conversation = event.as_ref().and_then(|event| event["conversation_id"].as_str());
    if let (Some(id), StatusCode::NO_CONTENT) = (conversation, status) {
        demo.known.called_back(id);
    }
    demo.inbox.push(Arrival {
        n: 0,
        received_at: now.to_string(),
        status: status.as_u16(),
        verified: verdict.is_ok(),
        reason: verdict.err().map(|refusal| refusal.to_string()),
        repeat: false,
        headers,
        body: event.is_none().then(|| String::from_utf8_lossy(&body).into_owned()),
        event,
    });
    status
}

/// The receiver's switch; false while it refuses callbacks.
#[derive(Serialize, Deserialize)]
pub(super) struct Switch {
    working: bool,
}

pub(super) async fn switch(State(demo): State<Demo>, Json(wanted): Json<Switch>) -> Json<Switch> {
    demo.inbox.set_working(wanted.working);
    Json(wanted)
}

/// The row after which to begin; a browser that reconnects says so in `Last-Event-ID` instead.
#[derive(Deserialize)]
pub(super) struct From {
    #[serde(default)]
    after: u64,
}

pub(super) async fn stream(
    State(demo): State<Demo>,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let resumed = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let newest = demo.inbox.newest();
    let start = Event::default().event("start").data(json!({ "newest": newest }).to_string());
    let reader = Reader {
        changes: demo.inbox.changes(),
        // A page may know more rows than there are: it is from before a restart, and `start` tells it so.
        at: resumed.unwrap_or(from.after).min(newest),
        inbox: demo.inbox,
        working: None,
        ready: VecDeque::from([start]),
        stopping: demo.settings.stopping.clone(),
    };
    let events = stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok(event), reader))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT))
}

/// One page's place in the inbox.
struct Reader {
    inbox: Arc<Inbox>,
    changes: watch::Receiver<()>,
    at: u64,
    working: Option<bool>,
    ready: VecDeque<Event>,
    stopping: CancellationToken,
}

impl Reader {
    /// Returns the next event for the page; `None` when the demo stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            self.changes.mark_unchanged();
            self.look();
            if self.ready.is_empty() {
                tokio::select! {
                    () = self.stopping.cancelled() => return None,
                    changed = self.changes.changed() => changed.ok()?,
                }
            }
        }
    }

    fn look(&mut self) {
        let working = self.inbox.working();
        if self.working.replace(working) != Some(working) {
            let data = json!({ "working": working }).to_string();
            self.ready.push_back(Event::default().event("receiver").data(data));
        }
        for row in self.inbox.after(self.at) {
            self.at = row.n;
            let event = Event::default().event("callback").id(row.n.to_string());
            // `Arrival` has string keys only, so it always serialises; a row that would not is left out.
            self.ready.extend(event.json_data(&*row));
        }
    }
}
