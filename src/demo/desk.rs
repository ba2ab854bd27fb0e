//! The agent's desk: passes a closed set of actions on to the sandbox's control routes.
//!
//! Never a general proxy: only the routes named here, and only ids without anything a path could be built from.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::{Demo, problem};

/// The sandbox runs beside the page; it either answers soon or not at all.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a human can do in the vendor's inbox.
const ACTIONS: [&str; 5] = ["agent-message", "note", "status", "resolve", "bot-message"];

pub(super) async fn list(State(demo): State<Demo>) -> Response {
    let url = format!("{}/_sandbox/conversations", demo.settings.sandbox_url);
    forward(demo.http.get(url)).await
}

pub(super) async fn show(State(demo): State<Demo>, Path(id): Path<String>) -> Response {
    if !plain(&id) {
        return problem(StatusCode::NOT_FOUND, "no such conversation");
    }
    let url = format!("{}/_sandbox/conversations/{id}", demo.settings.sandbox_url);
    forward(demo.http.get(url)).await
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
    forward(demo.http.post(url).json(&body)).await
}

/// Whether this can stand in a path as it is.
fn plain(id: &str) -> bool {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !id.is_empty() && id.bytes().all(safe)
}

/// The sandbox's own status and JSON; 502 where it gives none.
async fn forward(request: reqwest::RequestBuilder) -> Response {
    let answer = async {
        let response = request.timeout(TIMEOUT).send().await?;
        Ok::<_, reqwest::Error>((response.status(), response.bytes().await?))
    };
    match answer.await {
        Ok((status, body)) => (status, [("content-type", "application/json")], body).into_response(),
        Err(_) => problem(StatusCode::BAD_GATEWAY, "the simulated Fini does not answer"),
    }
}
