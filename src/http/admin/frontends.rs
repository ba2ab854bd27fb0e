//! Frontends: how their callbacks fare, held back and let go, tried by a ping.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Admin, wants_texts};
use crate::{
    delivery::client::Attempt,
    domain::correlation::Onward,
    http::{
        path::Path,
        problem::{Code, Problem},
    },
    store::{Change, FrontendHold},
};

pub(super) async fn frontends(State(admin): State<Admin>) -> Result<Json<Value>, Problem> {
    let now = admin.clock.now();
    let held = admin.store.held_frontends().await?;
    let all: Vec<_> = admin
        .frontends
        .iter()
        .map(|name| {
            let hold = held.iter().find(|hold| hold.frontend == *name);
            let endpoint = admin.endpoints.iter().find(|endpoint| endpoint.frontend == *name);
            json!({
                "frontend": name,
                "callback_host": endpoint.and_then(|endpoint| endpoint.url.host_str()),
                "paused": hold.map(|hold| json!({"reason": hold.reason, "since": hold.since.to_string()})),
                "breaker": endpoint.map(|endpoint| endpoint.state(now).as_str()),
                "deferred_until": endpoint.and_then(|endpoint| endpoint.held_until(now)).map(|until| until.to_string()),
            })
        })
        .collect();
    Ok(Json(json!({"frontends": all})))
}

pub(super) async fn pause(State(admin): State<Admin>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    let frontend = admin.frontend(&name)?.clone();
    let hold = FrontendHold { frontend, reason: "operator".to_owned(), since: admin.clock.now() };
    admin.store.hold_frontend(&hold).await?;
    tracing::warn!(frontend = name, "callbacks paused by an operator");
    Ok(Json(json!({"frontend": name, "paused": true})))
}

pub(super) async fn resume(State(admin): State<Admin>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    let frontend = admin.frontend(&name)?;
    let was_paused = admin.store.release_frontend(frontend).await?;
    admin.store.changes().announce(Change::Deliveries);
    tracing::info!(frontend = name, was_paused, "callbacks resumed by an operator");
    Ok(Json(json!({"frontend": name, "paused": false, "was_paused": was_paused})))
}

/// Sends one signed test callback, outside the feed: type `ping`, no sequence.
pub(super) async fn ping(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let frontend = admin.frontend(&name)?;
    let endpoint = admin
        .endpoints
        .iter()
        .find(|endpoint| endpoint.frontend == *frontend)
        .ok_or_else(|| Problem::new(Code::NotFound).detail("this frontend has no callback_url"))?;
    let now = admin.wall.now();
    let id = format!("evt_{}", admin.entropy.uuid_v7(now.point()));
    let body =
        json!({"id": id, "type": "ping", "timestamp": now.to_string(), "frontend": frontend, "data": {}}).to_string();
    let timestamp = now.as_secs();
    let signature = endpoint.signer().sign(&id, timestamp, body.as_bytes(), timestamp);
    let attempt = Attempt {
        url: endpoint.url.clone(),
        id: id.clone(),
        timestamp,
        signature,
        body: Bytes::from(body),
        onward: Onward::default(),
        timeout: admin.callback_timeout,
    };
    let result = admin.receivers.attempt(&attempt).await;
    let delivered = result.status.is_some_and(|status| (200..300).contains(&status));
    Ok(Json(json!({
        "frontend": frontend,
        "event_id": id,
        "delivered": delivered,
        "status": result.status,
        "error": result.error.map(|error| error.to_string()),
        "response": wants_texts(query.as_deref()).then_some(result.body_excerpt),
        "duration_ms": u64::try_from(result.duration.as_millis()).unwrap_or(u64::MAX),
    })))
}
