//! `GET /v1/conversations/{id}` and `…/events`.

use axum::{
    extract::{RawQuery, State},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Value, value::RawValue};

use super::{
    Public,
    asked::Asked,
    auth::{Caller, Reach, not_theirs},
    handoff,
    openapi::{Errors, schema},
    path::Path,
    problem::{Code, FieldError, Problem},
    transcript,
};
use crate::{
    domain::{
        Timestamp,
        conversation::State as Standing,
        event::as_rfc3339,
        ids::{ConversationId, ConversationKey, FrontendName},
        shown::to_browser,
    },
    store::{FeedEntry, FeedPage, Most},
};

/// The most entries of one page.
pub(super) const MAX_PAGE: usize = 500;
pub(super) const DEFAULT_PAGE: usize = 100;
/// The most messages of a transcript.
const MAX_TRANSCRIPT: usize = 100;
const DEFAULT_TRANSCRIPT: usize = 20;
/// The most bytes of one page, unless one entry alone is larger.
pub(super) const PAGE_BYTES: usize = 1 << 20;

#[derive(Serialize)]
struct View<'a> {
    conversation_id: &'a ConversationId,
    state: Standing,
    status_text: Option<&'a str>,
    awaiting_customer: bool,
    handoff: handoff::View<'a>,
    interaction_id: Option<&'a str>,
    last_sequence: i64,
    read_sequence: i64,
    #[serde(serialize_with = "as_rfc3339")]
    created_at: Timestamp,
    #[serde(serialize_with = "as_rfc3339")]
    updated_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    transcript: Option<Vec<Value>>,
}

#[derive(Serialize)]
struct Page {
    events: Vec<Box<RawValue>>,
    last_sequence: i64,
    has_more: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    reset: bool,
}

/// Returns one conversation.
#[utoipa::path(
    get,
    path = "/v1/conversations/{conversation_id}",
    operation_id = "getConversation",
    tag = "Conversations",
    summary = "Where a conversation stands",
    description = "Its state, who may speak, how far its feed goes and how far the customer has read; with `with=transcript` also what was said last.",
    params(
        ("conversation_id" = String, Path, description = "The frontend's own id"),
        ("with" = Option<schema::With>, Query, description = "`transcript`: the latest messages too"),
        ("messages" = Option<i64>, Query, minimum = 1, description = "So many of them; 20 by default, never more than 100"),
    ),
    responses(
        (status = 200, description = "The conversation", body = schema::Conversation),
        (status = 429, description = "rate_limited", body = schema::ProblemBody, content_type = "application/problem+json"),
        Errors,
    ),
    security(("frontend_token" = []), ("browser_token" = []))
)]
pub async fn get(
    State(public): State<Public>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    asked: Asked,
) -> Result<Response, Problem> {
    let caller = authenticate(&public, &asked)?;
    let query = Query::parse(query.as_deref())?;
    let admitted = public.reads.admit(&caller)?;
    let id = own(&public, &caller, &id).await?;
    is_current(&public, &caller, &id).await?;
    let turn = public.reads.turn(caller.frontend()).await?;
    let found = public.store.conversation(caller.frontend(), &id).await?.ok_or_else(no_conversation)?;
    let transcript = if query.with_transcript {
        let messages = query.messages.unwrap_or(DEFAULT_TRANSCRIPT).min(MAX_TRANSCRIPT);
        let words = public.store.words(found.reference.key, messages).await?;
        Some(transcript::of(&words, caller.is_browser()))
    } else {
        None
    };
    drop(turn);
    let view = View {
        conversation_id: &id,
        state: found.state,
        status_text: found.status_text.as_deref(),
        awaiting_customer: found.awaiting_customer,
        handoff: handoff::View::of(&found.handoff),
        interaction_id: found.interaction.as_ref().map(crate::domain::ids::InteractionId::as_str),
        last_sequence: found.last_sequence,
        read_sequence: found.read_sequence,
        created_at: found.created_at,
        updated_at: found.updated_at,
        transcript,
    };
    Ok(admitted.until_taken(axum::Json(view).into_response()))
}

