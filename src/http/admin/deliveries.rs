//! Lists deliveries, and gives them another round.

use axum::{
    Json,
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Admin, only_reason, wants_texts};
use crate::{
    domain::{
        Timestamp,
        event::as_rfc3339,
        ids::{ConversationId, DeliveryId, EventId, FrontendName},
    },
    http::{
        body,
        path::Path,
        problem::{Code, FieldError, Problem},
    },
    store::{Delivery, DeliveryFilter, DeliveryState},
};

/// Largest page of deliveries.
const MAX_PAGE: usize = 500;

#[derive(Serialize)]
struct DeliveryView<'a> {
    id: &'a DeliveryId,
    event_id: &'a str,
    frontend: &'a FrontendName,
    destination: &'a str,
    conversation_id: &'a ConversationId,
    sequence: i64,
    #[serde(rename = "type")]
    kind: &'a str,
    state: &'static str,
    attempts: u32,
    replays: u32,
    #[serde(serialize_with = "optional_time")]
    next_attempt_at: Option<Timestamp>,
    last_status: Option<u16>,
    last_error: Option<&'a str>,
    dead_end: Option<&'a str>,
    #[serde(serialize_with = "as_rfc3339")]
    created_at: Timestamp,
    #[serde(serialize_with = "optional_time")]
    delivered_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_response: Option<&'a str>,
}

#[expect(clippy::ref_option, reason = "the signature that serde asks for")]
fn optional_time<S: serde::Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.collect_str(at),
        None => serializer.serialize_none(),
    }
}

pub(super) fn view(delivery: &Delivery, whole: bool) -> Value {
    let view = DeliveryView {
        id: &delivery.id,
        event_id: delivery.event_id.as_str(),
        frontend: &delivery.destination.frontend,
        destination: &delivery.destination.name,
        conversation_id: &delivery.conversation_id,
        sequence: delivery.sequence,
        kind: &delivery.kind,
        state: delivery.state.as_str(),
        attempts: delivery.attempts,
        replays: delivery.replays,
        next_attempt_at: delivery.next_attempt_at,
        last_status: delivery.last_status,
        last_error: delivery.last_error.as_deref(),
        dead_end: delivery.dead_end.as_deref(),
        created_at: delivery.created_at,
        delivered_at: delivery.delivered_at,
        last_response: delivery.last_response.as_deref().filter(|_| whole),
    };
    serde_json::to_value(view).unwrap_or_default()
}

pub(super) async fn deliveries(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let mut form = FilterForm::default();
    let (mut cursor, mut limit) = (None, 100);
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match name.as_ref() {
            "cursor" => cursor = Some(value.into_owned()),
            "limit" => match value.parse::<usize>() {
                Ok(wanted) if wanted > 0 => limit = wanted.min(MAX_PAGE),
                _ => form.fault("limit", "must be 1 to 500"),
            },
            name => form.take(name, &value),
        }
    }
    let filter = form.finish()?;
    let page = admin.store.deliveries(&filter, cursor.as_deref(), limit).await?;
    let deliveries: Vec<_> = page.deliveries.iter().map(|delivery| view(delivery, false)).collect();
    Ok(Json(json!({"deliveries": deliveries, "next_cursor": page.next_cursor})))
}

/// Shows one delivery. A receiver's answer may repeat a customer's words, so it counts as a text, which is shown on request
/// only.
pub(super) async fn delivery(
    State(admin): State<Admin>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let found = admin.store.delivery(&DeliveryId::trusted(id)).await?.ok_or_else(no_delivery)?;
    Ok(Json(view(&found, wants_texts(query.as_deref()))))
}

pub(super) async fn retry_one(
    State(admin): State<Admin>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    only_reason(&body)?;
    let retried = admin.store.retry_delivery(&DeliveryId::trusted(id), admin.clock.now()).await?;
    let retried = retried.ok_or_else(no_delivery)?;
    tracing::info!(delivery_id = %retried.id, event_id = %retried.event_id, "delivery replayed by an operator");
    Ok((StatusCode::ACCEPTED, Json(view(&retried, false))).into_response())
}

pub(super) async fn retry_many(State(admin): State<Admin>, body: Bytes) -> Result<Json<Value>, Problem> {
    const MEMBERS: &[&str] = &["state", "frontend", "destination", "conversation_id", "since", "until", "reason"];
    let fields = body::object(&body)?;
    let mut form = FilterForm { errors: body::unknown(&fields, "", MEMBERS), ..FilterForm::default() };
    for (name, value) in fields.into_iter().filter(|(name, _)| MEMBERS.contains(&name.as_str())) {
        match value {
            Value::Null => {}
            Value::String(text) => form.take(&name, &text),
            Value::Number(number) => form.take(&name, &number.to_string()),
            _ => form.fault("filter", "values must be strings"),
        }
    }
    let filter = form.finish()?;
    let retried = admin.store.retry_deliveries(&filter, admin.clock.now()).await?;
    tracing::info!(deliveries = retried, "dead letters replayed by an operator");
    Ok(Json(json!({"retried": retried})))
}

fn no_delivery() -> Problem {
    Problem::new(Code::NotFound).detail("there is no such delivery")
}

#[derive(Default)]
struct FilterForm {
    filter: DeliveryFilter,
    errors: Vec<FieldError>,
}

impl FilterForm {
    fn fault(&mut self, field: &'static str, message: &str) {
        self.errors.push(FieldError::new(field, message));
    }

    fn take(&mut self, name: &str, value: &str) {
        match name {
            "state" => match DeliveryState::parse(value) {
                Some(state) => self.filter.state = Some(state),
                None => self.fault("state", "must be pending, dead or delivered"),
            },
            "frontend" => self.filter.frontend = Some(FrontendName::trusted(value)),
            "destination" => self.filter.destination = Some(value.to_owned()),
            "conversation_id" => self.filter.conversation = Some(ConversationId::trusted(value)),
            "event_id" => self.filter.event = Some(EventId::trusted(value)),
            "since" => match time(value) {
                Some(at) => self.filter.since = Some(at),
                None => self.fault("since", "must be RFC 3339 or epoch milliseconds"),
            },
            "until" => match time(value) {
                Some(at) => self.filter.until = Some(at),
                None => self.fault("until", "must be RFC 3339 or epoch milliseconds"),
            },
            // A body with an unknown member was refused before; the reason for a look is accepted in any case.
            "reason" => {}
            name => self.errors.push(FieldError::new(
                name.to_owned(),
                "is not known; there are state, frontend, destination, conversation_id, event_id, since and until",
            )),
        }
    }

    fn finish(self) -> Result<DeliveryFilter, Problem> {
        if self.errors.is_empty() {
            Ok(self.filter)
        } else {
            Err(Problem::new(Code::InvalidRequest).errors(self.errors))
        }
    }
}

/// Parses a point in time as operators write it.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    if let Ok(millis) = text.parse::<i64>() {
        return Some(Timestamp::from_millis(millis));
    }
    text.parse::<jiff::Timestamp>().ok().map(|at| Timestamp::from_millis(at.as_millisecond()))
}
