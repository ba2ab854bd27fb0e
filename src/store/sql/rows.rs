//! Reading columns as the domain's types.

use super::{Row, db::Columns as _};
use crate::{
    domain::{
        Timestamp,
        conversation::State,
        correlation::{Correlation, RequestId, TraceContext},
        handoff::Speaker,
        ids::MessageId,
        message::Role,
        turn::TurnState,
    },
    store::{Result, StoreError},
};

/// Cuts rows that are inserted with one statement each part into parts of 64, 32, 16, 8, 4, 2 and 1: each length is a
/// statement of its own, and a connection keeps only so many prepared.
pub(in crate::store) fn parts<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = 1 << rows.len().min(64).checked_ilog2()?;
        let (part, rest) = rows.split_at(length);
        rows = rest;
        Some(part)
    })
}

/// Reads a text.
pub(in crate::store) fn text(row: &Row, column: &str) -> Result<String> {
    Ok(row.try_get(column)?)
}

/// Reads a text that may be missing.
pub(in crate::store) fn maybe_text(row: &Row, column: &str) -> Result<Option<String>> {
    Ok(row.try_get(column)?)
}

/// Reads a number.
pub(in crate::store) fn int(row: &Row, column: &str) -> Result<i64> {
    Ok(row.try_get(column)?)
}

/// Reads a number that may be missing.
pub(in crate::store) fn maybe_int(row: &Row, column: &str) -> Result<Option<i64>> {
    Ok(row.try_get(column)?)
}

/// Reads a count, which is never negative.
pub(in crate::store) fn count(row: &Row, column: &str) -> Result<u64> {
    Ok(u64::try_from(int(row, column)?).unwrap_or(0))
}

/// Reads a small count.
pub(in crate::store) fn small(row: &Row, column: &str) -> Result<u32> {
    Ok(u32::try_from(int(row, column)?.max(0)).unwrap_or(u32::MAX))
}

/// Reads a flag.
pub(in crate::store) fn flag(row: &Row, column: &str) -> Result<bool> {
    Ok(row.try_get(column)?)
}

/// Reads a flag that may be missing.
pub(in crate::store) fn maybe_flag(row: &Row, column: &str) -> Result<Option<bool>> {
    Ok(row.try_get(column)?)
}

/// Reads a time.
pub(in crate::store) fn time(row: &Row, column: &str) -> Result<Timestamp> {
    Ok(Timestamp::from_millis(row.try_get(column)?))
}

/// Reads a time that may be missing.
pub(in crate::store) fn maybe_time(row: &Row, column: &str) -> Result<Option<Timestamp>> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_millis))
}

/// Reads a turn's state.
pub(in crate::store) fn turn_state(row: &Row, column: &str) -> Result<TurnState> {
    named(row, column, TurnState::parse)
}

/// Reads a conversation's state.
pub(in crate::store) fn state(row: &Row, column: &str) -> Result<State> {
    named(row, column, State::parse)
}

/// Reads the right to speak to the customer.
pub(in crate::store) fn speaker(row: &Row, column: &str) -> Result<Speaker> {
    named(row, column, Speaker::parse)
}

/// Reads a message's id.
pub(in crate::store) fn message_id(row: &Row, column: &str) -> Result<MessageId> {
    Ok(MessageId::from_stored(&text(row, column)?))
}

/// Reads a role.
pub(in crate::store) fn role(row: &Row, column: &str) -> Result<Role> {
    named(row, column, Role::parse)
}

/// Reads the request that brought a turn's message; empty if there is none, or the record is not valid.
pub(in crate::store) fn cause(row: &Row) -> Result<Correlation> {
    Ok(Correlation {
        request: maybe_text(row, "request_id")?.as_deref().and_then(RequestId::parse),
        trace: maybe_text(row, "traceparent")?.as_deref().and_then(TraceContext::parse),
    })
}

/// Returns a parameter for `texts!`, `is_text_in!` and `is_key_in!`: a JSON array.
pub(in crate::store) fn array<T: serde::Serialize>(items: impl IntoIterator<Item = T>) -> Result<String> {
    Ok(serde_json::to_string(&items.into_iter().collect::<Vec<_>>())?)
}

fn named<T>(row: &Row, column: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T> {
    let name: String = row.try_get(column)?;
    parse(&name).ok_or_else(|| StoreError::Damaged(format!("{column} {name:?} is not known")))
}
