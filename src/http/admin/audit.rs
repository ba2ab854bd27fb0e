//! The audit as operators read it, and who the reader is.

use axum::{
    Extension, Json,
    extract::{RawQuery, State},
};
use serde_json::{Value, json};

use super::Admin;
use crate::{
    domain::operator::Operator,
    http::problem::{Code, FieldError, Problem},
    store::Act,
};

/// Largest page.
const MAX_PAGE: usize = 500;

/// Returns a page of the audit, newest first.
pub(super) async fn audit(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let (mut cursor, mut limit) = (None, 100);
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match name.as_ref() {
            "cursor" => cursor = Some(value.into_owned()),
            "limit" => match value.parse::<usize>() {
                Ok(wanted) if wanted > 0 => limit = wanted.min(MAX_PAGE),
                _ => {
                    let error = FieldError::new("limit", format!("must be 1 to {MAX_PAGE}"));
                    return Err(Problem::new(Code::InvalidRequest).errors(vec![error]));
                }
            },
            _ => {}
        }
    }
    let page = admin.store.audit(cursor.as_deref(), limit).await?;
    let acts: Vec<_> = page.acts.iter().map(view).collect();
    Ok(Json(json!({"audit": acts, "next_cursor": page.next_cursor})))
}

/// Returns the operator's name, role and right to read texts.
pub(super) async fn me(Extension(operator): Extension<Operator>) -> Json<Value> {
    Json(json!({"name": operator.name, "role": operator.role.as_str(), "texts": operator.texts}))
}

fn view(act: &Act) -> Value {
    let object = match &act.conversation {
        Some((_, id)) => act.object.replace("{id}", id.as_str()),
        None => act.object.clone(),
    };
    json!({
        "at": act.at.to_string(),
        "operator": act.operator,
        "act": act.act,
        "object": object,
        "reason": act.reason,
        "refused": act.is_refused,
    })
}
