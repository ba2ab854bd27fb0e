//! `GET /v1/conversations/{id}/stream`: the feed as server-sent events (HTML Living Standard, "Server-sent events").
//!
//! A stream reads the feed again and again from where it left off; the change feed only says when. So nothing is lost or
//! doubled over reconnects, restarts and replicas, and a slow reader costs a page of memory, never a queue.
//!
//! Its bytes are a contract with many kinds of readers: `id` is the last field of an event, so that half an event never
//! counts as read, and no blank line comes without data before it, since some readers dispatch at each.
//!
//! Between the events come hints: that Fini is asked (`turn.started`), that an answer is late (`turn.delayed`), how far the
//! customer has read (`read.updated`). A hint is no event: it has no `id`, so a reader resumes as if it had never been, and
//! it is stored nowhere.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{RawQuery, State},
    http::{HeaderValue, header},
    response::Response,
};
use futures_util::stream;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Public,
    asked::Asked,
    auth::{Caller, Frontends},
    conversations::{Beginning, Query, authenticate, begin, is_current, own, shown_to_browser},
    openapi::{Errors, schema},
    path::Path,
    problem::{Code, Problem},
    reads::Reads,
    server::EndsAt,
};
use crate::{
    domain::{
        Clock, Timestamp, WallClock, WallTime,
        delay::{PATIENCE, delay, told_next},
        ids::{ConversationId, ConversationKey, FrontendName, MessageId},
    },
    service::waits::Waits,
    signature::token::CLOCK_SKEW_SECS,
    store::{Follower, Most, Store, Topic, Unanswered},
};

/// Comment lines keep proxies from closing a quiet stream. The stream also looks for itself this often.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);
/// The size of one read, and so of the memory that a stalled reader holds.
pub(super) const PAGE: Most = Most { entries: 100, bytes: 128 * 1024 };
/// Time for which a stream may still wait for its reader after the token's end. One that waits for nothing ends by itself.
const END_MARGIN: Duration = Duration::from_millis(500);

/// The open streams, counted per frontend and per address.
#[derive(Debug, Default)]
pub struct Streams {
    per_frontend: usize,
    per_address: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    frontends: HashMap<FrontendName, usize>,
    addresses: HashMap<IpAddr, usize>,
}

impl Streams {
    /// Allows at most so many streams.
    pub fn new(per_frontend: usize, per_address: usize) -> Self {
        Self { per_frontend, per_address, open: Mutex::default() }
    }

    pub(super) fn open(self: &Arc<Self>, frontend: &FrontendName, address: Option<IpAddr>) -> Result<Opened, Problem> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let full = open.frontends.get(frontend).is_some_and(|count| *count >= self.per_frontend)
            || address
                .is_some_and(|address| open.addresses.get(&address).is_some_and(|count| *count >= self.per_address));
        if full {
            return Err(Problem::new(Code::TooManyStreams).retry_after(Duration::from_secs(5)));
        }
        *open.frontends.entry(frontend.clone()).or_default() += 1;
        if let Some(address) = address {
            *open.addresses.entry(address).or_default() += 1;
        }
        Ok(Opened { streams: Arc::clone(self), frontend: frontend.clone(), address })
    }
}

/// One open stream, counted until it is dropped.
pub(super) struct Opened {
    streams: Arc<Streams>,
    frontend: FrontendName,
    address: Option<IpAddr>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        decrement(&mut open.frontends, &self.frontend);
        if let Some(address) = &self.address {
            decrement(&mut open.addresses, address);
        }
    }
}

