//! `GET /v1/client.js`: the browser client, served by the bridge that it talks to, so that both always fit together.
//!
//! The module stands here as it would in an npm package (`package.json` beside it); nothing is built, only its comments stay
//! at home. It needs no token: it holds nothing that is not public.

use std::sync::LazyLock;

use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::get,
};

/// An old client keeps working with a newer bridge, so an hour of caching costs nothing but freshness.
const CACHE: &str = "public, max-age=3600";

/// The module at `/v1/client.js`, its TypeScript declarations at `/v1/client.d.ts`. Pages of other origins may import it
/// where CORS lets them call at all.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/v1/client.js", get(script)).route("/v1/client.d.ts", get(types))
}

/// The module without its comments, which a page's visitors need not download; no text in it holds ` // `. The first comment
/// stays, for whoever wonders what this is.
static SCRIPT: LazyLock<String> = LazyLock::new(|| {
    let source = include_str!("fini-bridge.js");
    let (head, code) = source.split_once("*/\n").unwrap_or(("", source));
    let is_code = |line: &&str| !["//", "/**", "* ", "*/"].iter().any(|mark| line.trim_start().starts_with(mark));
    let code = code.lines().filter(is_code).map(|line| line.split(" // ").next().unwrap_or(line));
    let lines: Vec<&str> = code.filter(|line| !line.is_empty()).collect();
    format!("{head}*/\n{}\n", lines.join("\n"))
});

async fn script() -> Response {
    file("text/javascript; charset=utf-8", &SCRIPT)
}

async fn types() -> Response {
    file("text/plain; charset=utf-8", include_str!("fini-bridge.d.ts"))
}

fn file(media_type: &'static str, content: &'static str) -> Response {
    ([("content-type", media_type), ("cache-control", CACHE), ("x-content-type-options", "nosniff")], content)
        .into_response()
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn the_module_is_served_as_one_file_that_imports_nothing() {
        let request = Request::get("/v1/client.js").body(Body::empty()).unwrap();
        let response = router::<()>().oneshot(request).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/javascript; charset=utf-8");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&body).unwrap();
        assert!(text.contains("export class FiniChat"));
        assert!(!text.contains("import "), "one module, no imports");
        assert!(!text.contains("innerHTML"), "texts stay text");
    }
}
