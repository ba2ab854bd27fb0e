//! Browser tokens, minted as a customer's own backend would after it has recognised its user.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Demo, problem, verify};

/// Short enough to see a refresh happen, long enough not to matter. The bridge allows an hour.
const LIFETIME_SECS: u32 = 15 * 60;

/// The request for a token.
#[derive(Deserialize)]
pub(super) struct Wanted {
    conversation_id: String,
    user: Option<String>,
    /// Facts that "the backend" knows about the user. A real one would not ask the page.
    #[serde(default)]
    attributes: Map<String, Value>,
}

pub(super) async fn mint(State(demo): State<Demo>, Json(wanted): Json<Wanted>) -> Response {
    if wanted.conversation_id.is_empty() {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, "conversation_id is empty");
    }
    demo.known.introduce(&wanted.conversation_id, &wanted.attributes);
    let now = demo.settings.wall.now();
    let token = verify::browser_token(
        &demo.settings.browser_token_secret,
        &demo.settings.frontend,
        verify::Whose { conversation_id: wanted.conversation_id, user: wanted.user, attributes: wanted.attributes },
        (now, LIFETIME_SECS.into()),
    );
    match token {
        Ok(token) => {
            let expires_at = now.point().plus(Duration::from_secs(LIFETIME_SECS.into()));
            let body = json!({ "token": token, "expires_at": expires_at.to_string() });
            Json(body).into_response()
        }
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}
