//! The environment laid over the file: `FINI_BRIDGE__SECTION__KEY`, lists and frontends by index.
//!
//! Values stay raw texts here, for only their readers know the type. An entry one past the end of a list makes a new one,
//! so that a container can be configured by its environment alone; a gap is a fault, because the entry before was probably
//! misspelt. Names with a single underscore after the prefix are left alone: Kubernetes puts `FINI_BRIDGE_PORT` and the
//! like into every container beside a service of that name.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
};

use super::{
    context::Context,
    finding::{Place, Wrong},
    tree::{Node, Table, Value},
};

pub(super) const PREFIX: &str = "FINI_BRIDGE__";

/// One step of a key: ordered, so that entries of a list come in their numbers' order, not in their digits'.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Index(usize),
    Key(String),
}

/// Lays the variables over the tree and returns the names of those that were taken.
pub(super) fn overlay(tree: &mut Table, env: &BTreeMap<String, OsString>, cx: &mut Context) -> Vec<String> {
    let mut settings: BTreeMap<Vec<Step>, (String, String)> = BTreeMap::new();
    for (name, value) in env {
        let Some(rest) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let place = Place::Variable(name.clone());
        let steps: Vec<Step> = rest.split("__").map(step).collect();
        let key = path_of(&steps);
        if steps.contains(&Step::Key(String::new())) {
            let help = "write FINI_BRIDGE__SECTION__KEY, such as FINI_BRIDGE__FINI__API_KEY";
            cx.error_at(key, place, Wrong::new("is not the name of a key", help));
        } else if let Some(value) = value.to_str() {
            if let Some((other, _)) = settings.insert(steps, (name.clone(), value.to_owned())) {
                let what = format!("is set by {other} and by {name}");
                cx.error_at(key, place, Wrong::new(what, "keep one of the two"));
            }
        } else {
            cx.error_at(key, place, Wrong::new("is not UTF-8", "set it to plain text"));
        }
    }

    let mut gaps = BTreeSet::new();
    let mut taken = Vec::new();
    for (steps, (name, value)) in settings {
        let place = Place::Variable(name.clone());
        taken.push(name);
        if let Err(refusal) = insert(tree, &steps, value, &place)
            && gaps.insert(refusal.clone())
        {
            let (key, wrong) = refusal.explain();
            cx.error_at(key, place, wrong);
        }
    }
    taken
}

/// The variable that sets a key.
pub(super) fn variable_for(key: &str) -> String {
    let steps = key.replace('[', "__").replace(']', "").replace('.', "__");
    format!("{PREFIX}{}", steps.to_ascii_uppercase())
}

fn step(text: &str) -> Step {
    match text.parse() {
        // `01` would be a second name for `1`.
        Ok(index) if text == format!("{index}") => Step::Index(index),
        _ => Step::Key(text.to_ascii_lowercase()),
    }
}

fn path_of(steps: &[Step]) -> String {
    let step = |path: String, step: &Step| match step {
        Step::Index(index) => format!("{path}[{index}]"),
        Step::Key(key) if path.is_empty() => key.clone(),
        Step::Key(key) => format!("{path}.{key}"),
    };
    steps.iter().fold(String::new(), step)
}

/// The reason why a variable found no place in the tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Refusal {
    /// An index beyond the next free one.
    Gap { list: String, index: usize, len: usize },
    /// A word where the number of an entry belongs.
    NoIndex { list: String, key: String },
    /// A key below something that has none.
    NoParts { key: String, whole: String },
    /// A part of something another variable sets as a whole.
    SetWhole { key: String, by: Place },
}

impl Refusal {
    fn explain(self) -> (String, Wrong) {
        match self {
            Self::Gap { list, index, len } => {
                let key = format!("{list}[{index}]");
                let next = variable_for(&format!("{list}[{len}]"));
                let wrong = Wrong::new(
                    format!("leaves a gap: there is no `{list}[{}]`", index - 1),
                    format!("the next free entry is {next}…; entries count from 0"),
                );
                (key, wrong)
            }
            Self::NoIndex { list, key } => {
                let first = variable_for(&format!("{list}[0]"));
                let wrong = Wrong::new("is not an entry of a list", format!("entries have numbers: {first}…"));
                (key, wrong)
            }
            Self::NoParts { key, whole } => {
                let wrong = Wrong::new(
                    format!("is not a known key: `{whole}` has no keys below it"),
                    format!("set {}, with one underscore within a key's name", variable_for(&whole)),
                );
                (key, wrong)
            }
            Self::SetWhole { key, by } => {
                let wrong = Wrong::new(format!("is set in part here and as a whole by {by}"), "set it in one way only");
                (key, wrong)
            }
        }
    }
}

fn insert(table: &mut Table, steps: &[Step], value: String, place: &Place) -> Result<(), Refusal> {
    let [Step::Key(first), rest @ ..] = steps else {
        // A number where a section should be: kept as a key, for the reader to refuse as unknown.
        let key = path_of(steps);
        table.insert(key, node(Value::Raw(value), place));
        return Ok(());
    };
    let mut here = table.entry(first.clone()).or_insert_with(|| node(container(rest.first()), place));
    for (depth, step) in rest.iter().enumerate() {
        let next = rest.get(depth + 1);
        let done = steps.len() - rest.len() + depth;
        here = match (&mut here.value, step) {
            (Value::Table(table), step) => {
                let key = match step {
                    Step::Key(key) => key.clone(),
                    Step::Index(index) => index.to_string(),
                };
                table.entry(key).or_insert_with(|| node(container(next), place))
            }
            (Value::List(list), Step::Index(index)) => {
                if *index > list.len() {
                    return Err(Refusal::Gap { list: path_of(&steps[..done]), index: *index, len: list.len() });
                }
                if *index == list.len() {
                    list.push(node(container(next), place));
                }
                &mut list[*index]
            }
            (Value::Raw(_), _) => {
                return Err(Refusal::SetWhole { key: path_of(&steps[..done]), by: here.place.clone() });
            }
            (Value::List(_), Step::Key(_)) => {
                return Err(Refusal::NoIndex { list: path_of(&steps[..done]), key: path_of(&steps[..=done]) });
            }
            _ => {
                return Err(Refusal::NoParts { key: path_of(steps), whole: path_of(&steps[..done]) });
            }
        };
    }
    *here = node(Value::Raw(value), place);
    Ok(())
}

/// The node that must be made for the next step to have a place.
fn container(next: Option<&Step>) -> Value {
    match next {
        Some(Step::Index(_)) => Value::List(Vec::new()),
        _ => Value::Table(Table::new()),
    }
}

fn node(value: Value, place: &Place) -> Node {
    Node { value, place: place.clone(), key_place: place.clone() }
}
