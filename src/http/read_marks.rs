//! `POST /v1/conversations/{id}/read`: sets how far the customer has read, on whichever device.

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{
    Public, body,
    conversations::{is_current, no_conversation, own},
    form::Form,
    openapi::{Errors, schema},
    path::Path,
    problem::Problem,
};
use crate::domain::ids::ConversationId;

#[derive(Serialize)]
struct Marked<'a> {
    conversation_id: &'a ConversationId,
    read_sequence: i64,
    last_sequence: i64,
}

/// Moves the read mark: never back, and no further than the feed goes.
#[utoipa::path(
    post,
    path = "/v1/conversations/{conversation_id}/read",
    operation_id = "markRead",
    tag = "Conversations",
    summary = "Say how far the customer has read",
    description = "Moves the read mark up to `sequence`, never back and no further than the feed goes. The conversation's open \
        streams are told by the hint `read.updated`. With a server's token, or a browser's for this conversation or its user.",
    params(("conversation_id" = String, Path, description = "The frontend's own id"),),
    request_body(content = schema::ReadWish),
    responses(
        (status = 200, description = "Where the mark stands", body = schema::ReadMark),
        (status = 429, description = "rate_limited", body = schema::ProblemBody, content_type = "application/problem+json"),
        Errors,
    ),
    security(("frontend_token" = []), ("browser_token" = []))
)]
pub async fn post(State(public): State<Public>, Path(id): Path<String>, request: Request) -> Result<Response, Problem> {
    let (caller, body) = body::of_caller(&public, request).await?;
    let admitted = public.reads.admit(&caller)?;
    let id = own(&public, &caller, &id).await?;
    is_current(&public, &caller, &id).await?;
    let sequence = sequence(&body)?;
    let mark = public.store.mark_read(caller.frontend(), &id, sequence).await?.ok_or_else(no_conversation)?;
    let marked = Marked { conversation_id: &id, read_sequence: mark.read_sequence, last_sequence: mark.last_sequence };
    Ok(admitted.until_taken(axum::Json(marked).into_response()))
}

/// The largest whole number that a script in a browser holds exactly; no feed gets so long.
const MAX_SEQUENCE: i64 = (1 << 53) - 1;

fn sequence(body: &[u8]) -> Result<i64, Problem> {
    let mut form = Form::read(body, &["sequence"])?;
    let sequence = form.number("sequence", 0..=MAX_SEQUENCE);
    form.finish_with("sequence", sequence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::problem::Code;

    #[test]
    fn takes_whole_numbers_alone() {
        for (body, expected) in [(r#"{"sequence": 0}"#, 0), (r#"{"sequence": 7.0}"#, 7)] {
            assert_eq!(sequence(body.as_bytes()).ok(), Some(expected), "{body}");
        }
        for bad in [
            "",
            "{}",
            r#"{"sequence": -1}"#,
            r#"{"sequence": 9223372036854775808}"#,
            r#"{"sequence": "7"}"#,
            r#"{"sequence": 1.5}"#,
            r#"{"sequence": null}"#,
        ] {
            assert_eq!(sequence(bad.as_bytes()).expect_err("no number").code(), Code::InvalidRequest, "{bad}");
        }
        assert!(sequence(br#"{"sequence": 1, "upto": 2}"#).is_err(), "nobody knows upto");
    }
}
