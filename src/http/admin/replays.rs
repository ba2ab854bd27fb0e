//! Replays by range: sends delivered events again, as a durable job that can be watched, held and ended.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Admin, deliveries::time, only_reason};
use crate::{
    domain::{
        ids::ReplayId,
        job::{Act, JobState},
        log::TypeFilter,
    },
    http::{
        body,
        path::Path,
        problem::{Code, FieldError, Problem},
    },
    store::{Replay, ReplayRange},
};

/// Events a second, unless the request says otherwise.
const PER_SECOND: u32 = 10;
const MOST_PER_SECOND: u32 = 1_000;

/// Begins a replay: body `{frontend, destination?, since, until, types?, dry_run?, per_second?, reason?}`. A dry run
/// answers how much matches, and begins none.
pub(super) async fn begin(State(admin): State<Admin>, body: Bytes) -> Result<Response, Problem> {
    let wish = Wish::parse(&admin, &body)?;
    let matched = admin.store.replay_matches(&wish.range).await?;
    if wish.is_dry {
        return Ok(Json(json!({"matched": matched})).into_response());
    }
    let now = admin.clock.now();
    let replay = Replay {
        id: ReplayId::trusted(format!("rpl_{}", admin.entropy.uuid_v7(now))),
        range: wish.range,
        per_second: wish.per_second,
        state: JobState::Running,
        matched,
        due: 0,
        sent: 0,
        failed: 0,
        created_at: now,
        ended_at: None,
    };
    admin.store.begin_replay(&replay).await?;
    admin.replayer.notify();
    let frontend = &replay.range.frontend;
    tracing::info!(%frontend, replay = %replay.id, matched, "replay begun by an operator");
    Ok((StatusCode::ACCEPTED, Json(view(&replay))).into_response())
}

/// Shows one replay.
pub(super) async fn get(State(admin): State<Admin>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let found = admin.store.replay(&ReplayId::trusted(id)).await?.ok_or_else(no_replay)?;
    Ok(Json(view(&found)))
}

pub(super) async fn pause(
    State(admin): State<Admin>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    steer(&admin, id, Act::Pause, &body).await
}

pub(super) async fn resume(
    State(admin): State<Admin>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    steer(&admin, id, Act::Resume, &body).await
}

/// Cancels a replay. Callbacks that it made due before are still sent.
pub(super) async fn cancel(
    State(admin): State<Admin>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    steer(&admin, id, Act::Cancel, &body).await
}

async fn steer(admin: &Admin, id: String, act: Act, body: &[u8]) -> Result<Json<Value>, Problem> {
    only_reason(body)?;
    let steered = admin.store.steer_replay(&ReplayId::trusted(id), act, admin.clock.now()).await?;
    let replay = steered.ok_or_else(no_replay)?;
    admin.replayer.notify();
    tracing::info!(replay = %replay.id, state = replay.state.as_str(), "replay steered by an operator");
    Ok(Json(view(&replay)))
}

fn no_replay() -> Problem {
    Problem::new(Code::NotFound).detail("there is no such replay")
}

fn view(replay: &Replay) -> Value {
    json!({
        "id": replay.id,
        "state": replay.state.as_str(),
        "frontend": replay.range.frontend,
        "destination": replay.range.destination,
        "since": replay.range.since.to_string(),
        "until": replay.range.until.to_string(),
        "types": replay.range.types.patterns(),
        "per_second": replay.per_second,
        "matched": replay.matched,
        "due": replay.due,
        "sent": replay.sent,
        "failed": replay.failed,
        "created_at": replay.created_at.to_string(),
        "ended_at": replay.ended_at.map(|at| at.to_string()),
    })
}

/// A parsed request for a replay.
struct Wish {
    range: ReplayRange,
    is_dry: bool,
    per_second: u32,
}

impl Wish {
    fn parse(admin: &Admin, body: &Bytes) -> Result<Self, Problem> {
        let fields = body::object(body)?;
        let known = ["frontend", "destination", "since", "until", "types", "dry_run", "per_second", "reason"];
        let mut errors = body::unknown(&fields, "", &known);
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let mut moment = |name: &'static str| {
            let at = text(name).and_then(time);
            if at.is_none() {
                errors.push(FieldError::new(name, "must be RFC 3339 or epoch milliseconds, as a string"));
            }
            at
        };
        let (since, until) = (moment("since"), moment("until"));
        let frontend = text("frontend").and_then(|name| admin.frontend(name).ok()).cloned();
        if frontend.is_none() {
            errors.push(FieldError::new("frontend", "must be the name of a frontend"));
        }
        let destination = match fields.get("destination") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(name.clone()),
            Some(_) => {
                errors.push(FieldError::new("destination", "must be a string"));
                None
            }
        };
        let mut types = TypeFilter::default();
        match fields.get("types") {
            None | Some(Value::Null) => {}
            Some(Value::Array(all)) => {
                for one in all {
                    let added = one.as_str().ok_or_else(|| "must be strings".to_owned()).and_then(|one| types.add(one));
                    errors.extend(added.err().map(|message| FieldError::new("types", message)));
                }
            }
            Some(_) => errors.push(FieldError::new("types", "must be a list of event types")),
        }
        let is_dry = match fields.get("dry_run") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(is_dry)) => *is_dry,
            Some(_) => {
                errors.push(FieldError::new("dry_run", "must be true or false"));
                false
            }
        };
        let per_second = match fields.get("per_second") {
            None | Some(Value::Null) => Some(PER_SECOND),
            Some(value) => value.as_u64().and_then(|wish| u32::try_from(wish).ok()),
        };
        let per_second = per_second.filter(|wish| (1..=MOST_PER_SECOND).contains(wish));
        if per_second.is_none() {
            errors.push(FieldError::new("per_second", format!("must be 1 to {MOST_PER_SECOND}")));
        }
        match (frontend, since, until, per_second) {
            (Some(frontend), Some(since), Some(until), Some(per_second)) if errors.is_empty() => {
                Ok(Self { range: ReplayRange { frontend, destination, since, until, types }, is_dry, per_second })
            }
            _ => Err(Problem::new(Code::InvalidRequest).errors(errors)),
        }
    }
}
