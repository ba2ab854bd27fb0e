//! The public API and the operators' API over HTTP.
//!
//! Handlers parse into domain types, call a service or read through the store's port, and render. They decide nothing about
//! conversations. Every error leaves as `application/problem+json` (RFC 9457) with a stable code and the request's id.

mod address;
pub mod admin;
pub mod asked;
pub mod auth;
mod body;
pub mod client;
pub mod console;
mod context;
pub mod conversations;
mod cors;
pub mod erase;
pub mod fini_push;
mod form;
mod forwarded;
pub mod handoff;
pub mod log;
pub mod log_stream;
pub mod messages;
pub mod openapi;
pub mod page;
mod path;
pub mod person;
mod prefer;
pub mod problem;
pub mod read_marks;
mod reads;
mod refused;
pub mod server;
pub mod stream;
pub mod tokens;
mod transcript;
pub mod users;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use tokio::sync::watch;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::{
    domain::{Clock, Entropy, WallClock},
    lifecycle::{Stop, Wake},
    metrics::Metrics,
    service::{handoff::Handoffs, intake::Intake, waits::Waits},
    store::{Bindings, Store},
    telemetry::spans::Spans,
};
pub use body::Unproved;
use problem::{Code, Problem};
pub use reads::Reads;
pub use refused::Refused;

/// The services and state of the public handlers.
#[derive(Clone)]
pub struct Public {
    /// Takes messages in.
    pub intake: Arc<Intake>,
    /// Hands conversations to humans and back.
    pub handoffs: Arc<Handoffs>,
    /// Digest of the key in Fini's own requests; `None` if none is configured.
    pub action_key: watch::Receiver<Option<[u8; 32]>>,
    /// Read for everything else.
    pub store: Arc<dyn Store>,
    /// Forgets what is erased.
    pub bindings: Bindings,
    /// Wakes the eraser.
    pub eraser: Wake,
    /// Says how long messages wait.
    pub waits: Arc<Waits>,
    /// The credentials of all callers.
    pub frontends: auth::Known,
    /// The clock for waits.
    pub clock: Arc<dyn Clock>,
    /// The clock by which tokens and signatures are judged.
    pub wall: Arc<dyn WallClock>,
    /// Makes ids.
    pub entropy: Arc<dyn Entropy>,
    /// Counts requests and their outcomes.
    pub metrics: Metrics,
    /// Takes the spans of finished requests.
    pub spans: Spans,
    /// Refuses new work once stopping.
    pub stop: Stop,
    /// Open streams.
    pub streams: Arc<stream::Streams>,
    /// Counts reads by reader.
    pub reads: Arc<Reads>,
    /// Room for the bodies of callers that have proved nothing yet.
    pub unproved: Unproved,
    /// Refusals that share one log line.
    pub refused: Arc<Refused>,
    /// Limits.
    pub settings: PublicSettings,
}

/// Limits of the public API.
#[derive(Clone, Debug)]
pub struct PublicSettings {
    /// The largest request body, in bytes.
    pub max_body: usize,
    /// Exact origins from which browsers may call.
    pub cors_origins: Vec<String>,
    /// Proxies whose word about the client's address is believed.
    pub trusted_proxies: Arc<asked::TrustedProxies>,
    /// Longest time for a request other than a stream.
    pub request_timeout: Duration,
}

/// Returns the routes of the public API.
pub fn public(state: Public) -> Router {
    let observed = context::Observed {
        wall: Arc::clone(&state.wall),
        entropy: Arc::clone(&state.entropy),
        metrics: state.metrics.clone(),
        spans: state.spans.clone(),
        refused: Arc::clone(&state.refused),
        trusted_proxies: Arc::clone(&state.settings.trusted_proxies),
        listener: "public",
    };
    let conversation = "/v1/conversations/{conversation_id}";
    let limit = state.settings.request_timeout;
    let answered = Router::new()
        .route("/v1/messages", post(messages::post))
        .route(conversation, get(conversations::get).delete(erase::delete))
        .route(&format!("{conversation}/events"), get(conversations::events))
        .route(&format!("{conversation}/tokens"), post(tokens::post))
        .route(&format!("{conversation}/read"), post(read_marks::post))
        .route("/v1/users/{user_id}", get(person::get).delete(person::delete))
        .route("/v1/users/{user_id}/conversations", get(users::conversations))
        .route("/v1/users/{user_id}/claim", post(users::claim))
        .route(&format!("{conversation}/handoff"), post(handoff::request))
        .route(&format!("{conversation}/handoff/claim"), post(handoff::claim))
        .route(&format!("{conversation}/handoff/position"), post(handoff::position))
        .route(&format!("{conversation}/handoff/typing"), post(handoff::typing))
        .route(&format!("{conversation}/handoff/leave"), post(handoff::leave))
        .route(&format!("{conversation}/handoff/return"), post(handoff::give_back))
        .route("/v1/desk", put(handoff::put_desk))
        .route("/v1/fini/actions/escalate", post(fini_push::escalate))
        .route("/v1/fini/attributes", post(fini_push::attributes))
        .route("/v1/users/{user_id}/tokens", post(users::post_token))
        .route("/v1/events", get(log::get))
        .route_layer(middleware::from_fn_with_state(limit, in_time));
    let files = Router::new()
        .route("/openapi.json", get(openapi::get))
        .merge(client::router())
        .route_layer(middleware::from_fn_with_state(state.clone(), by_address));
    Router::new()
        .merge(answered)
        .merge(files)
        .route(&format!("{conversation}/stream"), get(stream::get))
        .route("/v1/stream", get(log_stream::get))
        .route("/healthz", get(healthz))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::disable())
        .layer(context::contained(state.metrics.clone()))
        .layer(cors::layer(&state.settings.cors_origins))
        .layer(middleware::from_fn_with_state(observed, context::observe))
        .layer(no_store())
        .with_state(state)
}

/// Answers every request but a stream within the limit. A message may have been stored all the same: a caller that repeats
/// it later is recognised.
async fn in_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(Code::StoreUnavailable).detail("no answer in time").into_response(),
    }
}

/// Counts reads of the public files by address.
async fn by_address(State(public): State<Public>, request: Request, next: Next) -> Result<Response, Problem> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let address = public.settings.trusted_proxies.address(peer, request.headers());
    let admitted = public.reads.admit_address(address)?;
    Ok(admitted.until_taken(next.run(request).await))
}

/// Marks every answer as one for one caller and one moment, unless its handler says otherwise.
fn no_store() -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

/// Answers load balancers that probe the port of the traffic: a stopping process wants no more of it.
async fn healthz(State(public): State<Public>) -> (StatusCode, axum::Json<serde_json::Value>) {
    let is_stopping = public.stop.is_stopping();
    let status = if is_stopping { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, axum::Json(serde_json::json!({ "status": if is_stopping { "stopping" } else { "ok" } })))
}

async fn not_found() -> Problem {
    Problem::new(Code::NotFound).detail("there is no such route")
}

async fn method_not_allowed() -> Problem {
    Problem::new(Code::MethodNotAllowed)
}
