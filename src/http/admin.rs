//! The operators' API on the admin listener: health, readiness, metrics and `/admin/v1`. Never behind the ingress.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, RawQuery, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;
use tower_http::catch_panic::CatchPanicLayer;

use super::{
    auth::digest,
    context,
    problem::{Code, FieldError, Problem},
};
use crate::{
    delivery::{
        Endpoint,
        client::{Attempt, CallbackClient},
    },
    domain::{
        Clock, Entropy, Timestamp,
        correlation::Onward,
        event::as_rfc3339,
        ids::{ConversationId, DeliveryId, FrontendName, InteractionId},
    },
    fini::budget::{Budget, Taken},
    lifecycle::Health,
    metrics::{self, Metrics, PanicPlace},
    service::{
        gate::{Gate, Side, Trouble},
        reader::Reader,
    },
    store::{Bindings, Bound, Change, Delivery, DeliveryFilter, DeliveryState, FrontendHold, RequestClass, Store},
    telemetry::spans::Spans,
};

/// Reading that is further behind than this is not ready.
const READING_BEHIND: Duration = Duration::from_mins(2);
/// Largest page of deliveries.
const MAX_PAGE: usize = 500;

/// What the operators' handlers work with.
#[derive(Clone)]
pub struct Admin {
    /// Everything that is kept.
    pub store: Arc<dyn Store>,
    /// Forgets what is bound anew.
    pub bindings: Bindings,
    /// Whether loops make progress.
    pub health: Health,
    /// Whether Fini accepts the keys.
    pub gate: Arc<Gate>,
    /// What was used of the budget.
    pub budget: Arc<Budget>,
    /// How reading keeps up.
    pub reader: Arc<Reader>,
    /// The figures.
    pub metrics: Metrics,
    /// Where spans are told.
    pub spans: Spans,
    /// For pings.
    pub client: CallbackClient,
    /// The frontends' callback addresses.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Every frontend's name.
    pub frontends: Vec<FrontendName>,
    /// The deadline of a ping.
    pub callback_timeout: Duration,
    /// The bearer token, where one is required.
    pub token: Option<SecretString>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids.
    pub entropy: Arc<dyn Entropy>,
}

/// The operators' API.
pub fn admin(state: Admin) -> Router {
    let panics = state.metrics.clone();
    let observed = context::Observed {
        clock: Arc::clone(&state.clock),
        entropy: Arc::clone(&state.entropy),
        metrics: state.metrics.clone(),
        spans: state.spans.clone(),
        listener: "admin",
    };
    let guarded = Router::new()
        .route("/admin/v1/deliveries", get(deliveries))
        .route("/admin/v1/deliveries/retry", post(retry_many))
        .route("/admin/v1/deliveries/{id}", get(delivery))
        .route("/admin/v1/deliveries/{id}/retry", post(retry_one))
        .route("/admin/v1/frontends", get(frontends))
        .route("/admin/v1/frontends/{name}/pause", post(pause))
        .route("/admin/v1/frontends/{name}/resume", post(resume))
        .route("/admin/v1/frontends/{name}/ping", post(ping))
        .route("/admin/v1/conversations/{frontend}/{id}", get(conversation))
        .route("/admin/v1/conversations/{frontend}/{id}/bind", post(bind))
        .route("/admin/v1/budget", get(budget))
        .route("/admin/v1/budget/permits", post(permit))
        .route_layer(middleware::from_fn_with_state(state.clone(), authorize));
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(encode_metrics))
        .merge(guarded)
        .fallback(super::not_found)
        .method_not_allowed_fallback(super::method_not_allowed)
        .layer(CatchPanicLayer::custom(move |_: Box<dyn std::any::Any + Send>| {
            panics.panicked(PanicPlace::Http);
            Problem::new(Code::Internal).into_response()
        }))
        .layer(middleware::from_fn_with_state(observed, context::observe))
        .with_state(state)
}

async fn authorize(State(admin): State<Admin>, request: Request, next: Next) -> Result<Response, Problem> {
    if let Some(token) = &admin.token {
        let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given =
            given.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let matches =
            given.is_some_and(|(_, given)| bool::from(digest(given.trim()).ct_eq(&digest(token.expose_secret()))));
        if !matches {
            return Err(Problem::new(Code::Unauthorized).detail("the admin token is required"));
        }
    }
    Ok(next.run(request).await)
}

