//! `DELETE /v1/users/{user_id}` and `GET` on it: erases everything of a person, and reports what is proved of that.

use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio::time::Instant;

use super::{
    Public,
    asked::Asked,
    conversations::{Query, authenticate},
    erase::{SCRUB, scrubbed},
    openapi::{Errors, schema},
    path::Path,
    problem::{Code, Problem},
    users::user_id,
};
use crate::{
    domain::{
        Timestamp,
        event::as_rfc3339,
        ids::{FrontendName, UserId},
    },
    service::eraser::BATCH,
    store::PersonErasure,
};

#[derive(Serialize)]
struct Erased<'a> {
    user_id: &'a str,
    local: &'static str,
    upstream: &'static str,
    #[serde(serialize_with = "as_rfc3339")]
    requested_at: Timestamp,
    conversations: Counts,
}

#[derive(Serialize)]
struct Counts {
    erased: u64,
    proved: u64,
    pending: u64,
    failed: u64,
}

/// Erases everything of a person: durable before the answer, and finished even if this process dies meanwhile.
#[utoipa::path(
    delete,
    path = "/v1/users/{user_id}",
    operation_id = "eraseUser",
    tag = "Users",
    summary = "Erase everything of a person here and, on request, at Fini",
    description = "Every conversation of the person is erased, those included that begin before the last one is found. It goes \
        on over restarts; ask with `GET` how far it is. Browser tokens of the person that are older are refused from now on.",
    params(
        ("user_id" = String, Path, min_length = 1, max_length = 200, description = "The frontend's own id of the user; neither `.` nor `..`"),
        ("upstream" = Option<bool>, Query, description = "Ask Fini to delete them too, and read back to prove it"),
    ),
    responses((status = 202, description = "How far it is", body = schema::PersonErased), Errors),
    security(("frontend_token" = []))
)]
pub async fn delete(
    State(public): State<Public>,
    Path(user): Path<String>,
    RawQuery(query): RawQuery,
    asked: Asked,
) -> Result<Response, Problem> {
    let frontend = authenticate(&public, &asked)?.server_only()?;
    let user = user_id(&user)?;
    let query = Query::parse(query.as_deref())?;
    let now = public.clock.now();
    if !public.store.want_person_erased(&frontend, user.as_str(), query.upstream, now).await? {
        return Err(no_person());
    }
    // It is done in any case; the caller waits for it as long as that is short.
    let deadline = Instant::now() + SCRUB;
    while Instant::now() < deadline && !public.stop.soft().is_cancelled() {
        match public.store.erase_some(Some((&frontend, user.as_str())), public.clock.now(), BATCH).await? {
            Some(_) => {}
            None => break,
        }
    }
    public.eraser.notify();
    let is_gone = scrubbed(&public).await?;
    let erasure = erasure(&public, &frontend, &user).await?.ok_or_else(no_person)?;
    let conversations = erasure.conversations;
    tracing::info!(frontend = %frontend, upstream = query.upstream, conversations, "person erased");
    Ok((StatusCode::ACCEPTED, axum::Json(told(&user, &erasure, is_gone))).into_response())
}

/// Reports what is proved of an erasure.
#[utoipa::path(
    get,
    path = "/v1/users/{user_id}",
    operation_id = "getErasedUser",
    tag = "Users",
    summary = "How far the erasure of a person is, and what was proved",
    description = "Known from the moment it was asked for.",
    params(("user_id" = String, Path, min_length = 1, max_length = 200, description = "The frontend's own id of the user; neither `.` nor `..`"),),
    responses((status = 200, description = "How far it is", body = schema::PersonErased), Errors),
    security(("frontend_token" = []))
)]
pub async fn get(State(public): State<Public>, Path(user): Path<String>, asked: Asked) -> Result<Response, Problem> {
    let frontend = authenticate(&public, &asked)?.server_only()?;
    let user = user_id(&user)?;
    let erasure = erasure(&public, &frontend, &user).await?.ok_or_else(no_person)?;
    let is_gone = public.store.scrub().await?;
    Ok(axum::Json(told(&user, &erasure, is_gone)).into_response())
}

async fn erasure(public: &Public, frontend: &FrontendName, user: &UserId) -> Result<Option<PersonErasure>, Problem> {
    let _turn = public.reads.turn(frontend).await?;
    Ok(public.store.person_erasure(frontend, user.as_str()).await?)
}

fn told<'a>(user: &'a UserId, erasure: &PersonErasure, is_gone: bool) -> Erased<'a> {
    let &PersonErasure { conversations: erased, proved, pending, failed, .. } = erasure;
    let upstream = match () {
        () if !erasure.upstream => "not_requested",
        () if !erasure.is_done_here || pending > 0 => "pending",
        () if failed > 0 => "failed",
        () if proved > 0 => "erased",
        () => "not_bound",
    };
    Erased {
        user_id: user.as_str(),
        local: if erasure.is_done_here && is_gone { "erased" } else { "pending" },
        upstream,
        requested_at: erasure.requested_at.point(),
        conversations: Counts { erased, proved, pending, failed },
    }
}

fn no_person() -> Problem {
    Problem::new(Code::NotFound).detail("nothing is known of such a user, and no erasure of one")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::WallTime;

    #[test]
    fn the_worst_of_all_conversations_is_told() {
        let all = |upstream, is_done_here, (proved, pending, failed)| PersonErasure {
            requested_at: WallTime::from_millis(0),
            upstream,
            is_done_here,
            conversations: 3,
            proved,
            pending,
            failed,
        };
        let user = UserId::trusted("u-9");
        for (erasure, local, upstream) in [
            (all(false, true, (0, 0, 0)), "erased", "not_requested"),
            (all(true, false, (1, 0, 0)), "pending", "pending"),
            (all(true, true, (1, 1, 1)), "erased", "pending"),
            (all(true, true, (2, 0, 1)), "erased", "failed"),
            (all(true, true, (2, 0, 0)), "erased", "erased"),
            (all(true, true, (0, 0, 0)), "erased", "not_bound"),
        ] {
            let told = told(&user, &erasure, true);
            assert_eq!((told.local, told.upstream), (local, upstream), "{erasure:?}");
        }
        assert_eq!(told(&user, &all(false, true, (0, 0, 0)), false).local, "pending");
    }
}
