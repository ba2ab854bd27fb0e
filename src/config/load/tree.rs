//! The configuration as a tree of values that know where they came from.
//!
//! TOML is taken apart here and nowhere else. Nothing is judged but syntax: which keys exist and what they mean is for the
//! reader. Values may be secrets, so nothing here implements `Debug`.

use std::{collections::BTreeMap, ops::Range, path::Path};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::finding::Place;

/// A value and where it came from.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    /// The place of the value.
    pub(super) place: Place,
    /// The place of its key; for entries of a list, the value's.
    pub(super) key_place: Place,
}

/// The value of a key.
#[derive(Clone)]
pub(super) enum Value {
    Text(String),
    /// `None` for a number outside 64 bits.
    Integer(Option<i64>),
    Float(f64),
    Boolean(bool),
    /// In its RFC 3339 form.
    Date(String),
    List(Vec<Node>),
    Table(Table),
    /// The text of an environment variable, whose type only its reader knows.
    Raw(String),
}

pub(super) type Table = BTreeMap<String, Node>;

impl Value {
    /// The type, with its article, for "expected a string, found …".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Raw(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a floating-point number",
            Self::Boolean(_) => "a boolean",
            Self::Date(_) => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// A syntax error. The message is the parser's own and never repeats the text.
pub(super) struct SyntaxError {
    pub(super) message: String,
    pub(super) place: Place,
}

/// Reads a whole file.
pub(super) fn parse_file(text: &str, path: &Path) -> Result<Table, SyntaxError> {
    let lines = Lines::new(text);
    let place = |span: Range<usize>| {
        let (line, column) = lines.position(span.start);
        Place::File { path: path.to_owned(), line: Some(line), column }
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    // The parser finds some kinds of errors before others; the one to mend first is the first in the file.
    let first = errors.iter().min_by_key(|error| error.span().map_or(0, |span| span.start));
    match first {
        None => Ok(convert_table(table.into_inner(), &place)),
        Some(error) => {
            Err(SyntaxError { message: error.message().to_owned(), place: place(error.span().unwrap_or_default()) })
        }
    }
}

/// Reads one value, as it may stand in an environment variable.
pub(super) fn parse_value(text: &str, place: &Place) -> Result<Node, SyntaxError> {
    match DeValue::parse(text.trim()) {
        Ok(value) => Ok(convert(value, &|_| place.clone())),
        Err(error) => Err(SyntaxError { message: error.message().to_owned(), place: place.clone() }),
    }
}

fn convert_table(table: DeTable<'_>, place: &dyn Fn(Range<usize>) -> Place) -> Table {
    table
        .into_iter()
        .map(|(key, value)| {
            let key_place = place(key.span());
            let node = Node { key_place, ..convert(value, place) };
            (key.into_inner().into_owned(), node)
        })
        .collect()
}

// The parser limits how deep values nest, so the recursion is bounded.
fn convert(value: Spanned<DeValue<'_>>, place: &dyn Fn(Range<usize>) -> Place) -> Node {
    let here = place(value.span());
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok()),
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(yes) => Value::Boolean(yes),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(entries) => Value::List(entries.into_iter().map(|entry| convert(entry, place)).collect()),
        DeValue::Table(table) => Value::Table(convert_table(table, place)),
    };
    Node { value, key_place: here.clone(), place: here }
}

/// Finds the line and column of a byte.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    fn position(&self, byte: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= byte);
        let start = self.starts[line - 1];
        let column = self.text.get(start..byte).map_or(0, |before| before.chars().count());
        (line, column + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let lines = Lines::new("a = 1\nü = 2\n");
        assert_eq!(lines.position(0), (1, 1));
        assert_eq!(lines.position(4), (1, 5));
        assert_eq!(lines.position(6), (2, 1));
        assert_eq!(lines.position("a = 1\nü".len()), (2, 2));
        assert_eq!(lines.position(1000), (3, 1));
    }

    #[test]
    fn numbers_keep_their_value_in_every_radix_and_beyond_64_bits_are_marked() {
        for (text, expected) in [
            ("1_000", Some(1000)),
            ("0x10", Some(16)),
            ("-5", Some(-5)),
            ("+5", Some(5)),
            ("99999999999999999999", None),
        ] {
            let Ok(node) = parse_value(text, &Place::Absent(None)) else {
                panic!("{text} is TOML");
            };
            assert!(matches!(node.value, Value::Integer(found) if found == expected), "{text}");
        }
    }
}
