//! `POST /v1/messages`.

use std::{borrow::Cow, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use super::{
    Public,
    asked::Asked,
    auth::{Caller, Reach, not_theirs},
    body::{self, read, require_json, unknown, value},
    conversations::is_current,
    handoff::agent,
    openapi::{Errors, schema},
    prefer,
    problem::{Code, FieldError, Problem},
};
use crate::{
    domain::{
        conversation::State as Standing,
        correlation::Correlation,
        customer::Customer,
        handoff::Agent,
        ids::{ConversationId, ConversationKey, FrontendName, IdSpace, MessageId},
        message::{InboundMessage, MAX_TEXT_CHARS, Role},
        shown::{HIDDEN, to_browser},
    },
    service::intake::{Person, Taken},
};

/// The answer to a caller about its message.
#[derive(Serialize)]
struct Answer<'a> {
    conversation_id: &'a ConversationId,
    message_id: &'a MessageId,
    status: &'a str,
    duplicate: bool,
    /// Estimated time until the message is sent; null if it is sent at once, or was.
    expected_wait_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<Box<RawValue>>>,
    /// State of the conversation once the turn is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<Standing>,
}

/// Takes a message in: durable before the answer.
#[utoipa::path(
    post,
    path = "/v1/messages",
    operation_id = "postMessage",
    tag = "Messages",
    summary = "Post a message",
    description = "Durable before the answer. A repeat with the same `message_id` and the same content sends nothing twice; with other content it is refused. A browser token posts as its customer, and only with the role `user`.",
    request_body = schema::NewMessage,
    params(
        ("Idempotency-Key" = Option<String>, Header, pattern = "^[\\x21-\\x7e]{1,200}$",
            description = "Stands for `message_id` where the body has none"),
        ("x-request-id" = Option<String>, Header,
            description = "Goes on to Fini and to the callbacks that the message causes, if it has 1 to 128 of `A-Z a-z 0-9 - _ . : / + = @`; else a new one does"),
        ("traceparent" = Option<String>, Header,
            description = "W3C Trace Context: what the message causes is part of the same trace. Ignored if it is not valid"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: answer when the turn is over, after at most N ≤ 60 seconds; `wait` without a number is refused"),
    ),
    responses(
        (status = 202, description = "Stored, and not over yet", body = schema::Accepted),
        (status = 200, description = "Stored, and over in the time that was waited", body = schema::Answered),
        (status = 409, description = "message_conflict", body = schema::ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "unsupported_media_type", body = schema::ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "invalid_message", body = schema::ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "backlog_full, rate_limited", body = schema::ProblemBody, content_type = "application/problem+json"),
        Errors,
    ),
    security(("frontend_token" = []), ("browser_token" = []), ("signature" = []))
)]
pub async fn post(State(public): State<Public>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let now = public.wall.now();
    let frontends = public.frontends.current();
    let known = frontends.by_token_or_signature(&Asked::of(&parts, &public), now)?;
    if public.stop.is_closed() {
        return Err(Problem::new(Code::ShuttingDown).retry_after(Duration::from_secs(1)));
    }
    require_json(&parts.headers)?;
    let patience = prefer::wait(&parts.headers)?;
    let limit = public.settings.max_body;
    // The body of a proved caller is kept; all other bodies share one room.
    let (body, room) = if known.is_some() {
        (read(body, &parts.headers, limit).await?, None)
    } else {
        let (body, room) = public.unproved.read(body, &parts.headers, limit).await?;
        (body, Some(room))
    };
    let generated = || MessageId::trusted(format!("msg_{}", public.entropy.uuid_v7(now.point())));
    let (caller, key) = if let Some(caller) = known {
        (caller, Key::given(&parts.headers))
    } else {
        // The signature covers the body and the message's id in the signature's own header, and nothing else.
        let (caller, id) = frontends.by_signature(&parts.headers, &body, now)?;
        (caller, Key::Default(id))
    };
    drop(room);
    let (message, agent) = parse(&body, key, generated)?;
    caller.reach().may_write(&message.conversation_id)?;
    is_current(&public, &caller, &message.conversation_id).await?;
    let message = as_allowed(&caller, message, frontends.browser_attributes(caller.frontend()))?;
    let span = tracing::Span::current();
    span.record("frontend", caller.frontend().as_str());
    span.record("conversation_id", message.conversation_id.as_str());
    span.record("message_id", message.message_id.as_str());

    let person = Person { agent, ..person(&caller, &message) };
    let counted_for = match &caller {
        Caller::Browser { claims, .. } => Some(claims.person()),
        Caller::Server(_) => None,
    };
    let (conversation_id, message_id) = (message.conversation_id.clone(), message.message_id.clone());
    let cause = parts.extensions.get::<Correlation>().cloned().unwrap_or_default();
    let taken = public.intake.accept(caller.frontend(), message, person, counted_for, cause).await?;
    let (stored_in, status, duplicate, is_next) = match taken {
        Taken::New(stored_in, is_next) => (stored_in, "queued", false, is_next),
        Taken::Duplicate(stored_in, status) => (stored_in, status, true, false),
        Taken::NotTheirs => return Err(not_theirs()),
        Taken::Conflict => return Err(Problem::new(Code::MessageConflict).detail(OTHER_MESSAGE)),
        Taken::Limited(wait) => {
            let detail = "more than may be written in a minute, or may wait at once";
            return Err(Problem::new(Code::RateLimited).detail(detail).retry_after(wait));
        }
        Taken::Full(wait) => return Err(Problem::new(Code::BacklogFull).retry_after(wait)),
    };
    let answer = Answer {
        conversation_id: &conversation_id,
        message_id: &message_id,
        status,
        duplicate,
        expected_wait_ms: None,
        events: None,
        state: None,
    };

    let Some(patience) = patience else {
        let is_at_once = status != "queued" || is_next && public.waits.is_calm().await;
        let expected_wait_ms =
            if is_at_once { None } else { expected_wait(&public, caller.frontend(), stored_in, &message_id).await };
        return Ok(respond(StatusCode::ACCEPTED, &Answer { expected_wait_ms, ..answer }));
    };
    let space = if caller.is_browser() { IdSpace::Browser } else { IdSpace::Server };
    let message = (&message_id, space);
    let waiting = public.intake.wait(stored_in, caller.frontend(), &conversation_id, message, patience);
    let turn = tokio::select! {
        turn = waiting => turn,
        () = public.stop.soft().cancelled() => return Ok(respond(StatusCode::ACCEPTED, &answer)),
    };
    // The message is stored: no later failure may look like a refusal.
    let Ok(Some(turn)) = turn else { return Ok(respond(StatusCode::ACCEPTED, &answer)) };
    let answer = Answer { status: turn.state.status(), ..answer };
    let mut response = if turn.state.is_settled() {
        let show = |body: String| if caller.is_browser() { shown(&body) } else { body };
        let events = turn.events.into_iter().filter_map(|body| RawValue::from_string(show(body)).ok()).collect();
        let found = public.store.conversation(caller.frontend(), &conversation_id).await.ok().flatten();
        let state = found.map(|found| found.state);
        respond(StatusCode::OK, &Answer { events: Some(events), state, ..answer })
    } else {
        let expected_wait_ms = expected_wait(&public, caller.frontend(), stored_in, &message_id).await;
        respond(StatusCode::ACCEPTED, &Answer { expected_wait_ms, ..answer })
    };
    if let Ok(applied) = HeaderValue::from_str(&format!("wait={}", patience.as_secs())) {
        response.headers_mut().insert("preference-applied", applied);
    }
    Ok(response)
}

