//! Health, readiness and figures: without a token, as probes and scrapers have none.

use std::time::Duration;

use axum::{
    Json,
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{Admin, whole_millis};
use crate::{
    domain::scopes::{Side, Trouble},
    metrics,
};

/// Reading that is further behind than this is a warning.
const READING_BEHIND: Duration = Duration::from_mins(2);

pub(super) async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Checks that do not take readiness away, since customers' messages can be taken in and kept: their failures are shown as
/// warnings.
const WARNINGS: [&str; 3] = ["fini", "reading", "clock"];

/// Every check but the [`WARNINGS`] decides, unless the query leaves it out (`?exclude=reading&exclude=key_read`, as in the
/// Kubernetes API server's own `/readyz`): a probe that routes customers' messages wants those taken, and kept, while Fini
/// is away.
pub(super) async fn readyz(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    let store = tokio::time::timeout(Duration::from_secs(3), admin.store.ping()).await;
    let store = match store {
        Ok(Ok(())) => json!({"ok": true}),
        Ok(Err(error)) => json!({"ok": false, "error": error.to_string()}),
        Err(_) => json!({"ok": false, "error": "no answer within 3 s"}),
    };
    let loops = admin.health.loops();
    // Only Fini's own answer about the key counts; answers about anything smaller, its own or of something in front of it,
    // are a warning.
    let key = |side| match admin.breakers.key_trouble(side) {
        Some(Trouble::Refused(status)) => json!({"ok": false, "error": format!("Fini answered {status}")}),
        _ => json!({"ok": true, "accepted": admin.breakers.was_accepted(side)}),
    };
    let left_alone: Vec<_> = admin
        .breakers
        .open()
        .into_iter()
        .map(|(scope, bot, trouble, since)| {
            json!({"scope": scope, "bot": bot, "trouble": trouble.to_string(), "since": since.to_string()})
        })
        .collect();
    let behind = admin.sweep_age();
    let reading_ok = behind.is_none_or(|behind| behind < READING_BEHIND);
    let offsets = (admin.clocks)();
    let seconds = |ahead_ms: Option<i64>| {
        ahead_ms
            .map(|ahead| Duration::from_millis(ahead.unsigned_abs()).as_secs_f64() * if ahead < 0 { -1.0 } else { 1.0 })
    };
    let stopping = admin.health.is_stopping();
    let checks = json!({
        "store": store,
        "loops": {"ok": loops.iter().all(|one| one.healthy), "loops": loops},
        "key_write": key(Side::Write),
        "key_read": key(Side::Read),
        "reading": {
            "ok": reading_ok,
            "sweep_age_ms": behind.map(whole_millis),
            "catching_up": admin.reader.age().catching_up,
        },
        "fini": {"ok": left_alone.is_empty(), "left_alone": left_alone},
        "clock": {
            "ok": !offsets.are_far_off(),
            "ahead_of_fini_seconds": seconds(offsets.fini),
            "ahead_of_postgres_seconds": seconds(offsets.postgres),
        },
        "stopping": {"ok": !stopping},
    });
    let query = query.unwrap_or_default();
    let excluded: Vec<_> = url::form_urlencoded::parse(query.as_bytes())
        .filter(|(name, value)| name == "exclude" && checks.get(value.as_ref()).is_some())
        .map(|(_, value)| value)
        .collect();
    let ready = checks.as_object().is_some_and(|all| {
        all.iter().all(|(name, check)| {
            check["ok"] == json!(true)
                || WARNINGS.contains(&name.as_str())
                || excluded.iter().any(|left_out| left_out == name)
        })
    });
    let warnings: Vec<_> = WARNINGS.into_iter().filter(|name| checks[*name]["ok"] != json!(true)).collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": ready, "checks": checks, "warnings": warnings, "excluded": excluded})))
        .into_response()
}

pub(super) async fn encode_metrics(State(admin): State<Admin>) -> Response {
    admin.metrics.sweep_age(admin.sweep_age().unwrap_or_default());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], admin.metrics.encode()).into_response()
}
