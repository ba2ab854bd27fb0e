//! Fini's own inbox: passes a closed set of actions on to the sandbox's control routes.
//!
//! Never a general proxy: only the routes named here, and only ids without anything a path could be built from.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::{Demo, passed_on, problem};

const UNREACHABLE: &str = "the simulated Fini does not answer";

/// The acts of a human in the vendor's inbox.
const ACTIONS: [&str; 5] = ["agent-message", "note", "status", "resolve", "bot-message"];

pub(super) async fn list(State(demo): State<Demo>) -> Response {
    let url = format!("{}/_sandbox/conversations", demo.settings.sandbox_url);
    passed_on(demo.http.get(url), UNREACHABLE).await
}

pub(super) async fn show(State(demo): State<Demo>, Path(id): Path<String>) -> Response {
    if !plain(&id) {
        return problem(StatusCode::NOT_FOUND, "no such conversation");
    }
    let url = format!("{}/_sandbox/conversations/{id}", demo.settings.sandbox_url);
    passed_on(demo.http.get(url), UNREACHABLE).await
}

pub(super) async fn act(
    State(demo): State<Demo>,
    Path((id, action)): Path<(String, String)>,
    Json(body): Json<Value>,
) -> Response {
    if !plain(&id) || !ACTIONS.contains(&action.as_str()) {
        return problem(StatusCode::NOT_FOUND, "no such action");
    }
    let url = format!("{}/_sandbox/conversations/{id}/{action}", demo.settings.sandbox_url);
    passed_on(demo.http.post(url).json(&body), UNREACHABLE).await
}

/// Returns true if this can stand in a path as it is.
fn plain(id: &str) -> bool {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !id.is_empty() && id.bytes().all(safe)
}
