//! Personalities: a vendor that answers each open question in one way.
//!
//! No mechanism of its own: a personality is a set of settings and fault rules with a name.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::rows::{Answer, ROWS, Row};
use super::rule::Fault;
use super::settings::Settings;
use super::{Sandbox, SandboxError};

/// A vendor with its behaviour: a name, settings, and fault rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Personality {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// The settings that differ from the default ones.
    #[serde(default)]
    pub settings: Map<String, Value>,
    /// Its faults.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

impl Personality {
    /// Returns one without behaviour of its own: the sandbox as it starts.
    pub fn plain() -> Self {
        Self { name: "plain".into(), settings: Map::new(), faults: Vec::new() }
    }

    /// Draws one from [`ROWS`]: half of the questions are answered as by default, the others in any way.
    pub fn random(seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut drawn = Self { name: format!("random:{seed}"), ..Self::plain() };
        for row in ROWS {
            if dice.bool() {
                let answer = row.answers[dice.usize(..row.answers.len())].0;
                drawn.answer(row, answer, &mut dice);
            }
        }
        drawn
    }

    /// Returns the sandbox as it starts but for one answer; `None` if the question or the answer is unknown.
    pub fn with(row: &str, answer: &str) -> Option<Self> {
        Self::drawn(row, answer, 0)
    }

    /// Likewise, with random parts of the answer drawn from `seed`.
    pub fn drawn(row: &str, answer: &str, seed: u64) -> Option<Self> {
        let row = ROWS.iter().find(|known| known.name == row)?;
        row.answers.iter().find(|(known, _)| *known == answer)?;
        let mut one = Self { name: format!("{}:{answer}", row.name), ..Self::plain() };
        one.answer(row, answer, &mut fastrand::Rng::with_seed(seed));
        Some(one)
    }

    /// Reads JSON: `{"name", "settings", "faults"}`, each optional.
    pub fn from_value(value: Value) -> Result<Self, SandboxError> {
        let read: Self =
            serde_json::from_value(value).map_err(|error| SandboxError::Invalid(format!("personality: {error}")))?;
        Settings::default().patched(&Value::Object(read.settings.clone()))?;
        Ok(read)
    }

    /// Writes it as JSON to keep, without the unset fields of faults.
    pub fn to_text(&self) -> String {
        let mut kept = json!(self);
        for fault in kept["faults"].as_array_mut().into_iter().flatten() {
            prune(fault);
        }
        serde_json::to_string_pretty(&kept).unwrap_or_default()
    }

    /// Returns its answer to each question; the default one if its settings are none of the listed answers.
    pub fn describe(&self) -> Vec<(&'static str, &'static str)> {
        let mut all = serde_json::to_value(Settings::default()).unwrap_or_default();
        for (name, value) in &self.settings {
            all[name.as_str()] = value.clone();
        }
        let faults: Vec<Value> = self.faults.iter().map(|fault| json!(fault)).collect();
        let given = |(_, what): &&Answer| {
            let what = parse(what);
            let settings = what["settings"].as_object();
            let rules = what["faults"].as_array();
            settings.into_iter().flatten().all(|(name, wanted)| is_within(&all[name.as_str()], wanted))
                && rules.into_iter().flatten().all(|wanted| faults.iter().any(|fault| is_within(fault, wanted)))
        };
        // The last answer asks for nothing, so each row has one.
        ROWS.iter().filter_map(|row| row.answers.iter().find(given).map(|(answer, _)| (row.name, *answer))).collect()
    }

    fn answer(&mut self, row: &Row, answer: &str, dice: &mut fastrand::Rng) {
        let Some((_, what)) = row.answers.iter().find(|(known, _)| *known == answer) else { return };
        let what = draw(&parse(what), dice);
        self.settings.extend(what["settings"].as_object().cloned().unwrap_or_default());
        let rules = what["faults"].as_array().cloned().unwrap_or_default();
        // A test reads every rule of the table.
        self.faults.extend(rules.into_iter().filter_map(|rule| serde_json::from_value::<Fault>(rule).ok()));
    }
}

impl Sandbox {
    /// Applies a personality: its settings over the present ones, and its faults.
    pub fn apply_personality(&self, personality: &Personality) -> Result<(), SandboxError> {
        self.patch_settings(&Value::Object(personality.settings.clone()))?;
        personality.faults.iter().try_for_each(|fault| self.add_fault(fault.clone()).map(drop))
    }
}

fn prune(value: &mut Value) {
    if let Some(fields) = value.as_object_mut() {
        fields.values_mut().for_each(prune);
        // `reply: false` has a meaning; every other `false` is the default.
        let says_nothing = |name: &str, value: &Value| {
            value.is_null() || *value == json!(0) || *value == json!({}) || (name != "reply" && *value == json!(false))
        };
        fields.retain(|name, value| !says_nothing(name, value));
    }
}

fn parse(what: &str) -> Value {
    serde_json::from_str(what).unwrap_or_default()
}

/// Returns the bounds of a number that is to be drawn.
fn bounds(wanted: &Value) -> Option<(u64, u64)> {
    match wanted.as_array()?.as_slice() {
        [low, high] => Some((low.as_u64()?, high.as_u64()?)),
        _ => None,
    }
}

fn draw(wanted: &Value, dice: &mut fastrand::Rng) -> Value {
    if let Some((low, high)) = bounds(wanted) {
        return dice.u64(low..=high).into();
    }
    match wanted {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), draw(value, dice))).collect(),
        Value::Array(entries) => entries.iter().map(|entry| draw(entry, dice)).collect(),
        other => other.clone(),
    }
}

/// Returns true if a value fits an answer: a number between its bounds, an object with at least its fields.
fn is_within(value: &Value, wanted: &Value) -> bool {
    if let (Some((low, high)), Some(number)) = (bounds(wanted), value.as_u64()) {
        return (low..=high).contains(&number);
    }
    match wanted {
        Value::Object(fields) => fields.iter().all(|(name, wanted)| is_within(&value[name.as_str()], wanted)),
        other => value == other,
    }
}
