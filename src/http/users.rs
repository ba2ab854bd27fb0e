//! A frontend's users: tokens for all conversations of one, the list of them, and giving one an anonymous conversation.

use axum::{
    extract::{RawQuery, Request, State},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;

use super::{
    Public,
    asked::Asked,
    auth::{Caller, Reach},
    body,
    conversations::{authenticate, is_of_present_person, no_conversation},
    form::Form,
    openapi::{Errors, schema},
    path::Path,
    problem::{Code, FieldError, Problem},
    tokens::{Subject, Wish, minted},
};
use crate::{
    domain::{
        Timestamp,
        conversation::State as Standing,
        event::as_rfc3339,
        ids::{ConversationId, UserId},
        person::{Claim, LastMessage, Place},
    },
    store::Listed,
};

/// Conversations of one page.
const PAGE: usize = 50;
/// Bytes of the messages of one page, unless one alone is larger.
const PAGE_BYTES: usize = 1 << 20;

#[derive(Serialize)]
struct Page {
    conversations: Vec<Entry>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Entry {
    conversation_id: ConversationId,
    state: Standing,
    last_message: Option<LastMessage>,
    last_sequence: i64,
    read_sequence: i64,
    #[serde(serialize_with = "as_rfc3339")]
    updated_at: Timestamp,
}

#[derive(Serialize)]
struct Claimed<'a> {
    conversation_id: &'a ConversationId,
    user_id: &'a str,
}

/// Mints a user's token. The body is optional: `{"attributes"?, "origins"?, "ttl_seconds"?}`.
#[utoipa::path(
    post,
    path = "/v1/users/{user_id}/tokens",
    operation_id = "mintUserToken",
    tag = "Tokens",
    summary = "Mint a browser token for all conversations of one user, and for new ones",
    description = "For a logged-in customer's browser. It opens what is this user's, and begins new conversations.",
    params(("user_id" = String, Path, min_length = 1, max_length = 200, description = "The frontend's own id of the user; neither `.` nor `..`"),),
    request_body(content = Option<schema::UserTokenWish>),
    responses(
        (status = 200, description = "The token", body = schema::Token),
        (status = 409, description = "browser_tokens_disabled", body = schema::ProblemBody, content_type = "application/problem+json"),
        Errors,
    ),
    security(("frontend_token" = []))
)]
pub async fn post_token(
    State(public): State<Public>,
    Path(user): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (caller, body) = body::of_caller(&public, request).await?;
    let frontend = caller.server_only()?;
    let user = user_id(&user)?;
    minted(&public, &frontend, Subject::User(user), Wish::parse_for_user(&body)?).await
}

/// Lists a person's conversations.
#[utoipa::path(
    get,
    path = "/v1/users/{user_id}/conversations",
    operation_id = "listUserConversations",
    tag = "Users",
    summary = "A person's conversations, newest first",
    description = "With a server's token, or a browser's token of that user. A message counts as unread while its sequence is \
        above `read_sequence`. Conversations in which several users were named are nobody's, and in no list.",
    params(
        ("user_id" = String, Path, min_length = 1, max_length = 200, description = "The frontend's own id of the user; neither `.` nor `..`"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A part of the list", body = schema::UserConversations),
        (status = 429, description = "rate_limited", body = schema::ProblemBody, content_type = "application/problem+json"),
        Errors,
    ),
    security(("frontend_token" = []), ("browser_token" = []))
)]
pub async fn conversations(
    State(public): State<Public>,
    Path(user): Path<String>,
    RawQuery(query): RawQuery,
    asked: Asked,
) -> Result<Response, Problem> {
    let caller = authenticate(&public, &asked)?;
    let admitted = public.reads.admit(&caller)?;
    let user = may_list(&caller, &user)?;
    is_of_present_person(&public, &caller).await?;
    let behind = cursor(query.as_deref())?;
    let turn = public.reads.turn(caller.frontend()).await?;
    let (frontend, is_browser) = (caller.frontend(), caller.is_browser());
    let mut found =
        public.store.conversations_of(frontend, user.as_str(), behind.as_ref(), PAGE + 1, is_browser).await?;
    drop(turn);
    let fitting = fitting(&found);
    let has_more = found.len() > fitting;
    found.truncate(fitting);
    let next_cursor = found.last().filter(|_| has_more).map(|last| URL_SAFE_NO_PAD.encode(last.place.as_text()));
    let page = Page { conversations: found.into_iter().map(Entry::from).collect(), next_cursor };
    Ok(admitted.until_taken(axum::Json(page).into_response()))
}