/// Returns a page of a conversation's feed.
#[utoipa::path(
    get,
    path = "/v1/conversations/{conversation_id}/events",
    operation_id = "getEvents",
    tag = "Conversations",
    summary = "Read the feed",
    description = "Everything that happened in the conversation, each once, under numbers without gaps. A browser is shown `hidden` in place of what is not for it.",
    params(
        ("conversation_id" = String, Path, description = "The frontend's own id"),
        ("after" = Option<i64>, Query, minimum = 0, description = "Only events with a higher sequence"),
        ("limit" = Option<i64>, Query, minimum = 1, description = "At most so many; 100 by default, never more than 500, and never more than about 1 MiB of them"),
    ),
    responses(
        (status = 200, description = "A part of the feed, oldest first", body = schema::FeedPage),
        (status = 429, description = "rate_limited", body = schema::ProblemBody, content_type = "application/problem+json"),
        Errors,
    ),
    security(("frontend_token" = []), ("browser_token" = []))
)]
pub async fn events(
    State(public): State<Public>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    asked: Asked,
) -> Result<Response, Problem> {
    let caller = authenticate(&public, &asked)?;
    let query = Query::parse(query.as_deref())?;
    if query.after_is_unreadable {
        return Err(
            Problem::new(Code::InvalidRequest).errors(vec![FieldError::new("after", "must be a sequence number")])
        );
    }
    let admitted = public.reads.admit(&caller)?;
    let id = own(&public, &caller, &id).await?;
    is_current(&public, &caller, &id).await?;
    let limit = query.limit.unwrap_or(DEFAULT_PAGE).min(MAX_PAGE);
    let after = query.after.unwrap_or(0);
    let most = Most { entries: limit, bytes: PAGE_BYTES };
    let Beginning { page, is_reset, .. } = match begin(&public, caller.frontend(), &id, after, most).await? {
        Some(beginning) => beginning,
        None => Beginning::of_unborn(&caller, after)?,
    };
    let show = |entry: FeedEntry| if caller.is_browser() { shown_to_browser(&entry) } else { entry };
    let bodies = page.entries.into_iter().map(|entry| show(entry).body);
    let events = bodies.filter_map(|body| RawValue::from_string(body).ok()).collect();
    let page = Page { events, last_sequence: page.last_sequence, has_more: page.has_more, reset: is_reset };
    Ok(admitted.until_taken(axum::Json(page).into_response()))
}

/// The beginning of reading a feed.
pub(super) struct Beginning {
    /// The conversation, once it has begun.
    pub(super) key: Option<ConversationKey>,
    pub(super) page: FeedPage,
    /// True if the position lay beyond the feed, which was restored, or erased and begun again: it is read from 1.
    pub(super) is_reset: bool,
}

impl Beginning {
    /// Returns the beginning of a conversation that does not exist yet: nothing, for the browser that will own it.
    pub(super) fn of_unborn(caller: &Caller, after: i64) -> Result<Self, Problem> {
        match caller {
            Caller::Server(_) => Err(no_conversation()),
            Caller::Browser { .. } => Ok(Self { key: None, page: FeedPage::default(), is_reset: after > 0 }),
        }
    }
}

/// Returns an event as a browser sees it.
pub(super) fn shown_to_browser(entry: &FeedEntry) -> FeedEntry {
    let shown = to_browser(&entry.kind, &entry.body, entry.sequence);
    FeedEntry { sequence: entry.sequence, kind: shown.kind.into_owned(), body: shown.body.into_owned() }
}

/// Reads the first page after a position that a reader remembers; `None` if there is no such conversation.
pub(super) async fn begin(
    public: &Public,
    frontend: &FrontendName,
    id: &ConversationId,
    after: i64,
    most: Most,
) -> Result<Option<Beginning>, Problem> {
    let _turn = public.reads.turn(frontend).await?;
    let Some((key, page)) = public.store.feed(frontend, id, after, most).await? else { return Ok(None) };
    if after <= page.last_sequence {
        return Ok(Some(Beginning { key: Some(key), page, is_reset: false }));
    }
    let again = public.store.feed(frontend, id, 0, most).await?;
    Ok(again.map(|(key, page)| Beginning { key: Some(key), page, is_reset: true }))
}

/// Finds the caller.
pub(super) fn authenticate(public: &Public, asked: &Asked) -> Result<Caller, Problem> {
    public.frontends.current().by_headers(asked, public.wall.now())
}

