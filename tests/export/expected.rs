//! What an export has to hold: the vendor's truth at its beginning, and every form that a conversation took meanwhile.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use fini_bridge::sandbox::{Conversation, SinceReading};
use serde_json::Value;

use crate::vendor::{Vendor, now};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// The longest window and the longest page that Fini gives.
const WINDOW_MS: i64 = 90 * DAY_MS;
const PAGE: u64 = 100;

/// The forms of every conversation, each as the JSON that the vendor shows.
pub struct Expected {
    forms: HashMap<String, Vec<Value>>,
    /// Those that were there at the beginning, each of which has to come.
    due: HashSet<String>,
    pages: u64,
}

impl Expected {
    /// What the vendor knows now.
    pub fn of(vendor: &Vendor) -> Self {
        let all = vendor.sandbox.conversations(usize::MAX);
        let (now, reading) = (now(), vendor.sandbox.settings().since_reading);
        let mut windows: HashMap<i64, u64> = HashMap::new();
        for conversation in &all {
            let at = match reading {
                SinceReading::Created => conversation.created_at,
                SinceReading::Updated => conversation.latest_at,
            };
            *windows.entry((now - at) / WINDOW_MS).or_default() += 1;
        }
        let mut expected = Self {
            forms: HashMap::new(),
            due: all.iter().map(|conversation| conversation.id.to_string()).collect(),
            pages: windows.values().map(|rows| rows.div_ceil(PAGE)).sum(),
        };
        for conversation in &all {
            expected.took(conversation);
        }
        expected
    }

    /// The fewest pages that can hold what was there at the beginning, window by window.
    pub const fn pages(&self) -> u64 {
        self.pages
    }

    /// A conversation took this form.
    pub fn took(&mut self, conversation: &Conversation) {
        let form = serde_json::to_value(conversation).unwrap_or_default();
        self.forms.entry(conversation.id.to_string()).or_default().push(form);
    }

    /// Compares an export of JSON lines, row by row. `is_free` says which of what was not due may be there; gives how many
    /// of those there are.
    pub fn compare(&self, file: &Path, is_free: impl Fn(&str) -> bool) -> Result<u64> {
        let lines = BufReader::new(File::open(file).context("the output")?).lines();
        let (mut seen, mut latest, mut free) = (HashSet::new(), i64::MIN, 0);
        for line in lines {
            let row: Value = serde_json::from_str(&line?).context("a line that is not JSON")?;
            let id = row["id"].as_str().context("a row without an id")?.to_owned();
            let forms = self.forms.get(&id).with_context(|| format!("{id} was never at the vendor"))?;
            ensure!(forms.contains(&row), "{id} never looked like this: {row}");
            let created = row["createdAt"].as_i64().context("createdAt")?;
            ensure!(created >= latest, "{id} is out of order");
            latest = created;
            if !self.due.contains(&id) {
                ensure!(is_free(&id), "{id} does not belong into the range");
                free += 1;
            }
            ensure!(seen.insert(id.clone()), "{id} is there twice");
        }
        let missing = self.due.iter().filter(|id| !seen.contains(*id)).count();
        ensure!(missing == 0, "{missing} conversations are missing");
        Ok(free)
    }
}