fn decrement<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Streams the feed.
#[utoipa::path(
    get,
    path = "/v1/conversations/{conversation_id}/stream",
    operation_id = "streamEvents",
    tag = "Conversations",
    summary = "The feed as server-sent events",
    description = "`id:` is the sequence, `event:` the type, `data:` the feed event. A comment every 15 s keeps it alive. \
        Hints stand between, without an `id`, each told once or not at all: `turn.started`, `data:` `{\"message_id\": …}`, when \
        Fini is asked; `turn.delayed`, `data:` `{\"message_id\": …, \"expected_at\": …}`, when an answer has not come after 5 s, \
        and again when the estimate has doubled; `typing`, `data:` `{\"author\": …}`; `read.updated`, `data:` `{\"sequence\": …}`, \
        how far the customer has read, when that moves and when the stream begins.",
    params(
        ("conversation_id" = String, Path, description = "The frontend's own id"),
        ("after" = Option<i64>, Query, minimum = 0, description = "Begin after this sequence"),
        ("access_token" = Option<String>, Query, description = "A browser token, for `EventSource`, which cannot set headers"),
        ("Last-Event-ID" = Option<String>, Header, description = "Resume after this sequence"),
    ),
    responses(
        (status = 200, description = "The stream", body = String, content_type = "text/event-stream"),
        (status = 429, description = "too_many_streams, rate_limited", body = schema::ProblemBody, content_type = "application/problem+json"),
        Errors,
    ),
    security(("frontend_token" = []), ("browser_token" = []), ("access_token" = []))
)]
pub async fn get(
    State(public): State<Public>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    asked: Asked,
) -> Result<Response, Problem> {
    let query = Query::parse(query.as_deref())?;
    let caller = match &query.access_token {
        // EventSource cannot set headers. A frontend's own token lasts too long to stand in an address.
        Some(token) if Frontends::takes_query_token(&asked.headers) => {
            public.frontends.current().by_browser_token(token, &asked, public.wall.now())?
        }
        _ => authenticate(&public, &asked)?,
    };
    drop(public.reads.admit(&caller)?);
    let id = own(&public, &caller, &id).await?;
    is_current(&public, &caller, &id).await?;
    if public.stop.is_stopping() {
        return Err(Problem::new(Code::ShuttingDown).retry_after(Duration::from_secs(1)));
    }
    let resumed = asked.headers.get("last-event-id").and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let after = resumed.or(query.after).filter(|_| !mutated!("the stream forgets its place")).unwrap_or(0);
    let frontend = caller.frontend().clone();
    let Beginning { key, page, is_reset } = match begin(&public, &frontend, &id, after, PAGE).await? {
        Some(beginning) => beginning,
        None => Beginning::of_unborn(&caller, after)?,
    };
    let followed = key.unwrap_or_else(|| ConversationKey::unborn(&frontend, &id));
    let follower = public.store.changes().follow(followed, Topic::Feed);
    let opened = public.streams.open(&frontend, asked.address)?;
    let expires = match &caller {
        Caller::Browser { claims, .. } => Some(Instant::now() + left(claims.exp, public.wall.now())),
        Caller::Server(_) => None,
    };
    let mut feed = Feed {
        store: Arc::clone(&public.store),
        reads: Arc::clone(&public.reads),
        waits: Arc::clone(&public.waits),
        stop: public.stop.soft().clone(),
        frontend,
        id,
        key,
        read_sequence: 0,
        follower,
        is_browser: caller.is_browser(),
        after: if is_reset { 0 } else { after },
        ready: VecDeque::from([Bytes::from_static(b"retry: 2000\n")]),
        has_more: false,
        expires,
        beat: Instant::now() + HEARTBEAT,
        clock: Arc::clone(&public.clock),
        wall: Arc::clone(&public.wall),
        hinted: Vec::new(),
        typings: 0,
        hint_at: None,
        _opened: opened,
    };
    if is_reset {
        let reset = json!({
            "id": null, "type": "feed.reset", "timestamp": public.wall.now().point().to_string(),
            "frontend": feed.frontend.as_str(), "conversation_id": feed.id.as_str(), "interaction_id": null, "data": {},
        });
        feed.ready.push_back(Bytes::from(format!("event: feed.reset\ndata: {reset}\n\n")));
    }
    feed.take(page);
    // Events that were recorded before this stream followed, and after it was read, are found by reading again.
    feed.has_more = true;
    let body = Body::from_stream(stream::unfold(feed, |mut feed| async move {
        let chunk = feed.next().await?;
        Some((Ok::<_, Infallible>(chunk), feed))
    }));
    let mut response = as_event_stream(body);
    if let Some(expires) = expires {
        response.extensions_mut().insert(EndsAt(expires + END_MARGIN));
    }
    Ok(response)
}