impl From<Listed> for Entry {
    fn from(listed: Listed) -> Self {
        let Listed { id, state, last_message, last_sequence, read_sequence, updated_at, place: _ } = listed;
        Self { conversation_id: id, state, last_message, last_sequence, read_sequence, updated_at }
    }
}

/// Returns how many of the found conversations fit one page.
fn fitting(found: &[Listed]) -> usize {
    let mut bytes = 0_usize;
    let fits = found.iter().take(PAGE).take_while(|listed| {
        bytes = bytes.saturating_add(listed.last_message.as_ref().map_or(0, |last| last.text.len()));
        bytes <= PAGE_BYTES
    });
    fits.count().max(found.len().min(1))
}

/// Returns the user whose list this is, if the caller may read it. A browser gets one answer for all other users.
fn may_list(caller: &Caller, user: &str) -> Result<UserId, Problem> {
    match caller.reach() {
        Reach::All => user_id(user),
        Reach::User(own) if own == user => user_id(user),
        Reach::User(_) | Reach::Conversation(_) => {
            Err(Problem::new(Code::Forbidden).detail("the token is not one of this user"))
        }
    }
}

fn cursor(query: Option<&str>) -> Result<Option<Place>, Problem> {
    let given = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .find_map(|(name, value)| (name == "cursor").then(|| value.into_owned()));
    let Some(given) = given else { return Ok(None) };
    let decoded = URL_SAFE_NO_PAD.decode(given).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let place = decoded.as_deref().and_then(Place::parse).ok_or_else(|| Problem::new(Code::InvalidCursor))?;
    Ok(Some(place))
}

/// Gives an anonymous conversation to a user.
#[utoipa::path(
    post,
    path = "/v1/users/{user_id}/claim",
    operation_id = "claimConversation",
    tag = "Users",
    summary = "Give an anonymous conversation to a user",
    description = "On your backend's word, when an anonymous visitor has logged in. Repeating it changes nothing.",
    params(("user_id" = String, Path, min_length = 1, max_length = 200, description = "The frontend's own id of the user; neither `.` nor `..`"),),
    request_body(content = schema::ClaimWish),
    responses(
        (status = 200, description = "It is that user's", body = schema::Claimed),
        (status = 409, description = "of_another_user", body = schema::ProblemBody, content_type = "application/problem+json"),
        Errors,
    ),
    security(("frontend_token" = []))
)]
pub async fn claim(
    State(public): State<Public>,
    Path(user): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (caller, body) = body::of_caller(&public, request).await?;
    let frontend = caller.server_only()?;
    let user = user_id(&user)?;
    let conversation = claimed(&body)?;
    match public.store.claim_conversation(&frontend, user.as_str(), &conversation).await? {
        Some(Claim::Given | Claim::Known) => {
            let claimed = Claimed { conversation_id: &conversation, user_id: user.as_str() };
            Ok(axum::Json(claimed).into_response())
        }
        Some(Claim::Refused) => Err(Problem::new(Code::OfAnotherUser).detail("another user was named in it")),
        None => Err(no_conversation()),
    }
}

fn claimed(body: &[u8]) -> Result<ConversationId, Problem> {
    let mut form = Form::read(body, &["conversation_id"])?;
    let id = form.parsed("conversation_id", ConversationId::parse);
    form.finish_with("conversation_id", id)
}

/// Parses the user that a path names.
pub(super) fn user_id(text: &str) -> Result<UserId, Problem> {
    UserId::parse(text)
        .map_err(|error| Problem::new(Code::InvalidRequest).errors(vec![FieldError::new("user_id", error.to_string())]))
}
