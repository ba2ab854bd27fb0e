//! Figures for the page's meter, read from the bridge's admin listener.
//!
//! Whatever is missing there is missing on the page; nothing is made up and nothing fails because of it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value};

use super::Demo;

/// The page asks every second; a later answer would be old news.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The gauge of conversations that are being watched.
const WATCHED: &str = "fini_bridge_watched_conversations";

/// What `GET /admin/v1/budget` says, with `available`, `ready` and `watched` added.
pub(super) async fn show(State(demo): State<Demo>) -> Json<Value> {
    let read = |path: &str| {
        let request = demo.http.get(format!("{}{path}", demo.settings.admin_url));
        async move {
            let response = request.timeout(TIMEOUT).send().await.ok()?;
            let success = response.status().is_success();
            Some((success, response.text().await.ok()?))
        }
    };
    let (budget, ready, metrics) = futures_util::join!(read("/admin/v1/budget"), read("/readyz"), read("/metrics"));
    let figures: Option<Map<String, Value>> =
        budget.filter(|(success, _)| *success).and_then(|(_, text)| serde_json::from_str(&text).ok());
    let mut answer = figures.clone().unwrap_or_default();
    answer.insert("available".into(), figures.is_some().into());
    answer.insert("ready".into(), ready.map(|(success, _)| success).into());
    let watched = metrics.and_then(|(_, text)| gauge(&text, WATCHED));
    answer.insert("watched".into(), watched.into());
    Json(answer.into())
}

/// The first sample of a metric in Prometheus text format.
fn gauge(text: &str, name: &str) -> Option<f64> {
    let sample = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(' '));
    sample.and_then(|(_, value)| value.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_read_from_the_text_format() {
        let text = "# HELP fini_bridge_watched_conversations x\nfini_bridge_watched_conversations 12\nother 3\n";
        assert_eq!(gauge(text, WATCHED), Some(12.0));
        assert_eq!(gauge(text, "absent"), None);
    }
}