async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Every check decides, unless the query leaves it out (`?exclude=reading&exclude=key_read`, the way the Kubernetes API server's
/// own `/readyz` has it): a probe that routes customers' messages wants those taken, and kept, while Fini is away.
async fn readyz(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    let store = tokio::time::timeout(Duration::from_secs(3), admin.store.ping()).await;
    let store = match store {
        Ok(Ok(())) => json!({"ok": true}),
        Ok(Err(error)) => json!({"ok": false, "error": error.to_string()}),
        Err(_) => json!({"ok": false, "error": "no answer within 3 s"}),
    };
    let loops = admin.health.loops();
    let key = |side| match admin.gate.trouble(side) {
        Some(Trouble::KeyRefused(status)) => json!({"ok": false, "error": format!("Fini answered {status}")}),
        other => {
            json!({"ok": true, "accepted": admin.gate.was_accepted(side), "trouble": other.map(|trouble| format!("{trouble:?}"))})
        }
    };
    let behind = admin.sweep_age();
    let reading_ok = behind.is_none_or(|behind| behind < READING_BEHIND);
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
        "stopping": {"ok": !stopping},
    });
    let query = query.unwrap_or_default();
    let excluded: Vec<_> = url::form_urlencoded::parse(query.as_bytes())
        .filter(|(name, value)| name == "exclude" && checks.get(value.as_ref()).is_some())
        .map(|(_, value)| value)
        .collect();
    let ready = checks.as_object().is_some_and(|all| {
        all.iter().all(|(name, check)| check["ok"] == json!(true) || excluded.iter().any(|left_out| left_out == name))
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": ready, "checks": checks, "excluded": excluded}))).into_response()
}

async fn encode_metrics(State(admin): State<Admin>) -> Response {
    admin.metrics.sweep_age(admin.sweep_age().unwrap_or_default());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], admin.metrics.encode()).into_response()
}

#[derive(Serialize)]
struct DeliveryView<'a> {
    id: &'a DeliveryId,
    event_id: &'a str,
    frontend: &'a FrontendName,
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