/// Returns the estimated time in milliseconds until a message is sent; `None` if it is sent at once, or was.
async fn expected_wait(
    public: &Public,
    frontend: &FrontendName,
    stored_in: ConversationKey,
    message: &MessageId,
) -> Option<u64> {
    let sent_at = public.waits.expected_send(frontend, stored_in, message).await?;
    u64::try_from(sent_at.since(public.clock.now()).as_millis()).ok()
}

fn respond(status: StatusCode, answer: &Answer<'_>) -> Response {
    (status, axum::Json(answer)).into_response()
}

/// Checks that a browser speaks only for the customer that its token names.
fn as_allowed(caller: &Caller, message: InboundMessage, free: &[String]) -> Result<InboundMessage, Problem> {
    match caller {
        Caller::Server(_) => Ok(message),
        Caller::Browser { claims, .. } => {
            let customer = Customer { user_id: claims.sub.as_deref(), attributes: &claims.attributes, free };
            customer.speaks(message).map_err(|trespass| Problem::new(Code::Forbidden).detail(trespass.to_string()))
        }
    }
}

/// Returns an event of the turn as a browser sees it.
fn shown(body: &str) -> String {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
        sequence: i64,
    }
    let head = serde_json::from_str(body).unwrap_or(Head { kind: Cow::Borrowed(HIDDEN), sequence: 0 });
    to_browser(&head.kind, body, head.sequence).body.into_owned()
}

/// The substitute for `message_id` in a body that has none.
enum Key {
    /// `Idempotency-Key`. One that cannot be used is refused even if the body's id takes precedence: its sender means
    /// something by it.
    Given(Option<Value>),
    /// The signature's `webhook-id`, if it can be a message's.
    Default(String),
}

