//! `GET /v1/events`: the log of a frontend over all its conversations, page by page.
//!
//! This module parses the request for both pages and the stream ([`super::log_stream`]).

use std::time::Duration;

use axum::{
    extract::{RawQuery, State},
    http::HeaderValue,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{
    Public,
    asked::Asked,
    conversations::{DEFAULT_PAGE, MAX_PAGE, PAGE_BYTES, authenticate},
    openapi::{Errors, schema},
    prefer,
    problem::{Code, FieldError, Problem},
};
use crate::{
    domain::{
        Timestamp,
        ids::{ConversationId, ConversationKey, FrontendName},
        log::{LogCursor, TypeFilter},
    },
    store::{LogPage, LogQuery, LogRead, LogStart, Most, Topic},
};

#[derive(Serialize)]
struct Page {
    events: Vec<Box<RawValue>>,
    next_cursor: String,
    has_more: bool,
}

/// Returns a page of the log.
#[utoipa::path(
    get,
    path = "/v1/events",
    operation_id = "getLog",
    tag = "Log",
    summary = "Read the log of the frontend",
    description = "Every event of the frontend over all its conversations, in the order in which they became durable: the same \
        objects as in the feeds, each once. `next_cursor` goes on behind what was looked at, also where nothing matched; it is good \
        on every replica and after restarts, for as long as `store.retention` keeps what stands behind it. An erased conversation \
        is told as `conversation.erased`, which names the hash of its id, and its events are gone. A frontend's token only.",
    params(
        ("after" = Option<String>, Query, description = "Go on from this cursor; without it the page begins at the oldest event that is kept"),
        ("since" = Option<String>, Query, format = DateTime, description = "Begin at this time (RFC 3339); not together with `after`"),
        ("type" = inline(Option<schema::TypePattern>), Query, description = "Only these types: `*`, `conversation.*` or full types; may be repeated, or several with commas"),
        ("conversation_id" = Option<String>, Query, pattern = "^[A-Za-z0-9._~:@+=-]{1,200}$", description = "Only this conversation"),
        ("limit" = Option<i64>, Query, minimum = 1, description = "At most so many; 100 by default, never more than 500, and never more than about 1 MiB of them"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: where nothing is there yet, wait for the next event, N ≤ 60 seconds"),
    ),
    responses(
        (status = 200, description = "A part of the log, oldest first", body = schema::LogPage),
        (status = 400, description = "invalid_cursor", body = schema::ProblemBody, content_type = "application/problem+json"),
        (status = 410, description = "cursor_expired, with `oldest_cursor`", body = schema::ProblemBody, content_type = "application/problem+json"),
        Errors,
    ),
    security(("frontend_token" = []))
)]
pub async fn get(State(public): State<Public>, RawQuery(query): RawQuery, asked: Asked) -> Result<Response, Problem> {
    let frontend = authenticate(&public, &asked)?.server_only()?;
    tracing::Span::current().record("frontend", frontend.as_str());
    let patience = prefer::wait(&asked.headers)?;
    let wish = Wish::parse(query.as_deref())?;
    if wish.after_is_empty {
        return Err(invalid_cursor());
    }
    // Followed before it is read, so that no event is missed in between.
    let mut follower = public.store.changes().follow(ConversationKey::log(&frontend), Topic::Feed);
    let most = Most { entries: wish.limit, bytes: PAGE_BYTES };
    let mut query = wish.query(&public, &frontend, LogStart::Oldest, most).await?;
    let deadline = Instant::now() + patience.unwrap_or_default();
    let page = loop {
        let page = read(&public, &query).await?;
        if !page.entries.is_empty() || page.has_more || patience.is_none() {
            break page;
        }
        query.after = page.reached;
        let woken = tokio::select! {
            biased;
            () = public.stop.soft().cancelled() => false,
            () = tokio::time::sleep_until(deadline) => false,
            () = follower.next() => true,
        };
        if !woken {
            break page;
        }
    };
    let events = page.entries.into_iter().filter_map(|entry| RawValue::from_string(entry.body).ok()).collect();
    let page = Page { events, next_cursor: page.reached.to_string(), has_more: page.has_more };
    let mut response = axum::Json(page).into_response();
    if let Some(applied) = patience.and_then(applied) {
        response.headers_mut().insert("preference-applied", applied);
    }
    Ok(response)
}