/// Makes the response for a stream of events.
pub(super) fn as_event_stream(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    // nginx buffers responses unless it is told not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Returns how long a token that ends at `exp` is good for a stream. One that is valid only by the skew of the clocks is
/// good until that is over.
fn left(exp: i64, now: WallTime) -> Duration {
    let end = if exp > now.as_secs() { exp } else { exp + CLOCK_SKEW_SECS };
    Duration::from_millis(u64::try_from(end.saturating_mul(1000).saturating_sub(now.as_millis())).unwrap_or(0))
}

/// The position of a stream. There are thousands, so it holds no more than it needs while it waits.
struct Feed {
    store: Arc<dyn Store>,
    reads: Arc<Reads>,
    waits: Arc<Waits>,
    stop: CancellationToken,
    frontend: FrontendName,
    id: ConversationId,
    /// The conversation, once it has begun.
    key: Option<ConversationKey>,
    /// The customer's read mark, as last sent.
    read_sequence: i64,
    follower: Follower,
    /// True if a browser reads, which sees less.
    is_browser: bool,
    after: i64,
    ready: VecDeque<Bytes>,
    /// True if there may be more to read than was read.
    has_more: bool,
    expires: Option<Instant>,
    beat: Instant,
    clock: Arc<dyn Clock>,
    wall: Arc<dyn WallClock>,
    /// The hints sent about messages that are not answered yet.
    hinted: Vec<Hinted>,
    /// Number of hints sent that an agent is writing.
    typings: u64,
    /// Time of the next hint, unless something happens before.
    hint_at: Option<Instant>,
    _opened: Opened,
}

/// The hints sent about one message.
struct Hinted {
    message: MessageId,
    is_started: bool,
    /// The estimate for the answer that was sent last.
    told: Option<Duration>,
}

enum Woken {
    Told,
    Quiet,
    End,
}

impl Feed {
    /// Returns the next piece of the stream; `None` ends it.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.expires.is_some_and(|expires| expires <= Instant::now()) {
                return None;
            }
            if let Some(chunk) = self.ready.pop_front() {
                self.beat = Instant::now() + HEARTBEAT;
                return Some(chunk);
            }
            // A page that has been sent leaves nothing behind.
            self.ready = VecDeque::new();
            let woken = if self.has_more { Woken::Told } else { self.wait().await };
            match woken {
                Woken::Told => self.read().await?,
                Woken::Quiet => {
                    // A change that was missed is found here.
                    self.read().await?;
                    self.ready.push_back(Bytes::from_static(b": heartbeat\n"));
                }
                Woken::End => return None,
            }
        }
    }

    async fn wait(&mut self) -> Woken {
        let (at, then) = match self.expires {
            Some(expires) if expires <= self.beat => (expires, Woken::End),
            _ => (self.beat, Woken::Quiet),
        };
        let (at, then) = match self.hint_at {
            Some(hint_at) if hint_at < at => (hint_at, Woken::Told),
            _ => (at, then),
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Woken::End,
            () = tokio::time::sleep_until(at) => then,
            () = self.follower.next() => Woken::Told,
        }
    }

    /// Reads on. `None` if the conversation or the store is gone: the reader comes back by itself.
    async fn read(&mut self) -> Option<()> {
        let _turn = self.reads.turn(&self.frontend).await.ok()?;
        let found = self.store.feed(&self.frontend, &self.id, self.after, PAGE).await.ok()?;
        match (self.key, found) {
            (Some(own), Some((key, page))) if own == key => {
                let read_sequence = page.read_sequence;
                self.take(page);
                self.hint_at_reading(read_sequence);
                self.hint(key).await;
                Some(())
            }
            (None, Some((key, page))) => {
                self.key = Some(key);
                self.follower = self.store.changes().follow(key, Topic::Feed);
                self.typings = 0;
                self.take(page);
                // Events that were recorded after it was read, and before it was followed, are found by reading again.
                self.has_more = true;
                Some(())
            }
            (None, None) => {
                self.has_more = false;
                Some(())
            }
            (Some(_), _) => None,
        }
    }

    /// Hints at the read mark if it moved; a stream that begins gets its present position.
    fn hint_at_reading(&mut self, read_sequence: i64) {
        if !self.has_more && read_sequence > self.read_sequence {
            self.read_sequence = read_sequence;
            self.push_hint("read.updated", &json!({ "sequence": read_sequence }));
        }
    }

    /// Hints at answers under way and late ones, behind everything that is in the feed. Without an estimate nothing is
    /// sent.
    async fn hint(&mut self, key: ConversationKey) {
        if self.has_more {
            return;
        }
        self.hint_at = None;
        let typings = self.follower.typings();
        if typings > self.typings {
            self.typings = typings;
            self.push_hint("typing", &json!({ "author": "agent" }));
        }
        let unanswered = self.store.unanswered(key).await.unwrap_or_default();
        let now = self.clock.now();
        let before = std::mem::take(&mut self.hinted);
        for open in &unanswered {
            let &Unanswered { is_sent, accepted_at, .. } = open;
            let known = before.iter().find(|hinted| hinted.message == open.message);
            if is_sent && known.is_none_or(|hinted| !hinted.is_started) {
                self.push_hint("turn.started", &json!({ "message_id": open.message.as_str() }));
            }
            let mut told = known.and_then(|hinted| hinted.told);
            if now.since(accepted_at) >= PATIENCE {
                let reckoned = if is_sent { None } else { self.reckoned(key, &unanswered, &open.message).await };
                if let Some(delay) = delay(accepted_at, now, told, reckoned) {
                    told = Some(delay.estimate);
                    let expected_at = self.wall.now().point().plus(delay.expected_at.since(now)).to_string();
                    let data = json!({ "message_id": open.message.as_str(), "expected_at": expected_at });
                    self.push_hint("turn.delayed", &data);
                }
            }
            let next = Instant::now() + told_next(accepted_at, now, !is_sent).since(now);
            self.hint_at = Some(self.hint_at.map_or(next, |at| at.min(next)));
            self.hinted.push(Hinted { message: open.message.clone(), is_started: is_sent, told });
        }
    }

    /// Returns when the answer to a message that waits to be sent is expected.
    async fn reckoned(
        &self,
        key: ConversationKey,
        unanswered: &[Unanswered],
        message: &MessageId,
    ) -> Option<Timestamp> {
        let sent_at = self.waits.expected_of(&self.frontend, key, unanswered, message).await?;
        Some(sent_at.plus(self.waits.usual_reply()))
    }

    fn push_hint(&mut self, event: &str, data: &serde_json::Value) {
        self.ready.push_back(Bytes::from(format!("event: {event}\ndata: {data}\n\n")));
    }

    fn take(&mut self, page: crate::store::FeedPage) {
        self.has_more = page.has_more;
        for entry in page.entries {
            self.after = entry.sequence;
            let entry = if self.is_browser { shown_to_browser(&entry) } else { entry };
            // The id comes last: readers take it as soon as its line is there, and a cut before it loses nothing.
            let chunk = format!("event: {}\ndata: {}\nid: {}\n\n", entry.kind, entry.body, entry.sequence);
            self.ready.push_back(Bytes::from(chunk));
        }
    }
}