/// Refuses a browser's token that is older than the erasure of its conversation: a new conversation under the same id is
/// another one, and perhaps another person's.
pub(super) async fn is_current(public: &Public, caller: &Caller, id: &ConversationId) -> Result<(), Problem> {
    let Caller::Browser { frontend, claims } = caller else { return Ok(()) };
    let erased_at = {
        let _turn = public.reads.turn(frontend).await?;
        public.store.erased_at(frontend, id).await?
    };
    match erased_at {
        Some(erased_at) if claims.iat <= erased_at.as_secs() => {
            Err(Problem::new(Code::Unauthorized).detail("the token is older than the erasure of its conversation"))
        }
        _ => is_of_present_person(public, caller).await,
    }
}

/// Refuses a browser's token that is older than the erasure of its user: nobody wants what it would begin.
pub(super) async fn is_of_present_person(public: &Public, caller: &Caller) -> Result<(), Problem> {
    let Caller::Browser { frontend, claims } = caller else { return Ok(()) };
    let Some(user) = claims.sub.as_deref() else { return Ok(()) };
    let _turn = public.reads.turn(frontend).await?;
    match public.store.person_erased_at(frontend, user).await? {
        Some(erased_at) if claims.iat <= erased_at.as_secs() => {
            Err(Problem::new(Code::Unauthorized).detail("the token is older than the erasure of its user"))
        }
        _ => Ok(()),
    }
}

/// Returns the conversation's id, if the caller may read it. An impossible id is simply not found; a browser gets one
/// answer for every id that is not its own.
pub(super) async fn own(public: &Public, caller: &Caller, id: &str) -> Result<ConversationId, Problem> {
    let parsed = ConversationId::parse(id);
    let id = match (parsed, caller.reach()) {
        (Ok(id), Reach::All) => id,
        (Err(_), Reach::All) => return Err(no_conversation()),
        (Ok(id), Reach::Conversation(own)) if own == id.as_str() => id,
        (Ok(id), Reach::User(user)) => {
            let _turn = public.reads.turn(caller.frontend()).await?;
            let found = public.store.conversation(caller.frontend(), &id).await?;
            if found.is_none_or(|found| found.person.as_deref() != Some(user)) {
                return Err(not_theirs());
            }
            id
        }
        (_, Reach::Conversation(_) | Reach::User(_)) => return Err(not_theirs()),
    };
    let span = tracing::Span::current();
    span.record("frontend", caller.frontend().as_str());
    span.record("conversation_id", id.as_str());
    Ok(id)
}

pub(super) fn no_conversation() -> Problem {
    Problem::new(Code::NotFound).detail("there is no such conversation")
}

/// The query of reads and streams.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) after: Option<i64>,
    /// True for an `after` that is no position. A stream begins at the first event then, as with such a `Last-Event-ID`:
    /// readers that remember nothing yet write `after=` or `after=undefined`, and give up where they are refused.
    after_is_unreadable: bool,
    pub(super) limit: Option<usize>,
    pub(super) access_token: Option<String>,
    pub(super) upstream: bool,
    with_transcript: bool,
    messages: Option<usize>,
}

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let mut parsed = Self::default();
        let mut errors = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match name.as_ref() {
                "after" => match value.parse() {
                    Ok(after) if after >= 0 => parsed.after = Some(after),
                    _ => parsed.after_is_unreadable = true,
                },
                "limit" => match value.parse::<i64>() {
                    Ok(limit) if limit > 0 => parsed.limit = Some(usize::try_from(limit).unwrap_or(MAX_PAGE)),
                    _ => errors.push(FieldError::new("limit", format!("must be 1 to {MAX_PAGE}"))),
                },
                "access_token" => parsed.access_token = Some(value.into_owned()),
                "with" if value == "transcript" => parsed.with_transcript = true,
                "with" => errors.push(FieldError::new("with", "must be `transcript`")),
                "messages" => match value.parse::<i64>() {
                    Ok(messages) if messages > 0 => {
                        parsed.messages = Some(usize::try_from(messages).unwrap_or(MAX_TRANSCRIPT));
                    }
                    _ => errors.push(FieldError::new("messages", format!("must be 1 to {MAX_TRANSCRIPT}"))),
                },
                "upstream" => parsed.upstream = flag("upstream", &value, &mut errors),
                _ => {}
            }
        }
        if errors.is_empty() { Ok(parsed) } else { Err(Problem::new(Code::InvalidRequest).errors(errors)) }
    }
}

fn flag(field: &'static str, value: &str, errors: &mut Vec<FieldError>) -> bool {
    match value {
        "true" | "1" => true,
        "false" | "0" => false,
        _ => {
            errors.push(FieldError::new(field, "must be true or false"));
            false
        }
    }
}
