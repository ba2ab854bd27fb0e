//! The state of one run of the loader: its findings, and the means to place and explain them.
//!
//! Holds secrets for comparing them, so it has no `Debug`; it is gone when loading is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use jiff::Timestamp;
use secrecy::SecretString;
use url::Url;

use super::{
    environment::variable_for,
    finding::{Finding, Place, Severity, Wrong, looks_secret},
};
use crate::domain::nearest;

/// The state of one run of the loader.
pub(super) struct Context {
    pub(super) findings: Vec<Finding>,
    /// The place of each key that was set.
    pub(super) places: BTreeMap<String, Place>,
    /// Every key that was asked for, by its path without indexes.
    pub(super) known: BTreeSet<String>,
    /// Secrets read so far, for comparing across frontends.
    pub(super) secrets: Vec<SeenSecret>,
    /// The files that secrets were looked for in.
    pub(super) secret_files: Vec<PathBuf>,
    /// Callback addresses by their paths, of faulty frontends too.
    pub(super) callback_urls: Vec<(String, Url)>,
    pub(super) unknown: Vec<Unknown>,
    pub(super) file: Option<PathBuf>,
    pub(super) now: Timestamp,
}

/// A secret that was read, and what it is for.
pub(super) struct SeenSecret {
    pub(super) path: String,
    pub(super) secret: SecretString,
}

/// A key that nobody asked for.
pub(super) struct Unknown {
    /// The table it stands in.
    pub(super) parent: String,
    pub(super) key: String,
    /// The keys of that table.
    pub(super) siblings: Vec<&'static str>,
    pub(super) place: Place,
}

impl Context {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            findings: Vec::new(),
            places: BTreeMap::new(),
            known: BTreeSet::new(),
            secrets: Vec::new(),
            secret_files: Vec::new(),
            callback_urls: Vec::new(),
            unknown: Vec::new(),
            file: None,
            now,
        }
    }

    /// Notes a fault of a key, at the place where it, or the nearest thing around it, was set.
    pub(super) fn error(&mut self, key: impl Into<String>, wrong: Wrong) {
        let key = key.into();
        let place = self.place_of(&key);
        self.error_at(key, place, wrong);
    }

    pub(super) fn error_at(&mut self, key: impl Into<String>, place: Place, wrong: Wrong) {
        self.find(Severity::Error, key.into(), place, wrong);
    }

    pub(super) fn warn(&mut self, key: impl Into<String>, wrong: Wrong) {
        let key = key.into();
        let place = self.place_of(&key);
        self.find(Severity::Warning, key, place, wrong);
    }

    pub(super) fn find(&mut self, severity: Severity, key: String, place: Place, wrong: Wrong) {
        self.findings.push(Finding { severity, key, place, what: wrong.what, help: wrong.help });
    }

    /// Returns true if this very key is at fault.
    pub(super) fn has_error(&self, key: &str) -> bool {
        self.errors().any(|error| error.key == key)
    }

    /// Returns true if this key, an entry of it or a key that begins like it is at fault.
    pub(super) fn has_error_under(&self, prefix: &str) -> bool {
        self.errors().any(|error| error.key.starts_with(prefix))
    }

    /// Returns true if an API key, or the file of one, is at fault.
    pub(super) fn has_api_key_error(&self) -> bool {
        self.errors().any(|error| error.key.starts_with("fini.") && error.key.contains("api_key"))
    }

    fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error)
    }

    fn place_of(&self, key: &str) -> Place {
        let mut around = key;
        loop {
            if let Some(place) = self.places.get(around) {
                return place.clone();
            }
            match around.rfind(['.', '[']) {
                Some(cut) => around = &around[..cut],
                None => return Place::Absent(self.file.clone()),
            }
        }
    }

    /// Turns what nobody asked for into faults. Last, when all keys are known and can be suggested.
    pub(super) fn report_unknown(&mut self) {
        for unknown in std::mem::take(&mut self.unknown) {
            let sibling = nearest::closest(&unknown.key, unknown.siblings.iter().copied());
            let as_written = |key: &str| match &unknown.place {
                Place::Variable(_) => variable_for(key),
                _ => key.to_owned(),
            };
            let elsewhere = || {
                let suffix = format!(".{}", unknown.key);
                self.known.iter().find(|known| known.ends_with(&suffix))
            };
            let help = if let Some(sibling) = sibling {
                format!("did you mean `{}`?", as_written(&join(&unknown.parent, sibling)))
            } else if let Some(known) = elsewhere() {
                format!("did you mean `{}`?", as_written(known))
            } else if unknown.parent.is_empty() {
                format!("the sections are {}", unknown.siblings.join(", "))
            } else {
                format!("`{}` takes {}", unknown.parent, unknown.siblings.join(", "))
            };
            // A key may be anything between quotes, a misplaced secret included.
            let shown =
                if looks_secret(&unknown.key) { "…".to_owned() } else { unknown.key.escape_debug().to_string() };
            let key = join(&unknown.parent, &shown);
            self.error_at(key, unknown.place, Wrong::new("is not a known key", help));
        }
    }
}

/// The path of a key below another.
pub(super) fn join(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

/// `frontends[0].name` as `frontends.name`.
pub(super) fn without_indexes(path: &str) -> String {
    let mut outside = true;
    path.chars()
        .filter(|c| {
            match c {
                '[' => outside = false,
                ']' => {
                    outside = true;
                    return false;
                }
                _ => {}
            }
            outside
        })
        .collect()
}
