//! Reading keys out of the tree: every key asked for is a known key, everything left over is not.
//!
//! A reader never stops at a fault: it notes it, hands back the default and goes on, so that one run finds them all. The
//! set of keys that were asked for is the schema; there is no second list to keep in step.

use super::{
    context::{Context, Unknown, join, without_indexes},
    finding::Wrong,
    tree::{self, Node, Table, Value},
};

/// A table that is being read.
pub(super) struct Scope<'c> {
    pub(super) cx: &'c mut Context,
    path: String,
    table: Table,
    asked: Vec<&'static str>,
}

impl<'c> Scope<'c> {
    pub(super) fn root(cx: &'c mut Context, table: Table) -> Self {
        Self::new(cx, String::new(), table)
    }

    fn new(cx: &'c mut Context, path: String, table: Table) -> Self {
        Self { cx, path, table, asked: Vec::new() }
    }

    /// The path of a key of this table.
    pub(super) fn path(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Returns true if a key is given.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Takes a key out of the table.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Node> {
        let path = self.path(key);
        self.asked.push(key);
        self.cx.known.insert(without_indexes(&path));
        let node = self.table.remove(key)?;
        self.cx.places.insert(path, node.place.clone());
        Some(node)
    }

    /// A value of the given form, or nothing when the key is not set or wrong.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        form: impl FnOnce(&Value) -> Result<T, Wrong>,
    ) -> Option<T> {
        let node = self.take(key)?;
        match form(&node.value) {
            Ok(value) => Some(value),
            Err(wrong) => {
                let path = self.path(key);
                self.cx.error_at(path, node.place, wrong);
                None
            }
        }
    }

    /// A value of the given form, or the default.
    pub(super) fn value<T>(
        &mut self,
        key: &'static str,
        default: T,
        form: impl FnOnce(&Value) -> Result<T, Wrong>,
    ) -> T {
        self.optional(key, form).unwrap_or(default)
    }

    /// A value that must be given.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        help: &str,
        form: impl FnOnce(&Value) -> Result<T, Wrong>,
    ) -> Option<T> {
        let given = match self.table.get(key) {
            None => false,
            Some(node) => !matches!(&node.value, Value::Text(text) | Value::Raw(text) if text.is_empty()),
        };
        if given {
            return self.optional(key, form);
        }
        self.take(key);
        let path = self.path(key);
        self.cx.error(path, Wrong::new("is missing", help));
        None
    }

    /// A list whose entries have the given form, or the default when the key is not set. Faulty entries are left out.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        default: Vec<T>,
        form: impl Fn(&Value) -> Result<T, Wrong>,
    ) -> Vec<T> {
        let Some(entries) = self.entries(key) else {
            return default;
        };
        let mut values = Vec::with_capacity(entries.len());
        for (path, entry) in entries {
            match form(&entry.value) {
                Ok(value) => values.push(value),
                Err(wrong) => self.cx.error_at(path, entry.place, wrong),
            }
        }
        values
    }

    /// The entries of a list with their paths.
    pub(super) fn entries(&mut self, key: &'static str) -> Option<Vec<(String, Node)>> {
        let node = self.take(key)?;
        let path = self.path(key);
        match list_of(&node) {
            Ok(entries) => Some(
                entries
                    .into_iter()
                    .enumerate()
                    .map(|(index, entry)| {
                        let path = format!("{path}[{index}]");
                        self.cx.places.insert(path.clone(), entry.place.clone());
                        (path, entry)
                    })
                    .collect(),
            ),
            Err(wrong) => {
                self.cx.error_at(path, node.place, wrong);
                None
            }
        }
    }

    /// Reads a table below this one, as an empty table when it is not there or none.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Scope<'_>) -> T) -> T {
        let path = self.path(key);
        let table = self.take(key).and_then(|node| {
            let help = format!("write [{path}] and its keys on the lines below");
            self.table_of(&path, node, &help)
        });
        self.cx.known.remove(&without_indexes(&path));
        self.nested(path, table.unwrap_or_default(), read)
    }

    /// Reads an entry of a list as a table; nothing when it is none.
    pub(super) fn entry<T>(
        &mut self,
        path: String,
        node: Node,
        help: &str,
        read: impl FnOnce(&mut Scope<'_>) -> T,
    ) -> Option<T> {
        let table = self.table_of(&path, node, help)?;
        Some(self.nested(path, table, read))
    }

    fn nested<T>(&mut self, path: String, table: Table, read: impl FnOnce(&mut Scope<'_>) -> T) -> T {
        let mut scope = Scope::new(self.cx, path, table);
        let value = read(&mut scope);
        scope.finish();
        value
    }

    fn table_of(&mut self, path: &str, node: Node, help: &str) -> Option<Table> {
        let kind = node.value.kind();
        let value = match node.value {
            Value::Raw(text) => match tree::parse_value(&text, &node.place) {
                Ok(node) => node.value,
                Err(_) => Value::Raw(text),
            },
            value => value,
        };
        if let Value::Table(table) = value {
            return Some(table);
        }
        let wrong = Wrong::new(format!("must be a table, found {kind}"), help);
        self.cx.error_at(path, node.place, wrong);
        None
    }

    /// Notes what nobody asked for.
    pub(super) fn finish(self) {
        for (key, node) in self.table {
            self.cx.unknown.push(Unknown {
                parent: self.path.clone(),
                key,
                siblings: self.asked.clone(),
                place: node.key_place,
            });
        }
    }
}

/// The entries of a list: TOML's own, or a variable with commas or TOML's brackets.
fn list_of(node: &Node) -> Result<Vec<Node>, Wrong> {
    match &node.value {
        Value::List(entries) => Ok(entries.clone()),
        Value::Raw(text) if text.trim_start().starts_with('[') => match tree::parse_value(text, &node.place) {
            Ok(Node { value: Value::List(entries), .. }) => Ok(entries),
            Ok(_) => Err(Wrong::new("is not a list", LIST_IN_ENVIRONMENT)),
            Err(error) => Err(Wrong::new(format!("is not a list: {}", error.message), LIST_IN_ENVIRONMENT)),
        },
        Value::Raw(text) => Ok(text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(|entry| Node {
                value: Value::Raw(entry.to_owned()),
                place: node.place.clone(),
                key_place: node.key_place.clone(),
            })
            .collect()),
        other => Err(Wrong::new(
            format!("must be a list, found {}", other.kind()),
            "put the entries in brackets: [\"…\", \"…\"]",
        )),
    }
}

const LIST_IN_ENVIRONMENT: &str = "separate the entries by commas, or write a TOML list: [\"…\", \"…\"]";
