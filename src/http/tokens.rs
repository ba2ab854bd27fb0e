//! `POST /v1/conversations/{id}/tokens`: a browser token for one conversation.

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Public, body,
    conversations::own,
    openapi::{Errors, schema},
    path::Path,
    problem::{Code, FieldError, Problem},
};
use crate::{
    domain::{
        Timestamp,
        event::as_rfc3339,
        ids::{ConversationId, FrontendName, UserId},
        origin,
    },
    signature::token::{self, Claims, MAX_LIFETIME_SECS},
};

#[derive(Serialize)]
struct Minted {
    token: String,
    #[serde(serialize_with = "as_rfc3339")]
    expires_at: Timestamp,
}

/// Mints a token. The body is optional: `{"user_id"?, "attributes"?, "origins"?, "ttl_seconds"?}`.
#[utoipa::path(
    post,
    path = "/v1/conversations/{conversation_id}/tokens",
    operation_id = "mintToken",
    tag = "Tokens",
    summary = "Mint a browser token for one conversation",
    description = "For the customer's browser. It opens this conversation alone, whether it has begun or not, and says who the customer is.",
    params(("conversation_id" = String, Path, description = "The frontend's own id"),),
    request_body(content = Option<schema::TokenWish>),
    responses(
        (status = 200, description = "The token", body = schema::Token),
        (status = 409, description = "browser_tokens_disabled", body = schema::ProblemBody, content_type = "application/problem+json"),
        Errors,
    ),
    security(("frontend_token" = []))
)]
pub async fn post(State(public): State<Public>, Path(id): Path<String>, request: Request) -> Result<Response, Problem> {
    let (caller, body) = body::of_caller(&public, request).await?;
    let frontend = caller.clone().server_only()?;
    let id = own(&public, &caller, &id).await?;
    minted(&public, &frontend, Subject::Conversation(id), Wish::parse(&body)?).await
}

/// The conversations that a token opens.
pub(super) enum Subject {
    /// One conversation.
    Conversation(ConversationId),
    /// All conversations of one user.
    User(UserId),
}

/// Mints the token and answers with it.
pub(super) async fn minted(
    public: &Public,
    frontend: &FrontendName,
    subject: Subject,
    wish: Wish,
) -> Result<Response, Problem> {
    let frontends = public.frontends.current();
    let secret = frontends.token_secret(frontend).ok_or_else(|| {
        Problem::new(Code::BrowserTokensDisabled).detail("set browser_token_secret for this frontend")
    })?;
    // A token issued in the second of an erasure would count as older than the erasure.
    let (of_conversation, user) = match &subject {
        Subject::Conversation(id) => (public.store.erased_at(frontend, id).await?, wish.user_id.as_deref()),
        Subject::User(user) => (None, Some(user.as_str())),
    };
    let of_person = match user {
        Some(user) => public.store.person_erased_at(frontend, user).await?,
        None => None,
    };
    let erased_at = of_conversation.max(of_person);
    let now = public.wall.now().as_secs();
    let iat = erased_at.map_or(now, |erased_at| now.max(erased_at.as_secs() + 1));
    let (conversation_id, sub) = match subject {
        Subject::Conversation(id) => (Some(id.as_str().to_owned()), wish.user_id),
        Subject::User(user) => (None, Some(user.as_str().to_owned())),
    };
    let claims = Claims {
        frontend: frontend.as_str().to_owned(),
        conversation_id,
        sub,
        attributes: wish.attributes,
        origins: wish.origins,
        iat,
        exp: iat + wish.ttl_seconds,
    };
    let token =
        token::mint(&claims, secret).map_err(|error| Problem::new(Code::InvalidRequest).detail(error.to_string()))?;
    let expires_at = Timestamp::from_millis(claims.exp * 1000);
    Ok(axum::Json(Minted { token, expires_at }).into_response())
}

/// The requested properties of a token.
pub(super) struct Wish {
    user_id: Option<String>,
    attributes: Map<String, Value>,
    origins: Vec<String>,
    ttl_seconds: i64,
}