impl Key {
    fn given(headers: &HeaderMap) -> Self {
        let key = headers.get("idempotency-key");
        Self::Given(key.map(|value| Value::from(String::from_utf8_lossy(value.as_bytes()))))
    }

    fn parse(self, form: &mut Form) -> Option<MessageId> {
        match self {
            Self::Given(key) => key.and_then(|key| form.required("message_id", Some(key), MessageId::parse)),
            Self::Default(id) => MessageId::parse(&id).ok(),
        }
    }
}

/// The members of a message, and of its user.
const MEMBERS: [&str; 8] = ["conversation_id", "message_id", "text", "role", "agent", "user", "channel", "metadata"];
const USER_MEMBERS: [&str; 2] = ["id", "attributes"];
/// Tells a caller by which members a repeat is recognised.
const OTHER_MESSAGE: &str = "a repeat has to be the same in text, role, user (id and attributes), channel and metadata; another message needs another message_id";

/// Returns the person whose conversation it is, on an authoritative word: the server's, or that of the issuer of the
/// browser's token.
fn person(caller: &Caller, message: &InboundMessage) -> Person {
    let (id, attributes) = match caller {
        Caller::Server(_) => (message.user_id.clone(), Map::new()),
        Caller::Browser { claims, .. } => (claims.sub.clone(), claims.attributes.clone()),
    };
    Person { id, attributes, is_confined: matches!(caller.reach(), Reach::User(_)), agent: None }
}

/// Parses and checks a message, field by field, so that every fault is reported at once.
fn parse(
    body: &[u8],
    key: Key,
    generated: impl FnOnce() -> MessageId,
) -> Result<(InboundMessage, Option<Agent>), Problem> {
    let value = value(body, Code::InvalidMessage)?;
    let Value::Object(mut fields) = value else {
        return Err(invalid(vec![FieldError::new("", "must be a JSON object")]));
    };
    let mut form = Form { errors: unknown(&fields, "", &MEMBERS) };
    let conversation_id = form.required("conversation_id", fields.remove("conversation_id"), ConversationId::parse);
    let key = key.parse(&mut form);
    let message_id = match fields.remove("message_id").filter(|value| !value.is_null()) {
        Some(value) => form.required("message_id", Some(value), MessageId::parse),
        None => Some(key.unwrap_or_else(generated)),
    };
    let text = form.text(fields.remove("text"));
    let role = form.role(fields.remove("role"));
    let agent = form.agent(fields.remove("agent"), role);
    let channel = form.short("channel", fields.remove("channel"), 64);
    let metadata = form.object("metadata", fields.remove("metadata"));
    let mut user = form.object("user", fields.remove("user"));
    form.errors.extend(unknown(&user, "user", &USER_MEMBERS));
    let user_id = form.short("user.id", user.remove("id"), 200);
    let attributes = form.object("user.attributes", user.remove("attributes"));
    form.attributes(&attributes);
    match (conversation_id, message_id, text, role) {
        (Some(conversation_id), Some(message_id), Some(text), Some(role)) if form.errors.is_empty() => {
            let message =
                InboundMessage { conversation_id, message_id, text, role, user_id, attributes, channel, metadata };
            Ok((message, agent))
        }
        _ => Err(invalid(form.errors)),
    }
}

fn invalid(errors: Vec<FieldError>) -> Problem {
    Problem::new(Code::InvalidMessage).errors(errors)
}

