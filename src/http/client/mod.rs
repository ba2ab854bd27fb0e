//! `GET /v1/client.js`: the browser client, served by the bridge that it talks to, so that both always fit together; and
//! `GET /v1/markdown.js`, which draws Markdown for pages that want it.
//!
//! The modules stand here as in an npm package (`package.json` beside them); nothing is built, only their comments are left
//! out. They need no token: they hold nothing that is not public.

use std::sync::LazyLock;

use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::get,
};

/// An old client keeps working with a newer bridge, so an hour of caching costs nothing but freshness.
const CACHE: &str = "public, max-age=3600";

/// Serves the modules at `/v1/client.js` and `/v1/markdown.js`, and the TypeScript declarations of the first at
/// `/v1/client.d.ts`. Pages of other origins may import them if CORS lets them call at all.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let script = |script: &'static LazyLock<String>| get(async move || file(JAVASCRIPT, script));
    Router::new()
        .route("/v1/client.js", script(&CLIENT))
        .route("/v1/markdown.js", script(&MARKDOWN))
        .route("/v1/client.d.ts", get(async || file("text/plain; charset=utf-8", include_str!("fini-bridge.d.ts"))))
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

static CLIENT: LazyLock<String> = LazyLock::new(|| without_comments(include_str!("fini-bridge.js")));
static MARKDOWN: LazyLock<String> = LazyLock::new(|| without_comments(include_str!("markdown.js")));

/// Returns a module without comments and indentation, which a page's visitors need not download; no text in it holds ` // `
/// or goes over several lines. The first sentence stays, for readers who wonder what this is.
fn without_comments(source: &str) -> String {
    let (head, code) = source.split_once("*/\n").unwrap_or(("", source));
    let title = head.lines().find_map(|line| line.strip_prefix(" * ")).unwrap_or_default();
    let is_code = |line: &&str| !["//", "/**", "* ", "*/"].iter().any(|mark| line.starts_with(mark));
    let code = code.lines().map(str::trim).filter(is_code).map(|line| line.split(" // ").next().unwrap_or(line));
    let lines: Vec<&str> = code.filter(|line| !line.is_empty()).collect();
    format!("/** {title} */\n{}\n", lines.join("\n"))
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
    async fn each_module_is_served_as_one_file_that_imports_nothing() {
        for (path, export) in
            [("/v1/client.js", "export class FiniChat"), ("/v1/markdown.js", "export function markdown")]
        {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let response = router::<()>().oneshot(request).await.unwrap();
            assert_eq!(response.headers()["content-type"], "text/javascript; charset=utf-8");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let text = std::str::from_utf8(&body).unwrap();
            assert!(text.contains(export), "{path}");
            assert!(!text.contains("import "), "one module, no imports");
            assert!(!text.contains("innerHTML"), "texts stay text");
        }
    }
}