fn view(delivery: &Delivery, whole: bool) -> Value {
    let view = DeliveryView {
        id: &delivery.id,
        event_id: delivery.event_id.as_str(),
        frontend: &delivery.frontend,
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

async fn deliveries(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
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

async fn delivery(State(admin): State<Admin>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let found = admin.store.delivery(&DeliveryId::trusted(id)).await?.ok_or_else(no_delivery)?;
    Ok(Json(view(&found, true)))
}

async fn retry_one(State(admin): State<Admin>, Path(id): Path<String>) -> Result<Response, Problem> {
    let retried = admin.store.retry_delivery(&DeliveryId::trusted(id), admin.clock.now()).await?;
    let retried = retried.ok_or_else(no_delivery)?;
    tracing::info!(delivery_id = %retried.id, event_id = %retried.event_id, "delivery replayed by an operator");
    Ok((StatusCode::ACCEPTED, Json(view(&retried, false))).into_response())
}

async fn retry_many(State(admin): State<Admin>, body: Bytes) -> Result<Json<Value>, Problem> {
    let mut form = FilterForm::default();
    for (name, value) in object(&body)? {
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
        self.errors.push(FieldError { field, message: message.to_owned() });
    }

    fn take(&mut self, name: &str, value: &str) {
        match name {
            "state" => match DeliveryState::parse(value) {
                Some(state) => self.filter.state = Some(state),
                None => self.fault("state", "must be pending, dead or delivered"),
            },
            "frontend" => self.filter.frontend = Some(FrontendName::trusted(value)),
            "conversation_id" => self.filter.conversation = Some(ConversationId::trusted(value)),
            "since" => match time(value) {
                Some(at) => self.filter.since = Some(at),
                None => self.fault("since", "must be RFC 3339 or epoch milliseconds"),
            },
            "until" => match time(value) {
                Some(at) => self.filter.until = Some(at),
                None => self.fault("until", "must be RFC 3339 or epoch milliseconds"),
            },
            _ => self.fault("filter", "takes state, frontend, conversation_id, since and until"),
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

fn time(text: &str) -> Option<Timestamp> {
    if let Ok(millis) = text.parse::<i64>() {
        return Some(Timestamp::from_millis(millis));
    }
    text.parse::<jiff::Timestamp>().ok().map(|at| Timestamp::from_millis(at.as_millisecond()))
}

fn object(body: &[u8]) -> Result<serde_json::Map<String, Value>, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(serde_json::Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        _ => Err(Problem::new(Code::InvalidJson).detail("the body must be a JSON object")),
    }
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Admin {
    /// How long ago the last sweep began; `None` where this process has nothing to sweep for.
    fn sweep_age(&self) -> Option<Duration> {
        let age = self.reader.age();
        age.swept_at.filter(|_| age.watching).map(|at| self.clock.now().since(at))
    }

    fn frontend(&self, name: &str) -> Result<&FrontendName, Problem> {
        let found = self.frontends.iter().find(|frontend| frontend.as_str() == name);
        found.ok_or_else(|| Problem::new(Code::NotFound).detail("there is no such frontend"))
    }
}

async fn frontends(State(admin): State<Admin>) -> Result<Json<Value>, Problem> {
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
                "breaker": endpoint.map(|endpoint| format!("{:?}", endpoint.state(now))),
            })
        })
        .collect();
    Ok(Json(json!({"frontends": all})))
}

async fn pause(State(admin): State<Admin>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    let frontend = admin.frontend(&name)?.clone();
    let hold = FrontendHold { frontend, reason: "operator".to_owned(), since: admin.clock.now() };
    admin.store.hold_frontend(&hold).await?;
    tracing::warn!(frontend = name, "callbacks paused by an operator");
    Ok(Json(json!({"frontend": name, "paused": true})))
}

async fn resume(State(admin): State<Admin>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    let frontend = admin.frontend(&name)?;
    let was_paused = admin.store.release_frontend(frontend).await?;
    admin.store.changes().announce(Change::Deliveries);
    tracing::info!(frontend = name, was_paused, "callbacks resumed by an operator");
    Ok(Json(json!({"frontend": name, "paused": false, "was_paused": was_paused})))
}

/// Sends one signed test callback, outside the feed: type `ping`, no sequence.
async fn ping(State(admin): State<Admin>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    let frontend = admin.frontend(&name)?;
    let endpoint = admin
        .endpoints
        .iter()
        .find(|endpoint| endpoint.frontend == *frontend)
        .ok_or_else(|| Problem::new(Code::NotFound).detail("this frontend has no callback_url"))?;
    let now = admin.clock.now();
    let id = format!("evt_{}", admin.entropy.uuid_v7(now));
    let body =
        json!({"id": id, "type": "ping", "timestamp": now.to_string(), "frontend": frontend, "data": {}}).to_string();
    let timestamp = now.as_secs();
    let signature = endpoint.signer.sign(&id, timestamp, body.as_bytes(), timestamp);
    let attempt = Attempt {
        url: endpoint.url.clone(),
        id: id.clone(),
        timestamp,
        signature,
        body: Bytes::from(body),
        onward: Onward::default(),
        timeout: admin.callback_timeout,
    };
    let result = admin.client.attempt(&attempt).await;
    let delivered = result.status.is_some_and(|status| (200..300).contains(&status));
    Ok(Json(json!({
        "frontend": frontend,
        "event_id": id,
        "delivered": delivered,
        "status": result.status,
        "error": result.error.map(|error| error.to_string()),
        "response": result.body_excerpt,
        "duration_ms": u64::try_from(result.duration.as_millis()).unwrap_or(u64::MAX),
    })))
}

async fn conversation(
    State(admin): State<Admin>,
    Path((frontend, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let frontend = admin.frontend(&frontend)?.clone();
    let content = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .any(|(name, value)| name == "content" && value == "true");
    let id = ConversationId::trusted(id);
    let found = admin.store.conversation(&frontend, &id).await?.ok_or_else(super::conversations::no_conversation)?;
    let filter = DeliveryFilter {
        frontend: Some(frontend.clone()),
        conversation: Some(id.clone()),
        ..DeliveryFilter::default()
    };
    let page = admin.store.deliveries(&filter, None, 50).await?;
    let deliveries: Vec<_> = page.deliveries.iter().map(|delivery| view(delivery, false)).collect();
    let mut view = json!({
        "frontend": frontend,
        "conversation_id": id,
        "state": found.state,
        "note": found.note,
        "status_text": found.status_text,
        "interaction_id": found.interaction.as_ref().map(InteractionId::as_str),
        "binding_version": found.binding_version,
        "last_sequence": found.last_sequence,
        "queued_turns": found.queued,
        "pending_deliveries": found.pending_deliveries,
        "dead_deliveries": found.dead_deliveries,
        "created_at": found.created_at.to_string(),
        "updated_at": found.updated_at.to_string(),
        "next_read_at": found.next_read_at.map(|at| at.to_string()),
        "watch_until": found.watch_until.map(|at| at.to_string()),
        "deliveries": deliveries,
    });
    if let Some((_, feed)) = admin.store.feed(&frontend, &id, 0, 500).await? {
        let events: Vec<Value> = feed
            .entries
            .iter()
            .map(|entry| {
                if content {
                    serde_json::from_str(&entry.body).unwrap_or_default()
                } else {
                    json!({"sequence": entry.sequence, "type": entry.kind})
                }
            })
            .collect();
        view["events"] = Value::from(events);
    }
    Ok(Json(view))
}

/// Settles a quarantine: to a Fini conversation, or to a new one.
async fn bind(
    State(admin): State<Admin>,
    Path((frontend, id)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let frontend = admin.frontend(&frontend)?.clone();
    let fields = object(&body)?;
    let interaction = match (fields.get("interaction_id"), fields.get("new")) {
        (Some(Value::String(id)), None) if (1..=200).contains(&id.len()) => Some(InteractionId::trusted(id.as_str())),
        (None, Some(Value::Bool(true))) => None,
        _ => {
            let message = r#"must be {"interaction_id": "…"} or {"new": true}"#.to_owned();
            return Err(Problem::new(Code::InvalidRequest).errors(vec![FieldError { field: "", message }]));
        }
    };
    let id = ConversationId::trusted(id);
    let found = admin.store.conversation(&frontend, &id).await?.ok_or_else(super::conversations::no_conversation)?;
    let key = found.reference.key;
    match admin.store.settle_quarantine(key, interaction.as_ref(), admin.clock.now()).await? {
        Bound::Now | Bound::Already => {}
        Bound::Quarantined { owner } => {
            let detail = format!("it belongs to {}/{}", owner.frontend, owner.id);
            return Err(Problem::new(Code::AlreadyBound).detail(detail));
        }
        Bound::Stale => return Err(Problem::new(Code::NotQuarantined)),
    }
    admin.bindings.forget(key).await;
    tracing::info!(%frontend, conversation_id = %id, "quarantine settled by an operator");
    let after = admin.store.conversation(&frontend, &id).await?.ok_or_else(super::conversations::no_conversation)?;
    Ok(Json(json!({
        "frontend": frontend,
        "conversation_id": id,
        "state": after.state,
        "interaction_id": after.interaction.as_ref().map(InteractionId::as_str),
    })))
}

async fn budget(State(admin): State<Admin>) -> Result<Json<Value>, Problem> {
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

/// Whole seconds as an integer, others with their fraction.
fn seconds(window: Duration) -> Value {
    if window.subsec_nanos() == 0 { Value::from(window.as_secs()) } else { Value::from(window.as_secs_f64()) }
}

/// Takes one request out of the budget for a command that reads Fini beside this bridge (`export`): body
/// `{"class": "get"}`. Reads only; they leave room for sends like the bridge's own.
async fn permit(State(admin): State<Admin>, body: Bytes) -> Result<Json<Value>, Problem> {
    if object(&body)?.get("class").and_then(Value::as_str) != Some(RequestClass::Get.as_str()) {
        let message = r#"must be "get""#.to_owned();
        return Err(Problem::new(Code::InvalidRequest).errors(vec![FieldError { field: "class", message }]));
    }
    Ok(Json(match admin.budget.take(RequestClass::Get).await? {
        Taken::Permit(_) => json!({"granted": true}),
        Taken::NotBefore(at) => json!({"granted": false, "not_before": at.to_string()}),
    }))
}
