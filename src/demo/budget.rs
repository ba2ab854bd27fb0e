//! Figures for the page's meter, read from the bridge's admin listener.
//!
//! Missing figures are missing on the page; nothing is made up and nothing fails because of it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value};

use super::Demo;

/// The page asks every second; a later answer would be old news.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The gauge of conversations that are being watched.
const WATCHED: &str = "fini_bridge_watched_conversations";

/// The counter of requests to Fini.
const REQUESTS: &str = "fini_bridge_fini_requests_total";
/// The route by which messages are sent; all others read.
const SENT: &str = "generate_answer";

/// Shows the answer of `GET /admin/v1/budget`, with `available`, `ready`, `watched` and, since the start, the numbers of
/// requests that `sent` a message and that `read`.
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
    let metrics = metrics.map(|(_, text)| text);
    answer.insert("watched".into(), metrics.as_deref().and_then(|text| gauge(text, WATCHED)).into());
    let count = |is_sent| metrics.as_deref().map(|text| requests(text, |route| (route == SENT) == is_sent));
    answer.insert("sent".into(), count(true).into());
    answer.insert("read".into(), count(false).into());
    Json(answer.into())
}

/// Returns the first sample of a metric in Prometheus text format.
fn gauge(text: &str, name: &str) -> Option<f64> {
    let sample = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(' '));
    sample.and_then(|(_, value)| value.trim().parse().ok())
}

/// Returns the number of requests to Fini on the routes that `is_meant` accepts.
fn requests(text: &str, is_meant: impl Fn(&str) -> bool) -> f64 {
    let samples = text.lines().filter_map(|line| line.strip_prefix(REQUESTS)?.split_once(' '));
    let route =
        |labels: &str| labels.split_once("route=\"").and_then(|(_, rest)| Some(rest.split_once('"')?.0.to_owned()));
    let meant = samples.filter(|(labels, _)| route(labels).is_some_and(|route| is_meant(&route)));
    meant.filter_map(|(_, count)| count.trim().parse::<f64>().ok()).sum()
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

    #[test]
    fn requests_are_counted_by_their_routes() {
        let text = "fini_bridge_fini_requests_total{route=\"generate_answer\",status=\"200\"} 2\n\
                    fini_bridge_fini_requests_total{route=\"list\",status=\"200\"} 40\n\
                    fini_bridge_fini_requests_total{route=\"list\",status=\"500\"} 1\nother{route=\"list\"} 9\n";
        assert_eq!((requests(text, |route| route == SENT), requests(text, |route| route != SENT)), (2.0, 41.0));
    }
}
