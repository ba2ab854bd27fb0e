//! Takes the members of a JSON body one by one, and reports every fault at once.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::{
    body,
    problem::{Code, FieldError, Problem},
    tokens::whole,
};

/// Characters of a name or an id at most.
const LONGEST_LINE: usize = 200;
/// Characters of an address at most.
const LONGEST_ADDRESS: usize = 2000;

/// The members of a body that were not taken yet, and the faults of those that were.
pub(super) struct Form {
    fields: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Form {
    /// Reads an object that has no members but these.
    pub(super) fn read(body: &[u8], members: &[&str]) -> Result<Self, Problem> {
        Ok(Self::of(body::object(body)?, "", members))
    }

    /// Takes the members of the object at `parent`.
    pub(super) fn of(fields: Map<String, Value>, parent: &str, members: &[&str]) -> Self {
        let errors = body::unknown(&fields, parent, members);
        Self { fields, errors }
    }

    /// Takes a member as it is; null is left out.
    pub(super) fn take(&mut self, field: &str) -> Option<Value> {
        self.fields.remove(field).filter(|value| !value.is_null())
    }

    pub(super) fn fault(&mut self, field: &'static str, message: impl Into<String>) {
        self.errors.push(FieldError::new(field, message));
    }

    pub(super) fn faults(&mut self, faults: impl IntoIterator<Item = FieldError>) {
        self.errors.extend(faults);
    }

    /// Takes a member in a form that `read` knows; `message` describes that form.
    fn taken<T>(&mut self, field: &'static str, message: &str, read: impl FnOnce(Value) -> Option<T>) -> Option<T> {
        let read = read(self.take(field)?);
        if read.is_none() {
            self.fault(field, message);
        }
        read
    }

    /// Takes a text; blank is left out.
    pub(super) fn text(&mut self, field: &'static str, longest: usize) -> Option<String> {
        self.words(field, longest, |c| c.is_control() && !matches!(c, '\t' | '\n' | '\r'))
    }

    /// Takes a name of one line; blank is left out.
    pub(super) fn line(&mut self, field: &'static str) -> Option<String> {
        self.words(field, LONGEST_LINE, char::is_control)
    }

    fn words(&mut self, field: &'static str, longest: usize, is_bad: fn(char) -> bool) -> Option<String> {
        let message = format!("must be a string of at most {longest} characters, without controls");
        let words = self.taken(field, &message, |value| match value {
            Value::String(words) if words.trim().is_empty() => Some(String::new()),
            Value::String(words) if words.chars().count() <= longest && !words.contains(is_bad) => Some(words),
            _ => None,
        });
        words.filter(|words| !words.is_empty())
    }

    /// Takes an address that a page may show: of the web, and of no scheme that runs something.
    pub(super) fn address(&mut self, field: &'static str) -> Option<String> {
        let is_web = |text: &str| {
            let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
            rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic()))
        };
        self.taken(field, "must be an absolute http or https address", |value| match value {
            Value::String(text) if text.len() <= LONGEST_ADDRESS && is_web(&text) => Some(text),
            _ => None,
        })
    }

    /// Takes a point in time, as it was written.
    pub(super) fn time(&mut self, field: &'static str) -> Option<String> {
        self.taken(field, "must be a time such as 2027-01-04T08:00:00Z", |value| match value {
            Value::String(at) if at.parse::<jiff::Timestamp>().is_ok() => Some(at),
            _ => None,
        })
    }

    /// Takes a text, or a number or flag in its place, as text.
    pub(super) fn word(&mut self, field: &'static str, longest: usize) -> Option<String> {
        match self.fields.get(field) {
            Some(value @ (Value::Number(_) | Value::Bool(_))) => {
                let word = value.to_string();
                self.fields.remove(field);
                Some(word)
            }
            _ => self.text(field, longest),
        }
    }

    pub(super) fn flag(&mut self, field: &'static str) -> Option<bool> {
        self.taken(field, "must be true or false", |value| value.as_bool())
    }

    pub(super) fn number(&mut self, field: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        let message = format!("must be a whole number from {} to {}", range.start(), range.end());
        self.taken(field, &message, |value| whole(&value).filter(|number| range.contains(number)))
    }

    /// Takes a text and parses it.
    pub(super) fn parsed<T, E: ToString>(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.taken(field, "must be a string", |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })?;
        parse(&text).map_err(|error| self.fault(field, error.to_string())).ok()
    }

    /// Reports a missing member that is required.
    pub(super) fn required<T>(&mut self, field: &'static str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.errors.iter().any(|error| error.field.starts_with(field)) {
            self.fault(field, "is required");
        }
        value
    }

    /// Returns all faults.
    pub(super) fn into_faults(self) -> Vec<FieldError> {
        self.errors
    }

    /// Ends without a fault, or returns all faults as a problem.
    pub(super) fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::new(Code::InvalidRequest).errors(self.errors)) }
    }

    /// Likewise; also requires `value`, and returns it.
    pub(super) fn finish_with<T>(mut self, field: &'static str, value: Option<T>) -> Result<T, Problem> {
        match self.required(field, value) {
            Some(value) => self.finish().map(|()| value),
            None => Err(Problem::new(Code::InvalidRequest).errors(self.errors)),
        }
    }
}
