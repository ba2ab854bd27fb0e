//! The page at `/` that explains the sandbox and its use.
//!
//! Without script, and with everything in it escaped: it shows values that callers can set (settings, the `Host` header).

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse};

use super::Sandbox;
use super::rule::KINDS;
use super::script::TRIGGERS;

const PAGE: &str = include_str!("index.html");
const FAULTS: &str = include_str!("FAULTS.md");

/// Returns each setting with its meaning, from the one table of them.
pub fn documented_settings() -> Vec<(&'static str, &'static str)> {
    let table = FAULTS.split_once("| Setting | Says |").map_or("", |(_, table)| table);
    let lines = table.lines().skip(2).take_while(|line| line.starts_with("| `"));
    lines.filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | ")).collect()
}

/// Returns the page, with the bots, the trigger words, the faults and the present settings filled in.
pub async fn index(State(sandbox): State<Sandbox>, headers: HeaderMap) -> impl IntoResponse {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let (settings, bots, count) = {
        let world = sandbox.world();
        (world.settings.clone(), world.bots.clone(), world.truth.len())
    };
    let key = sandbox.world().api_keys.first().map_or_else(String::new, |key| key.key.clone());
    let named: Vec<String> =
        bots.iter().map(|(bot, _)| format!("{} <code>{}</code>", escape(&bot.name), escape(&bot.id))).collect();
    let settings = serde_json::to_string_pretty(&settings).unwrap_or_default();
    let filled = [
        ("{{triggers}}", rows(TRIGGERS)),
        ("{{faults}}", rows(KINDS)),
        ("{{settings_explained}}", rows(&documented_settings())),
        ("{{bots}}", named.join(", ")),
        ("{{bot}}", bots.first().map_or_else(String::new, |(bot, _)| escape(&bot.id))),
        ("{{key}}", escape(&key)),
        ("{{origin}}", format!("http://{}", escape(host))),
        ("{{conversations}}", count.to_string()),
        ("{{settings}}", escape(&settings)),
    ];
    let page = filled.iter().fold(PAGE.to_owned(), |page, (name, value)| page.replace(name, value));
    ([(header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'")], Html(page))
}

fn rows(pairs: &[(&str, &str)]) -> String {
    pairs.iter().fold(String::new(), |mut rows, (name, text)| {
        // Writing to a String cannot fail.
        let _ = write!(rows, "<tr><td><code>{}</code></td><td>{}</td></tr>", escape(name), escape(text));
        rows
    })
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
