//! The load of this replica over the last day, and the configuration that it runs with.

use std::{sync::PoisonError, time::Duration};

use axum::{
    Json,
    extract::{RawQuery, State},
};
use serde_json::{Map, Value, json};

use super::{Admin, part};
use crate::{
    domain::figures::{Point, WaitsFor},
    http::problem::{Code, FieldError, Problem},
};

/// Reach of the figures into the past.
const DAY: Duration = Duration::from_hours(24);

/// `GET /admin/v1/figures?window=24h`: points with the worst values of each step, oldest first; kept in this replica's
/// memory, so they begin with its start.
pub(super) async fn figures(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let (_, members) = part::query(query.as_deref(), &["window"])?;
    let window = members.get("window").map_or(Some(DAY), |text| humantime::parse_duration(text).ok());
    let window = window.filter(|window| (Duration::from_mins(1)..=DAY).contains(window)).ok_or_else(|| {
        let error = FieldError::new("window", "must be a time from 1m to 24h");
        Problem::new(Code::InvalidRequest).errors(vec![error])
    })?;
    let figures = admin.figures.lock().unwrap_or_else(PoisonError::into_inner);
    let (step, points) = figures.over(window, admin.clock.now());
    drop(figures);
    Ok(Json(json!({
        "replica": &*admin.replica,
        "window_seconds": window.as_secs(),
        "step_seconds": step.as_secs(),
        "points": points.iter().map(shown).collect::<Vec<_>>(),
    })))
}

fn shown(point: &Point) -> Value {
    let sample = &point.sample;
    let (mut waiting, mut oldest) = (Map::new(), Map::new());
    for (kind, waits) in WaitsFor::ALL.into_iter().zip(sample.waiting) {
        waiting.insert(kind.as_str().to_owned(), waits.count.into());
        oldest.insert(kind.as_str().to_owned(), waits.oldest.as_secs_f64().into());
    }
    json!({
        "at": point.at.to_string(),
        "budget": {"used": sample.budget_used, "limit": sample.budget_limit},
        "waiting": waiting,
        "oldest_waiting_seconds": oldest,
        "oldest_due_seconds": {
            "turns": sample.due_turns.as_secs_f64(),
            "deliveries": sample.due_deliveries.as_secs_f64(),
        },
        "sweep_age_seconds": sample.unread.as_secs_f64(),
        "event_lag_seconds": sample.lag.map(|lag| lag.as_secs_f64()),
    })
}

/// `GET /admin/v1/configuration`: the configuration with which this replica started; of secrets only that they are there.
pub(super) async fn configuration(State(admin): State<Admin>) -> Json<Value> {
    Json(json!({"replica": &*admin.replica, "configuration": *admin.configuration}))
}
