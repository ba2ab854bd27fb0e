//! Shows the budget, and takes requests out of it for commands beside the bridge.

use std::time::Duration;

use axum::{Json, extract::State};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Admin, whole_millis};
use crate::{
    fini::budget::Taken,
    http::{
        body,
        problem::{Code, FieldError, Problem},
    },
    store::RequestClass,
};

pub(super) async fn budget(State(admin): State<Admin>) -> Result<Json<Value>, Problem> {
    let used = admin.budget.used().await?;
    let waiting = |class| admin.budget.waiting(class);
    let by_class: serde_json::Map<String, Value> = RequestClass::ALL
        .iter()
        .zip(used.by_class)
        .map(|(class, used)| (class.as_str().to_owned(), Value::from(used)))
        .collect();
    Ok(Json(json!({
        "limit": admin.budget.limit(),
        "window_seconds": seconds(admin.budget.window()),
        "used": used.used(),
        "used_by": by_class,
        "waiting": {
            "send": waiting(RequestClass::Send),
            "bind": waiting(RequestClass::Bind),
            "sweep": waiting(RequestClass::Sweep),
            "get": waiting(RequestClass::Get),
        },
        "sweep_age_ms": admin.sweep_age().map(whole_millis),
    })))
}

/// Returns whole seconds as an integer, others with their fraction.
fn seconds(window: Duration) -> Value {
    if window.subsec_nanos() == 0 { Value::from(window.as_secs()) } else { Value::from(window.as_secs_f64()) }
}

/// Takes one request out of the budget for a command that reads Fini beside this bridge (`export`): body
/// `{"class": "get"}`. Reads only; they leave room for sends like the bridge's own.
pub(super) async fn permit(State(admin): State<Admin>, body: Bytes) -> Result<Json<Value>, Problem> {
    let fields = body::object(&body)?;
    let mut errors = body::unknown(&fields, "", &["class"]);
    if fields.get("class").and_then(Value::as_str) != Some(RequestClass::Get.as_str()) {
        errors.push(FieldError::new("class", r#"must be "get""#));
    }
    if !errors.is_empty() {
        return Err(Problem::new(Code::InvalidRequest).errors(errors));
    }
    Ok(Json(match admin.budget.take(RequestClass::Get).await? {
        Taken::Permit(_) => json!({"granted": true}),
        // A duration instead of a time: clocks differ.
        Taken::NotBefore(at) => json!({"granted": false, "wait_ms": whole_millis(at.since(admin.clock.now()))}),
    }))
}
