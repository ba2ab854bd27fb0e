//! `POST /v1/users/{user_id}/tokens`: a browser token for all conversations of one user.

use axum::{
    extract::{Request, State},
    response::Response,
};

use super::{
    Public, body,
    openapi::{Errors, schema},
    path::Path,
    problem::{Code, FieldError, Problem},
    tokens::{Subject, Wish, minted},
};
use crate::domain::ids::UserId;

/// Mints a user's token. The body is optional: `{"attributes"?, "origins"?, "ttl_seconds"?}`.
#[utoipa::path(
    post,
    path = "/v1/users/{user_id}/tokens",
    operation_id = "mintUserToken",
    summary = "Mint a browser token for all conversations of one user, and for new ones",
    params(("user_id" = String, Path, min_length = 1, max_length = 200, description = "The frontend's own id of the user; neither `.` nor `..`"),),
    request_body(content = Option<schema::UserTokenWish>),
    responses(
        (status = 200, description = "The token", body = schema::Token),
        (status = 409, description = "browser_tokens_disabled", body = schema::ProblemBody, content_type = "application/problem+json"),
        Errors,
    ),
    security(("bearer" = []))
)]
pub async fn post_token(
    State(public): State<Public>,
    Path(user): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (caller, body) = body::of_caller(&public, request).await?;
    let frontend = caller.server_only()?;
    let user = UserId::parse(&user).map_err(|error| {
        Problem::new(Code::InvalidRequest).errors(vec![FieldError::new("user_id", error.to_string())])
    })?;
    minted(&public, &frontend, Subject::User(user), Wish::parse_for_user(&body)?).await
}
