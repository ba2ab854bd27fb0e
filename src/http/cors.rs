//! Decides which pages may call, and with which headers.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowHeaders, CorsLayer};

use super::context;

/// Lets pages of these origins call.
///
/// They may send any header: monitoring scripts add their own to every request of a page, and refusing one gains nothing,
/// since only a token counts, which no browser adds by itself.
pub(super) fn layer(origins: &[String]) -> CorsLayer {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([header::RETRY_AFTER, context::REQUEST_ID, HeaderName::from_static("preference-applied")])
        .max_age(Duration::from_mins(10))
}
