//! Statements on SQLite, under the names that sqlx gives them on PostgreSQL, so that the texts in `sql/` are one for both.
//!
//! A statement runs on the caller's thread and is done when it returns: every future here is ready at once. sqlx's
//! own driver for SQLite has a thread per connection and crosses over to it and back for each statement, which costs several
//! times as much as the statement.

use std::{
    borrow::Cow,
    future::{Ready, ready},
    marker::PhantomData,
    sync::Arc,
};

use rusqlite::{
    Error, Statement,
    types::{FromSql, ToSql, ToSqlOutput, Type, Value, ValueRef},
};

use super::Conn;

type Result<T> = std::result::Result<T, Error>;

/// A statement's text that was put together at run time, from nothing that came from outside.
#[cfg(test)]
pub(in crate::store) struct AssertSqlSafe<T>(pub(in crate::store) T);

/// The text of a statement: a literal, or one marked as safe.
pub(in crate::store) trait Text {
    fn text(self) -> Cow<'static, str>;
}

impl Text for &'static str {
    fn text(self) -> Cow<'static, str> {
        Cow::Borrowed(self)
    }
}

#[cfg(test)]
impl<T: Into<String>> Text for AssertSqlSafe<T> {
    fn text(self) -> Cow<'static, str> {
        Cow::Owned(self.0.into())
    }
}

/// A statement and its parameters.
pub(in crate::store) struct Query {
    sql: Cow<'static, str>,
    parameters: Result<Vec<Value>>,
}

/// A statement of which the first column is wanted.
pub(in crate::store) struct Scalar<T>(Query, PhantomData<fn() -> T>);

/// A statement of which the first columns are wanted.
pub(in crate::store) struct Tuples<T>(Query, PhantomData<fn() -> T>);

/// The number of rows that a statement changed.
pub(in crate::store) struct Done(u64);

impl Done {
    pub(in crate::store) const fn rows_affected(&self) -> u64 {
        self.0
    }
}

/// A row as it was read.
pub(in crate::store) struct Row {
    columns: Arc<[String]>,
    values: Vec<Value>,
}

/// Returns a statement.
pub(in crate::store) fn query(sql: impl Text) -> Query {
    Query { sql: sql.text(), parameters: Ok(Vec::new()) }
}

/// Returns a statement of which the first column is wanted.
pub(in crate::store) fn query_scalar<T: FromSql>(sql: impl Text) -> Scalar<T> {
    Scalar(query(sql), PhantomData)
}

/// Returns a statement of which the first columns are wanted.
pub(in crate::store) fn query_as<T: FromRow>(sql: impl Text) -> Tuples<T> {
    Tuples(query(sql), PhantomData)
}

/// Any number of statements, without parameters.
#[cfg(test)]
pub(in crate::store) struct Raw(Cow<'static, str>);

/// Returns any number of statements, without parameters.
#[cfg(test)]
pub(in crate::store) fn raw_sql(sql: impl Text) -> Raw {
    Raw(sql.text())
}

#[cfg(test)]
impl Raw {
    pub(in crate::store) fn execute(self, conn: &mut Conn) -> Ready<Result<()>> {
        ready(conn.execute_batch(&self.0))
    }
}

impl Query {
    pub(in crate::store) fn bind(mut self, value: impl ToSql) -> Self {
        match (&mut self.parameters, value.to_sql().and_then(owned)) {
            (Ok(parameters), Ok(value)) => parameters.push(value),
            (Ok(_), Err(error)) => self.parameters = Err(error),
            (Err(_), _) => {}
        }
        self
    }

    pub(in crate::store) fn execute(self, conn: &mut Conn) -> Ready<Result<Done>> {
        ready(self.run(conn))
    }

    pub(in crate::store) fn fetch_all(self, conn: &mut Conn) -> Ready<Result<Vec<Row>>> {
        ready(self.rows(conn))
    }

    pub(in crate::store) fn fetch_optional(self, conn: &mut Conn) -> Ready<Result<Option<Row>>> {
        ready(self.rows(conn).map(|rows| rows.into_iter().next()))
    }

    pub(in crate::store) fn fetch_one(self, conn: &mut Conn) -> Ready<Result<Row>> {
        ready(self.rows(conn).and_then(|rows| rows.into_iter().next().ok_or(Error::QueryReturnedNoRows)))
    }

    fn run(self, conn: &Conn) -> Result<Done> {
        let mut statement = conn.prepare_cached(&self.sql)?;
        bind_all(&mut statement, &self.parameters?)?;
        let changed = statement.raw_execute()?;
        Ok(Done(u64::try_from(changed).unwrap_or(u64::MAX)))
    }

    /// Reads all rows, to the last: only then are all changes of the statement made.
    fn rows(self, conn: &Conn) -> Result<Vec<Row>> {
        let mut statement = conn.prepare_cached(&self.sql)?;
        let width = statement.column_count();
        let mut columns: Option<Arc<[String]>> = None;
        bind_all(&mut statement, &self.parameters?)?;
        let mut found = statement.raw_query();
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let columns =
                columns.get_or_insert_with(|| row.as_ref().column_names().into_iter().map(str::to_owned).collect());
            let values =
                (0..width).map(|column| row.get_ref(column).map(Value::try_from)).collect::<Result<Vec<_>>>()?;
            let values = values.into_iter().collect::<std::result::Result<Vec<_>, _>>();
            let values = values.map_err(|error| Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))?;
            rows.push(Row { columns: Arc::clone(columns), values });
        }
        Ok(rows)
    }
}

