//! The vendor's seven routes: admits or refuses requests, and lets faults strike.
//!
//! Invariant: a request that carries a known key is counted before anything else is decided about it.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use uuid::Uuid;

use super::Sandbox;
use super::audit::{Route, Told};
use super::effect;
use super::error::VendorError;
use super::fault::Subject;
use super::operate::{Answer, Manner};
use super::rule::{FaultKind, FaultParams};
use super::server::Connection;
use super::world::World;

/// One request to the vendor.
#[derive(Clone)]
pub struct Call {
    /// The operation.
    pub route: Route,
    /// The id in the path.
    pub id: String,
    /// The query string.
    pub query: String,
    /// The body.
    pub body: Bytes,
    /// The connection it came over, when the sandbox's own server runs it.
    pub connection: Option<Connection>,
}

/// Returns the operation and the id in the path.
fn operation(method: &Method, path: &str) -> Option<(Route, String)> {
    let route = match (method, path) {
        (&Method::POST, "/v2/hc-interactions/events/public") => Route::GenerateAnswer,
        (&Method::GET, "/v2/hc-interactions/public") => Route::List,
        (&Method::DELETE, "/v2/hc-interactions/public") => Route::BulkDelete,
        (&Method::GET, "/v2/bots/public") => Route::Agents,
        (&Method::GET, "/v2/bots/requests/public") => Route::History,
        (_, "/v2/hc-interactions/events/public") => return None,
        _ => {
            let id = path.strip_prefix("/v2/hc-interactions/")?.strip_suffix("/public")?;
            let route = match *method {
                Method::GET => Route::Get,
                Method::DELETE => Route::Delete,
                _ => return None,
            };
            return (!id.is_empty() && !id.contains('/')).then(|| (route, id.to_owned()));
        }
    };
    Some((route, String::new()))
}

/// Serves every path that the sandbox does not keep for itself: those are the vendor's.
pub async fn answer(
    State(sandbox): State<Sandbox>,
    connection: Option<Extension<Connection>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let connection = connection.map(|Extension(connection)| connection);
    sandbox.answer(&method, &uri, &headers, body, connection).await
}

impl Sandbox {
    /// Serves one request from its arrival to its answer.
    pub(super) async fn answer(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: Bytes,
        connection: Option<Connection>,
    ) -> Response {
        let Some((route, id)) = operation(method, uri.path()) else {
            return not_found(method.clone(), uri.clone()).await;
        };
        let call = Call { route, id, query: uri.query().unwrap_or_default().to_owned(), body, connection };
        let number = {
            let mut world = self.world();
            let now = world.now();
            let told = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
            world.audit.arrived(
                call.route,
                now,
                Told { request_id: told("x-request-id"), traceparent: told("traceparent") },
            )
        };
        let response = match self.admit(&call, headers, number) {
            Ok(None) => self.perform(&call, Manner::USUAL).await.map(|answer| self.respond(&answer)),
            Ok(Some((kind, params))) => effect::strike(self, &call, kind, &params).await,
            Err(error) => Err(error),
        };
        let response = response.unwrap_or_else(IntoResponse::into_response);
        self.world().audit.answered(number, call.route, response.status().as_u16());
        response
    }

    /// Writes an answer out as the settings demand.
    pub(super) fn respond(&self, answer: &Answer) -> Response {
        answer.respond(&self.settings())
    }

    /// Checks key, throttle and scope, in this order; then returns the fault that is to strike.
    fn admit(
        &self,
        call: &Call,
        headers: &HeaderMap,
        number: u64,
    ) -> Result<Option<(FaultKind, FaultParams)>, VendorError> {
        let mut world = self.world();
        let key = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
        let known = key.and_then(|key| world.api_keys.iter().find(|known| known.key == key));
        let (read, write) = known.map(|known| (known.read, known.write)).ok_or_else(VendorError::unauthorised)?;

        let now = world.now();
        let limit = world.settings.rate_limit;
        world.audit.authenticated(now, limit.map_or(60_000, |limit| limit.window_ms));
        if let Some(limit) = limit
            && !world.window.admit(&limit, now)
        {
            let retry_after = limit.retry_after_s.map(|seconds| seconds.to_string());
            return Err(VendorError { retry_after, ..VendorError::new(429, "Too Many Requests") });
        }
        match call.route {
            Route::GenerateAnswer | Route::Delete | Route::BulkDelete if !write => {
                return Err(VendorError::forbidden("write"));
            }
            Route::Get | Route::List | Route::Agents | Route::History if !read => {
                return Err(VendorError::forbidden("read"));
            }
            _ => {}
        }
        let fault = if world.faults.is_empty() { None } else { world.strike(call, now) };
        if let Some((kind, _)) = &fault {
            world.audit.struck(number, kind.name());
        }
        Ok(fault)
    }
}

impl World {
    /// Returns the fault that strikes a request, by its subject.
    fn strike(&mut self, call: &Call, now: i64) -> Option<(FaultKind, FaultParams)> {
        let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
        let named = if call.id.is_empty() { body["interactionId"].as_str().unwrap_or_default() } else { &call.id };
        let known = Uuid::parse_str(named).ok().and_then(|id| self.truth.get(id));
        let bot = known.map(|known| known.bot_id.as_str()).or_else(|| body["botId"].as_str());
        let subject = Subject {
            parts: &[call.id.as_bytes(), call.query.as_bytes(), &call.body],
            conversation: Some(named).filter(|named| !named.is_empty()),
            bot: bot.filter(|_| self.bots.len() > 1),
            text: body["content"].as_str(),
        };
        self.faults.strike(call.route, &subject, now)
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}

/// Gives the answer of the vendor's framework on any other path.
pub async fn not_found(method: Method, uri: Uri) -> Response {
    VendorError::new(StatusCode::NOT_FOUND.as_u16(), format!("Cannot {method} {}", uri.path())).into_response()
}
