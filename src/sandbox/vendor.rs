//! The vendor's seven routes: who is let in, who is turned away, and whom a fault strikes.
//!
//! Invariant: a request that carries a known key is counted before anything else is decided about it.

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Extension, Router};

use super::Sandbox;
use super::audit::{Route, Told};
use super::effect;
use super::error::VendorError;
use super::operate::Manner;
use super::rule::{FaultKind, FaultParams};
use super::server::Connection;

/// One request to the vendor.
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

/// The routes, without what else the sandbox serves.
pub fn router() -> Router<Sandbox> {
    Router::new()
        .route("/v2/hc-interactions/events/public", operation(MethodFilter::POST, Route::GenerateAnswer))
        .route(
            "/v2/hc-interactions/public",
            operation(MethodFilter::GET, Route::List).merge(operation(MethodFilter::DELETE, Route::BulkDelete)),
        )
        .route(
            "/v2/hc-interactions/{id}/public",
            operation(MethodFilter::GET, Route::Get).merge(operation(MethodFilter::DELETE, Route::Delete)),
        )
        .route("/v2/bots/public", operation(MethodFilter::GET, Route::Agents))
        .route("/v2/bots/requests/public", operation(MethodFilter::GET, Route::History))
}

fn operation(method: MethodFilter, route: Route) -> MethodRouter<Sandbox> {
    let handler = move |State(sandbox): State<Sandbox>,
                        id: Option<Path<String>>,
                        RawQuery(query): RawQuery,
                        connection: Option<Extension<Connection>>,
                        headers: HeaderMap,
                        body: Bytes| async move {
        let id = id.map_or_else(String::new, |Path(id)| id);
        let connection = connection.map(|Extension(connection)| connection);
        sandbox.call(Call { route, id, query: query.unwrap_or_default(), body, connection }, &headers).await
    };
    on(method, handler)
}

impl Sandbox {
    /// Serves one request from its arrival to its answer.
    async fn call(self, call: Call, headers: &HeaderMap) -> Response {
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
            Ok(None) => self.perform(&call, Manner::USUAL).await.map(IntoResponse::into_response),
            Ok(Some((kind, params))) => effect::strike(&self, &call, kind, &params).await,
            Err(error) => Err(error),
        };
        let response = response.unwrap_or_else(IntoResponse::into_response);
        self.world().audit.answered(number, call.route, response.status().as_u16());
        response
    }

    /// Key, throttle, scope, in this order; then the fault that is to strike.
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
        let fault = world.faults.strike(call.route, &[call.id.as_bytes(), call.query.as_bytes(), &call.body]);
        if let Some((kind, _)) = &fault {
            world.audit.struck(number, kind.name());
        }
        Ok(fault)
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}

/// What the vendor's framework answers on any other path.
pub async fn not_found(method: axum::http::Method, uri: axum::http::Uri) -> Response {
    VendorError::new(StatusCode::NOT_FOUND.as_u16(), format!("Cannot {method} {}", uri.path())).into_response()
}
