//! The company's own desk, outside Fini: the bridge's handoff routes, asked with the frontend's token.
//!
//! Does what a company's backend does for its agents' page, which must not hold that token. Never a general proxy: only the
//! acts named here, and messages of role `agent` alone.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use url::Url;

use super::known::Customer;
use super::{Demo, TIMEOUT, passed_on, problem};

/// The acts of an agent on a conversation.
const ACTS: [&str; 5] = ["claim", "position", "typing", "leave", "return"];

/// Messages of a transcript.
const WORDS: &str = "50";

const UNREACHABLE: &str = "the bridge does not answer";

/// Returns `{desk, conversations}`: the bridge's last note of the desk, and every conversation that has begun, as the
/// bridge has it, with the customer's `name` and `plan`.
pub(super) async fn list(State(demo): State<Demo>) -> Response {
    let views = join_all(demo.known.customers().into_iter().map(|customer| view(&demo, customer))).await;
    let conversations: Vec<Value> = views.into_iter().flatten().collect();
    Json(json!({ "desk": demo.known.desk(), "conversations": conversations })).into_response()
}

async fn view(demo: &Demo, customer: Customer) -> Option<Value> {
    let request = ask(demo, Method::GET, &["conversations", &customer.conversation_id])?;
    let request = request.query(&[("with", "transcript"), ("messages", WORDS)]);
    let response = request.timeout(TIMEOUT).send().await.ok()?;
    let mut view: Value = response.error_for_status().ok()?.json().await.ok()?;
    view["customer"] = json!({ "name": customer.name, "plan": customer.plan });
    Some(view)
}

/// Passes on `PUT /v1/desk`.
pub(super) async fn open(State(demo): State<Demo>, Json(desk): Json<Value>) -> Response {
    let Some(request) = ask(&demo, Method::PUT, &["desk"]) else { return no_such_act() };
    let answer = passed_on(request.json(&desk), UNREACHABLE).await;
    if answer.status().is_success() {
        demo.known.set_desk(desk);
    }
    answer
}

/// Passes on `POST /v1/messages` of role `agent`.
pub(super) async fn say(State(demo): State<Demo>, Json(message): Json<Value>) -> Response {
    if message["role"] != "agent" {
        return problem(StatusCode::FORBIDDEN, "the desk speaks as an agent only");
    }
    let Some(request) = ask(&demo, Method::POST, &["messages"]) else { return no_such_act() };
    passed_on(request.json(&message), UNREACHABLE).await
}

/// Passes on `POST /v1/conversations/{id}/handoff/…`.
pub(super) async fn act(
    State(demo): State<Demo>,
    Path((id, act)): Path<(String, String)>,
    Json(body): Json<Value>,
) -> Response {
    let is_known = ACTS.contains(&act.as_str());
    let request = is_known.then(|| ask(&demo, Method::POST, &["conversations", &id, "handoff", &act]));
    match request.flatten() {
        Some(request) => passed_on(request.json(&body), UNREACHABLE).await,
        None => no_such_act(),
    }
}

/// Builds a request for this path below `/v1`; each part stays one segment, whatever it holds.
fn ask(demo: &Demo, method: Method, path: &[&str]) -> Option<reqwest::RequestBuilder> {
    let mut url = Url::parse(&demo.settings.bridge_url).ok()?;
    if path.iter().any(|part| matches!(*part, "" | "." | "..")) {
        return None;
    }
    url.path_segments_mut().ok()?.pop_if_empty().push("v1").extend(path);
    Some(demo.http.request(method, url).bearer_auth(demo.settings.token.expose_secret()))
}

fn no_such_act() -> Response {
    problem(StatusCode::NOT_FOUND, "no such act")
}
