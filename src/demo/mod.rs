//! The demo's page and the small server behind it: a customer's chat, a human agent's desk, and the callbacks as they arrive.
//!
//! It plays the parts a company would write itself: the frontend (a widget on the browser client, with tokens minted by
//! "its own backend"), the desk (`desk`: the bridge's handoff routes, with the frontend's token) and the receiver of callbacks.
//! It knows the bridge only from outside, over HTTP, as any frontend does; Fini's own inbox (`vendor`) is the sandbox's control
//! routes. Starting things is not its business: [`router`] is merged with the bridge's public routes into one origin, so that
//! the page needs no other address.
//!
//! Nothing here outlives the process, and nothing here is meant for anything but loopback: anyone who reaches `/demo/token`
//! gets a token.

mod budget;
mod desk;
mod inbox;
mod known;
mod page;
mod receiver;
mod run;
mod token;
mod vendor;
mod verify;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use secrecy::SecretString;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::domain::WallClock;
use crate::sandbox::Guard;
use crate::signature::CallbackSecret;
use crate::signature::token::TokenSecret;
use inbox::Inbox;
use known::Known;
pub use run::run;

/// The addresses of the demo's parts, and what they share. Base URLs carry no trailing slash.
#[derive(Clone)]
pub struct DemoSettings {
    /// Base URL of the sandbox, whose control routes stand under `/_sandbox`.
    pub sandbox_url: String,
    /// Base URL of the bridge's public listener, where the desk's routes are.
    pub bridge_url: String,
    /// A token of the frontend, which its desk acts by.
    pub token: SecretString,
    /// Base URL of the bridge's admin listener; while it does not answer, the page shows no figures.
    pub admin_url: String,
    /// Name of the frontend the demo plays.
    pub frontend: String,
    /// The secrets of that frontend's callbacks; one match is enough.
    pub callback_secrets: Vec<CallbackSecret>,
    /// The frontend's `browser_token_secret`.
    pub browser_token_secret: TokenSecret,
    /// The clock.
    pub wall: Arc<dyn WallClock>,
    /// Ends the page's open streams, which would otherwise hold up a graceful shutdown.
    pub stopping: CancellationToken,
}

/// The state that the handlers share.
#[derive(Clone)]
struct Demo {
    settings: Arc<DemoSettings>,
    http: reqwest::Client,
    inbox: Arc<Inbox>,
    known: Arc<Known>,
}

/// Larger than any callback (a message has at most 16,000 characters), small enough to hold a few hundred of them.
const MAX_BODY: usize = 512 * 1024;

/// Serves the page at `/` and everything it asks for under `/demo/`. The page loads the browser client from
/// `/v1/client.js`.
pub fn router(settings: DemoSettings, http: reqwest::Client) -> Router {
    let demo = Demo { settings: Arc::new(settings), http, inbox: Arc::default(), known: Arc::default() };
    Router::new()
        .route("/", get(page::index))
        .route("/demo/assets/{name}", get(page::asset))
        .route("/demo/callback", post(receiver::receive))
        .route("/demo/callbacks/stream", get(receiver::stream))
        .route("/demo/callbacks/receiver", post(receiver::switch))
        .route("/demo/token", post(token::mint))
        .route("/demo/desk", get(desk::list).put(desk::open))
        .route("/demo/desk/messages", post(desk::say))
        .route("/demo/desk/conversations/{id}/{act}", post(desk::act))
        .route("/demo/fini/conversations", get(vendor::list))
        .route("/demo/fini/conversations/{id}", get(vendor::show))
        .route("/demo/fini/conversations/{id}/{action}", post(vendor::act))
        .route("/demo/budget", get(budget::show))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(demo)
}

/// Guards the page on a listener at `address`. It mints tokens and speaks as an agent for anyone who asks: so it answers
/// only under its own name, and only its own pages.
fn guarded(page: Router, address: SocketAddr) -> Router {
    page.layer(middleware::from_fn_with_state(Guard::new(Some(address), &[]), own_pages))
}

async fn own_pages(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.admit(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(_) => problem(StatusCode::FORBIDDEN, "the demo answers only under its own address, and its own pages"),
    }
}

/// Everything that the page's server asks runs in the same process: it either answers soon or not at all.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Passes on the status and the JSON of the answer; 502 with `unreachable` if there is none.
async fn passed_on(request: reqwest::RequestBuilder, unreachable: &str) -> Response {
    let answer = async {
        let response = request.timeout(TIMEOUT).send().await?;
        Ok::<_, reqwest::Error>((response.status(), response.bytes().await?))
    };
    match answer.await {
        Ok((status, body)) => (status, [("content-type", "application/json")], body).into_response(),
        Err(_) => problem(StatusCode::BAD_GATEWAY, unreachable),
    }
}

/// Returns an RFC 9457 problem with words for the page to show.
fn problem(status: StatusCode, detail: &str) -> Response {
    let body = json!({ "status": status.as_u16(), "title": status.canonical_reason(), "detail": detail });
    let headers = [("content-type", "application/problem+json")];
    (status, headers, body.to_string()).into_response()
}

#[cfg(test)]
mod tests;
