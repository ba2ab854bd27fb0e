//! Frontends and their destinations: shows the state of callbacks, holds them back, lets them go, and tries them by a ping.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Admin, only_reason, wants_texts};
use crate::{
    delivery::{Endpoint, client::Attempt},
    domain::{Timestamp, correlation::Onward, destination::Destination},
    http::{
        path::Path,
        problem::{Code, Problem},
    },
    store::{Change, DestinationHold},
};

pub(super) async fn frontends(State(admin): State<Admin>) -> Result<Json<Value>, Problem> {
    let now = admin.clock.now();
    let held = admin.store.held_destinations().await?;
    let all: Vec<_> = admin
        .frontends
        .iter()
        .map(|name| {
            let main = Destination::main(name.clone());
            let destinations: Vec<_> = of(&admin, |one| one.frontend == *name)
                .map(|endpoint| {
                    let mut view = fares(Some(endpoint), &endpoint.destination, &held, now);
                    view["destination"] = endpoint.destination.name.as_str().into();
                    view
                })
                .collect();
            let mut view = fares(of(&admin, |one| *one == main).next(), &main, &held, now);
            view["frontend"] = name.as_str().into();
            view["destinations"] = destinations.into();
            view
        })
        .collect();
    Ok(Json(json!({"frontends": all})))
}

/// Shows the state of the callbacks to a destination.
fn fares(endpoint: Option<&Endpoint>, destination: &Destination, held: &[DestinationHold], now: Timestamp) -> Value {
    let hold = held.iter().find(|hold| hold.destination == *destination);
    json!({
        "callback_host": endpoint.and_then(|endpoint| endpoint.url.host_str()),
        "paused": hold.map(|hold| json!({"reason": hold.reason, "since": hold.since.to_string()})),
        "breaker": endpoint.map(|endpoint| endpoint.state(now).as_str()),
        "deferred_until": endpoint.and_then(|endpoint| endpoint.held_until(now)).map(|until| until.to_string()),
    })
}

fn of(admin: &Admin, is_meant: impl Fn(&Destination) -> bool) -> impl Iterator<Item = &Endpoint> {
    admin.endpoints.iter().map(AsRef::as_ref).filter(move |endpoint| is_meant(&endpoint.destination))
}

/// Returns the wanted destinations of a frontend: the one that `?destination=` names, else all of them.
fn meant(admin: &Admin, frontend: &str, query: Option<&str>) -> Result<Vec<Destination>, Problem> {
    let frontend = admin.frontend(frontend)?;
    let mut members = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let wanted = members.find(|(name, _)| name == "destination").map(|(_, value)| value.into_owned());
    let all = of(admin, |one| one.frontend == *frontend).map(|endpoint| endpoint.destination.clone());
    let found: Vec<_> = all.filter(|one| wanted.as_ref().is_none_or(|wanted| one.name == *wanted)).collect();
    match wanted {
        Some(_) if found.is_empty() => Err(Problem::new(Code::NotFound).detail("there is no such destination")),
        // A frontend without any callback is paused by its own name, as one that is to get one.
        None if found.is_empty() => Ok(vec![Destination::main(frontend.clone())]),
        _ => Ok(found),
    }
}

fn names(destinations: &[Destination]) -> Vec<&str> {
    destinations.iter().map(|one| one.name.as_str()).collect()
}

pub(super) async fn pause(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    only_reason(&body)?;
    let destinations = meant(&admin, &name, query.as_deref())?;
    for destination in &destinations {
        let hold = DestinationHold {
            destination: destination.clone(),
            reason: "operator".to_owned(),
            since: admin.clock.now(),
        };
        admin.store.hold_destination(&hold).await?;
        tracing::warn!(frontend = name, destination = destination.name, "callbacks paused by an operator");
    }
    Ok(Json(json!({"frontend": name, "destinations": names(&destinations), "paused": true})))
}

pub(super) async fn resume(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    only_reason(&body)?;
    let destinations = meant(&admin, &name, query.as_deref())?;
    let mut was_paused = false;
    for destination in &destinations {
        let released = admin.store.release_destination(destination).await?;
        was_paused |= released;
        if let Some(endpoint) = of(&admin, |one| one == destination).next() {
            endpoint.try_now(admin.clock.now());
        }
        let destination = &destination.name;
        tracing::info!(frontend = name, destination, was_paused = released, "callbacks resumed by an operator");
    }
    admin.store.changes().announce(Change::Deliveries);
    Ok(Json(json!({"frontend": name, "destinations": names(&destinations), "paused": false, "was_paused": was_paused})))
}

/// Sends one signed test callback, outside the feed: type `ping`, no sequence. Without a destination, to the frontend's own
/// callback, or to its first if it has none. A receiver that takes it is called back again at once, by this replica.
pub(super) async fn ping(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    only_reason(&body)?;
    let destinations = meant(&admin, &name, query.as_deref())?;
    let endpoint = of(&admin, |one| destinations.contains(one)).next();
    let endpoint = endpoint.ok_or_else(|| Problem::new(Code::NotFound).detail("this frontend has no callback_url"))?;
    let frontend = &endpoint.destination.frontend;
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
        headers: endpoint.headers(),
        onward: Onward::default(),
        timeout: endpoint.terms.timeout,
    };
    let began_at = admin.clock.now();
    let result = endpoint.receivers(&admin.receivers).attempt(&attempt).await;
    let delivered = result.status.is_some_and(|status| (200..300).contains(&status));
    if delivered && endpoint.took(began_at) {
        tracing::info!(%frontend, destination = endpoint.destination.name, "callbacks flow again");
        admin.store.changes().announce(Change::Deliveries);
    }
    Ok(Json(json!({
        "frontend": frontend,
        "destination": endpoint.destination.name,
        "event_id": id,
        "delivered": delivered,
        "status": result.status,
        "error": result.error.map(|error| error.to_string()),
        "response": wants_texts(query.as_deref()).then_some(result.body_excerpt),
        "duration_ms": u64::try_from(result.duration.as_millis()).unwrap_or(u64::MAX),
    })))
}