impl Wish {
    /// Parses the wish for a conversation, whose user may be named.
    fn parse(body: &[u8]) -> Result<Self, Problem> {
        Self::read(body, &["user_id", "attributes", "origins", "ttl_seconds"])
    }

    /// Parses the wish for the user that the path names.
    pub(super) fn parse_for_user(body: &[u8]) -> Result<Self, Problem> {
        Self::read(body, &["attributes", "origins", "ttl_seconds"])
    }

    fn read(body: &[u8], known: &[&str]) -> Result<Self, Problem> {
        let mut wish =
            Self { user_id: None, attributes: Map::new(), origins: Vec::new(), ttl_seconds: MAX_LIFETIME_SECS };
        let fields = body::object(body)?;
        let mut errors = body::unknown(&fields, "", known);
        let mut fault = |field: &'static str, message: String| errors.push(FieldError::new(field, message));
        match fields.get("user_id") {
            None => {}
            Some(Value::String(id)) if (1..=200).contains(&id.chars().count()) && !id.contains(char::is_control) => {
                wish.user_id = Some(id.clone());
            }
            Some(_) => fault("user_id", "must be a string of 1 to 200 characters, none of them a control".to_owned()),
        }
        match fields.get("attributes") {
            None => {}
            Some(value) => match body::members(value.clone()) {
                Some(attributes) => wish.attributes = attributes,
                None => fault("attributes", "must be an object".to_owned()),
            },
        }
        match fields.get("origins") {
            None => {}
            Some(Value::Array(all)) if !all.is_empty() && all.iter().all(Value::is_string) => {
                for written in all.iter().filter_map(Value::as_str) {
                    match origin::exact(written) {
                        Ok(exact) => wish.origins.push(exact),
                        Err(why) => fault("origins", format!("{written:?} {why}")),
                    }
                }
            }
            Some(_) => fault("origins", "must be a list of origins".to_owned()),
        }
        match fields.get("ttl_seconds") {
            None => {}
            Some(value) => match whole(value) {
                Some(seconds @ 1..=MAX_LIFETIME_SECS) => wish.ttl_seconds = seconds,
                _ => fault("ttl_seconds", "must be 1 to 3600".to_owned()),
            },
        }
        if errors.is_empty() { Ok(wish) } else { Err(Problem::new(Code::InvalidRequest).errors(errors)) }
    }
}

/// Returns an integer in the sense of JSON Schema, where 60.0 is one.
pub(super) fn whole(value: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "what does not fit is out of the range that counts")]
    let rounded = |number: f64| (number.fract() == 0.0).then_some(number as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(rounded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_every_way_to_write_a_wish() {
        let seconds = |body: &str| Wish::parse(body.as_bytes()).map(|wish| wish.ttl_seconds).ok();
        for all in ["", " ", "{}", "[]", r#"{"attributes": []}"#] {
            assert_eq!(seconds(all), Some(MAX_LIFETIME_SECS), "{all}");
        }
        assert_eq!(seconds(r#"{"ttl_seconds": 60}"#), Some(60));
        assert_eq!(seconds(r#"{"ttl_seconds": 60.0}"#), Some(60));
        for bad in ["null", "0", "3601", "60.5", "1e300", "\"60\"", "true"] {
            assert_eq!(seconds(&format!(r#"{{"ttl_seconds": {bad}}}"#)), None, "{bad}");
        }
        assert_eq!(seconds("[60]"), None);
        for origin in ["https://shop.example/", "shop.example", "null", "https://*.shop.example"] {
            assert_eq!(seconds(&format!(r#"{{"origins": [{origin:?}]}}"#)), None, "{origin} would never match");
        }
        assert_eq!(seconds(r#"{"attributes": {"plan": "Pro"}, "origins": ["capacitor://localhost"]}"#), Some(3600));
        assert_eq!(seconds(r#"{"attributes": null}"#), None);
        for misspelt in
            [r#"{"ttl": 60}"#, r#"{"origin": "https://a.example"}"#, r#"{"userId": "u"}"#, r#"{"origins": null}"#]
        {
            assert_eq!(seconds(misspelt), None, "{misspelt}");
        }
    }
}