impl<T: FromSql> Scalar<T> {
    pub(in crate::store) fn bind(self, value: impl ToSql) -> Self {
        Self(self.0.bind(value), PhantomData)
    }

    pub(in crate::store) fn fetch_all(self, conn: &mut Conn) -> Ready<Result<Vec<T>>> {
        ready(self.0.rows(conn).and_then(|rows| rows.iter().map(|row| row.at(0)).collect()))
    }

    pub(in crate::store) fn fetch_optional(self, conn: &mut Conn) -> Ready<Result<Option<T>>> {
        ready(self.0.rows(conn).and_then(|rows| rows.first().map(|row| row.at(0)).transpose()))
    }

    pub(in crate::store) fn fetch_one(self, conn: &mut Conn) -> Ready<Result<T>> {
        ready(self.0.rows(conn).and_then(|rows| rows.first().ok_or(Error::QueryReturnedNoRows)?.at(0)))
    }
}

impl<T: FromRow> Tuples<T> {
    pub(in crate::store) fn bind(self, value: impl ToSql) -> Self {
        Self(self.0.bind(value), PhantomData)
    }

    pub(in crate::store) fn fetch_all(self, conn: &mut Conn) -> Ready<Result<Vec<T>>> {
        ready(self.0.rows(conn).and_then(|rows| rows.iter().map(T::from_row).collect()))
    }

    pub(in crate::store) fn fetch_optional(self, conn: &mut Conn) -> Ready<Result<Option<T>>> {
        ready(self.0.rows(conn).and_then(|rows| rows.first().map(T::from_row).transpose()))
    }
}

/// Several columns at once.
pub(in crate::store) trait FromRow: Sized {
    fn from_row(row: &Row) -> Result<Self>;
}

impl<A: FromSql, B: FromSql> FromRow for (A, B) {
    fn from_row(row: &Row) -> Result<Self> {
        Ok((row.at(0)?, row.at(1)?))
    }
}

/// Columns by their name.
pub(in crate::store) trait Columns {
    fn try_get<T: FromSql, I: AsRef<str>>(&self, column: I) -> Result<T>;
}

impl Columns for Row {
    fn try_get<T: FromSql, I: AsRef<str>>(&self, column: I) -> Result<T> {
        let column = column.as_ref();
        let at = self.columns.iter().position(|name| name == column);
        self.at(at.ok_or_else(|| Error::InvalidColumnName(column.to_owned()))?)
    }
}

impl Row {
    fn at<T: FromSql>(&self, at: usize) -> Result<T> {
        let value = ValueRef::from(&self.values[at]);
        T::column_result(value).map_err(|error| Error::FromSqlConversionFailure(at, value.data_type(), Box::new(error)))
    }
}

/// Binds each parameter to its value. `$3` is a name to SQLite, numbered by its first position; to PostgreSQL and to us it
/// is the third.
fn bind_all(statement: &mut Statement<'_>, values: &[Value]) -> Result<()> {
    for index in 1..=statement.parameter_count() {
        let number = statement.parameter_name(index).and_then(|name| name.strip_prefix('$')?.parse().ok());
        let value = values.get(number.unwrap_or(index).wrapping_sub(1));
        let value = value.ok_or(Error::InvalidParameterCount(values.len(), statement.parameter_count()))?;
        statement.raw_bind_parameter(index, value)?;
    }
    Ok(())
}

fn owned(value: ToSqlOutput<'_>) -> Result<Value> {
    let failed = |error| Error::ToSqlConversionFailure(error);
    match value {
        ToSqlOutput::Owned(value) => Ok(value),
        ToSqlOutput::Borrowed(value) => Value::try_from(value).map_err(|error| failed(Box::new(error))),
        _ => Err(failed("neither a number, a text nor bytes".into())),
    }
}

/// A statement that is put together piece by piece.
pub(in crate::store) struct QueryBuilder {
    sql: String,
    query: Query,
}

impl QueryBuilder {
    pub(in crate::store) fn new(sql: &'static str) -> Self {
        Self { sql: sql.to_owned(), query: query("") }
    }

    pub(in crate::store) fn push(&mut self, sql: &'static str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    pub(in crate::store) fn push_bind(&mut self, value: impl ToSql) -> &mut Self {
        let query = std::mem::replace(&mut self.query, query(""));
        self.query = query.bind(value);
        self.push("?")
    }

    pub(in crate::store) fn build(&mut self) -> Query {
        let query = std::mem::replace(&mut self.query, query(""));
        Query { sql: Cow::Owned(std::mem::take(&mut self.sql)), ..query }
    }

    pub(in crate::store) fn build_query_as<T: FromRow>(&mut self) -> Tuples<T> {
        Tuples(self.build(), PhantomData)
    }
}