fn applied(patience: Duration) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("wait={}", patience.as_secs())).ok()
}

/// Reads one page, or says why the cursor is of no use.
pub(super) async fn read(public: &Public, query: &LogQuery) -> Result<LogPage, Problem> {
    let _turn = public.reads.turn(&query.frontend).await?;
    match public.store.log(query).await? {
        LogRead::Page(page) => Ok(page),
        LogRead::Unknown => Err(invalid_cursor()),
        LogRead::Expired { oldest } => {
            let detail = "events behind this cursor are kept no longer; nothing is missing from oldest_cursor on";
            Err(Problem::new(Code::CursorExpired).detail(detail).oldest_cursor(oldest.to_string()))
        }
    }
}

fn invalid_cursor() -> Problem {
    Problem::new(Code::InvalidCursor).detail("this log never gave that cursor; begin again without one, or with since")
}

/// A parsed request for a part of the log.
#[derive(Debug, Default)]
pub(super) struct Wish {
    pub(super) after: Option<LogCursor>,
    /// True for an empty `after=`: a stream's reader that remembers nothing yet may send it.
    after_is_empty: bool,
    since: Option<Timestamp>,
    types: TypeFilter,
    conversation: Option<ConversationId>,
    limit: usize,
}

impl Wish {
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let mut wish = Self { limit: DEFAULT_PAGE, ..Self::default() };
        let mut errors = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match name.as_ref() {
                "after" if value.is_empty() => wish.after_is_empty = true,
                "after" => wish.after = Some(LogCursor::parse(&value).ok_or_else(invalid_cursor)?),
                "since" => match value.parse::<jiff::Timestamp>() {
                    Ok(at) => wish.since = Some(Timestamp::from_millis(at.as_millisecond())),
                    Err(_) => errors.push(FieldError::new("since", "must be a time as RFC 3339 writes it")),
                },
                "type" => {
                    if let Err(message) = wish.types.add(&value) {
                        errors.push(FieldError::new("type", message));
                    }
                }
                "conversation_id" => match ConversationId::parse(&value) {
                    Ok(id) => wish.conversation = Some(id),
                    Err(error) => errors.push(FieldError::new("conversation_id", error.to_string())),
                },
                "limit" => match value.parse::<i64>() {
                    Ok(limit) if limit > 0 => wish.limit = usize::try_from(limit).unwrap_or(MAX_PAGE).min(MAX_PAGE),
                    _ => errors.push(FieldError::new("limit", format!("must be 1 to {MAX_PAGE}"))),
                },
                _ => {}
            }
        }
        if wish.after.is_some() && wish.since.is_some() {
            errors.push(FieldError::new("since", "cannot stand beside after"));
        }
        if errors.is_empty() { Ok(wish) } else { Err(Problem::new(Code::InvalidRequest).errors(errors)) }
    }

    /// Returns the query that goes on from the cursor, or begins at `otherwise` if none is given.
    pub(super) async fn query(
        self,
        public: &Public,
        frontend: &FrontendName,
        otherwise: LogStart,
        most: Most,
    ) -> Result<LogQuery, Problem> {
        let after = if let Some(after) = self.after {
            after
        } else {
            let _turn = public.reads.turn(frontend).await?;
            let start = self.since.map_or(otherwise, LogStart::Since);
            public.store.log_start(frontend, start).await?
        };
        let Self { types, conversation, .. } = self;
        Ok(LogQuery { frontend: frontend.clone(), after, types, conversation, most })
    }
}
