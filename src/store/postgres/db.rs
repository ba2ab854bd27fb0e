//! Statements on PostgreSQL, under the names by which the texts in `sql/` call them: sqlx's own.

#[cfg(test)]
pub(in crate::store) use sqlx::{AssertSqlSafe, raw_sql};
pub(in crate::store) use sqlx::{Row as Columns, query, query_as, query_scalar};

/// A statement that is put together piece by piece.
pub(in crate::store) type QueryBuilder = sqlx::QueryBuilder<sqlx::Postgres>;