/// Accepts texts without controls other than tab and line break, and names without any. Fini's attributes are flat.
fn are_plain(attributes: &Map<String, Value>) -> bool {
    let is_plain = |text: &str| !text.contains(|c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r'));
    attributes.iter().all(|(name, value)| !name.contains(char::is_control) && value.as_str().is_none_or(is_plain))
}

struct Form {
    errors: Vec<FieldError>,
}

impl Form {
    fn fault(&mut self, field: &'static str, message: impl Into<String>) {
        self.errors.push(FieldError::new(field, message));
    }

    fn required<T>(
        &mut self,
        field: &'static str,
        value: Option<Value>,
        parse: impl Fn(&str) -> Result<T, crate::domain::ids::InvalidId>,
    ) -> Option<T> {
        match value {
            Some(Value::String(text)) => parse(&text).map_err(|error| self.fault(field, error.to_string())).ok(),
            Some(Value::Null) | None => {
                self.fault(field, "is required");
                None
            }
            Some(_) => {
                self.fault(field, "must be a string");
                None
            }
        }
    }

    fn text(&mut self, value: Option<Value>) -> Option<String> {
        let Some(Value::String(text)) = value else {
            let missing = matches!(value, None | Some(Value::Null));
            self.fault("text", if missing { "is required" } else { "must be a string" });
            return None;
        };
        if text.trim().is_empty() {
            self.fault("text", "must not be blank");
        } else if text.chars().count() > MAX_TEXT_CHARS {
            self.fault("text", format!("must have at most {MAX_TEXT_CHARS} characters"));
        } else if text.contains('\0') {
            self.fault("text", "must not contain the character U+0000");
        } else {
            return Some(text);
        }
        None
    }

    fn role(&mut self, value: Option<Value>) -> Option<Role> {
        let role = match value {
            None | Some(Value::Null) => Some(Role::User),
            Some(Value::String(name)) => Role::parse(&name),
            Some(_) => None,
        };
        if role.is_none() {
            self.fault("role", "must be \"user\", \"agent\" or \"otherbot\"");
        }
        role
    }

    /// Takes the agent who speaks, and who claims or joins the conversation by that.
    fn agent(&mut self, value: Option<Value>, role: Option<Role>) -> Option<Agent> {
        let value = value.filter(|value| !value.is_null())?;
        if role.is_some_and(|role| role != Role::Agent) {
            self.fault("agent", "is only for messages of role \"agent\"");
            return None;
        }
        agent(Some(value), true, &mut self.errors)
    }

    fn short(&mut self, field: &'static str, value: Option<Value>, longest: usize) -> Option<String> {
        match value {
            None | Some(Value::Null) => None,
            Some(Value::String(text))
                if (1..=longest).contains(&text.chars().count()) && !text.contains(char::is_control) =>
            {
                Some(text)
            }
            Some(_) => {
                self.fault(field, format!("must be a string of 1 to {longest} characters, none of them a control"));
                None
            }
        }
    }

    /// Checks the attributes. They are shown in forms and tables of others, where a control character can only do harm.
    fn attributes(&mut self, attributes: &Map<String, Value>) {
        if !are_plain(attributes) {
            self.fault("user.attributes", "must not contain control characters other than tab and line break");
        }
    }

    fn object(&mut self, field: &'static str, value: Option<Value>) -> Map<String, Value> {
        match value {
            None | Some(Value::Null) => Map::new(),
            Some(value) => body::members(value).unwrap_or_else(|| {
                self.fault(field, "must be an object");
                Map::new()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(body: &str) -> Result<InboundMessage, Problem> {
        parse(body.as_bytes(), Key::Given(None), || MessageId::trusted("made")).map(|(message, _)| message)
    }

    #[test]
    fn takes_a_minimal_message() {
        let message = parse_text(r#"{"conversation_id":"c","text":"hi","metadata":[]}"#).expect("valid");
        assert_eq!((message.message_id.as_str(), message.role), ("made", Role::User));
    }

    #[test]
    fn a_member_that_nobody_knows_is_a_fault() {
        for body in [
            r#"{"conversation_id":"c","text":"hi","attachments":[]}"#,
            r#"{"conversation_id":"c","text":"hi","user":{"Id":1}}"#,
        ] {
            assert_eq!(parse_text(body).expect_err("invalid").code(), Code::InvalidMessage);
        }
    }

    #[test]
    fn numbers_go_on_as_they_were_written() {
        let body = r#"{"conversation_id":"c","text":"hi","user":{"attributes":{"t":9400111899223197428490}},"metadata":{"e":1E5}}"#;
        let message = parse_text(body).expect("valid");
        assert_eq!(message.attributes["t"].to_string(), "9400111899223197428490");
        assert_eq!(message.metadata["e"].to_string(), "1E5");
    }

    #[test]
    fn half_a_character_is_told_with_its_field() {
        let problem = parse_text(r#"{"conversation_id":"c","text":"a\ud800b"}"#).expect_err("no text");
        assert_eq!(problem.code(), Code::InvalidMessage);
        assert!(format!("{problem:?}").contains("\"text\""), "{problem:?}");
    }

    #[test]
    fn the_signatures_id_is_the_messages_where_the_body_has_none() {
        let by = |body: &str| {
            let key = Key::Default("msg_9".to_owned());
            parse(body.as_bytes(), key, || MessageId::trusted("made")).map(|(message, _)| message)
        };
        assert_eq!(by(r#"{"conversation_id":"c","text":"hi"}"#).expect("valid").message_id.as_str(), "msg_9");
        let own = by(r#"{"conversation_id":"c","text":"hi","message_id":"m"}"#);
        assert_eq!(own.expect("valid").message_id.as_str(), "m");
    }

    #[test]
    fn names_every_fault() {
        let body =
            r#"{"conversation_id":"a b","text":" ","role":"finibot","user":{"id":7,"attributes":[1]},"metadata":1}"#;
        let problem = parse_text(body).expect_err("invalid");
        let response = problem.render("r");
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let Err(problem) = parse_text(body) else { panic!("valid") };
        assert_eq!(problem.code(), Code::InvalidMessage);
    }
}
