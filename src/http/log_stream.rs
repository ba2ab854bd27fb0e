//! `GET /v1/stream`: the log of a frontend as server-sent events.
//!
//! As with the stream of a conversation, the log is read again and again from where it was left off; the change feed only
//! says when. Many follow the same log, so changes in quick succession are read at once.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{RawQuery, State},
    response::Response,
};
use futures_util::stream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Public,
    asked::Asked,
    conversations::authenticate,
    log::{self, Wish},
    openapi::{Errors, schema},
    problem::{Code, Problem},
    stream::{HEARTBEAT, Opened, PAGE, as_event_stream},
};
use crate::{
    domain::{ids::ConversationKey, log::LogCursor},
    store::{Follower, LogPage, LogQuery, LogStart, Topic},
};

/// Events that come so soon after a read are read together.
const GATHERED: Duration = Duration::from_millis(100);

/// Streams the log.
#[utoipa::path(
    get,
    path = "/v1/stream",
    operation_id = "streamLog",
    tag = "Log",
    summary = "The log of the frontend as server-sent events",
    description = "`id:` is the cursor behind the event, `event:` the type, `data:` the feed event. A comment every 15 s keeps it \
        alive. Resumes from `Last-Event-ID` or `after`; without them, and without `since`, it begins now. A frontend's token only.",
    params(
        ("after" = Option<String>, Query, description = "Go on from this cursor"),
        ("since" = Option<String>, Query, format = DateTime, description = "Begin at this time (RFC 3339); not together with `after`"),
        ("type" = inline(Option<schema::TypePattern>), Query, description = "Only these types: `*`, `conversation.*` or full types; may be repeated, or several with commas"),
        ("conversation_id" = Option<String>, Query, pattern = "^[A-Za-z0-9._~:@+=-]{1,200}$", description = "Only this conversation"),
        ("Last-Event-ID" = Option<String>, Header, description = "Go on from this cursor; stands above `after`"),
    ),
    responses(
        (status = 200, description = "The stream", body = String, content_type = "text/event-stream"),
        (status = 400, description = "invalid_cursor", body = schema::ProblemBody, content_type = "application/problem+json"),
        (status = 410, description = "cursor_expired, with `oldest_cursor`", body = schema::ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "too_many_streams", body = schema::ProblemBody, content_type = "application/problem+json"),
        Errors,
    ),
    security(("frontend_token" = []))
)]
pub async fn get(State(public): State<Public>, RawQuery(query): RawQuery, asked: Asked) -> Result<Response, Problem> {
    let frontend = authenticate(&public, &asked)?.server_only()?;
    tracing::Span::current().record("frontend", frontend.as_str());
    let mut wish = Wish::parse(query.as_deref())?;
    if let Some(last) = asked.headers.get("last-event-id") {
        let last = last.to_str().unwrap_or_default().trim();
        // A reader that remembers nothing yet may send an empty one.
        if !last.is_empty() {
            let unknown = || Problem::new(Code::InvalidCursor).detail("Last-Event-ID is no cursor of this log");
            wish.after = Some(LogCursor::parse(last).ok_or_else(unknown)?);
        }
    }
    if public.stop.is_stopping() {
        return Err(Problem::new(Code::ShuttingDown).retry_after(Duration::from_secs(1)));
    }
    let follower = public.store.changes().follow(ConversationKey::log(&frontend), Topic::Feed);
    let query = wish.query(&public, &frontend, LogStart::End, PAGE).await?;
    let page = log::read(&public, &query).await?;
    let opened = public.streams.open(&frontend, asked.address)?;
    let mut reading = Reading {
        stop: public.stop.soft().clone(),
        public,
        query,
        follower,
        ready: VecDeque::from([Bytes::from_static(b"retry: 2000\n")]),
        has_more: false,
        read_at: Instant::now(),
        beat: Instant::now() + HEARTBEAT,
        _opened: opened,
    };
    reading.take(page);
    Ok(as_event_stream(Body::from_stream(stream::unfold(reading, |mut reading| async move {
        let chunk = reading.next().await?;
        Some((Ok::<_, Infallible>(chunk), reading))
    }))))
}

/// The position of a stream.
struct Reading {
    public: Public,
    stop: CancellationToken,
    query: LogQuery,
    follower: Follower,
    ready: VecDeque<Bytes>,
    has_more: bool,
    read_at: Instant,
    beat: Instant,
    _opened: Opened,
}

impl Reading {
    /// Returns the next piece of the stream; `None` ends it.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                self.beat = Instant::now() + HEARTBEAT;
                return Some(chunk);
            }
            self.ready = VecDeque::new();
            let mut is_quiet = false;
            if !self.has_more {
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return None,
                    () = tokio::time::sleep_until(self.beat) => is_quiet = true,
                    () = self.follower.next() => tokio::time::sleep_until(self.read_at + GATHERED).await,
                }
            }
            // If the log cannot be read, or was pruned beyond this reader, the reader comes back by itself and gets the
            // error.
            let page = log::read(&self.public, &self.query).await.ok()?;
            self.read_at = Instant::now();
            self.take(page);
            if is_quiet && self.ready.is_empty() {
                self.ready.push_back(Bytes::from_static(b": heartbeat\n"));
            }
        }
    }

    fn take(&mut self, page: LogPage) {
        self.has_more = page.has_more;
        self.query.after = page.reached;
        for entry in page.entries {
            // The id comes last: see the stream of a conversation.
            let chunk = format!("event: {}\ndata: {}\nid: {}\n\n", entry.kind, entry.body, entry.cursor);
            self.ready.push_back(Bytes::from(chunk));
        }
    }
}
