//! The loader as a whole. Secrets are made here, from texts that say that they are none.

mod environment;
mod faults;
mod layers;
mod leaks;
mod properties;
mod secret_files;
mod shipped;
mod warnings;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use tempfile::TempDir;

use super::*;

pub(super) const BOT: &str = "4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3";

/// A token of 32 characters.
pub(super) fn token(number: u8) -> String {
    format!("{:-<29}{number:03}", "not-a-real-token-")
}

/// A Standard Webhooks secret of this many bytes.
pub(super) fn webhook_secret(number: u8, bytes: usize) -> String {
    format!("whsec_{}", STANDARD.encode(vec![number; bytes]))
}

/// A file of TOML that can be used as it is, to be made wrong in one place or several.
#[derive(Clone)]
pub(super) struct Draft {
    sections: BTreeMap<String, BTreeMap<String, String>>,
    frontends: Vec<BTreeMap<String, String>>,
    env: BTreeMap<String, OsString>,
    needs: Needs,
}

impl Draft {
    /// Nothing at all.
    pub(super) fn empty() -> Self {
        Self { sections: BTreeMap::new(), frontends: Vec::new(), env: BTreeMap::new(), needs: Needs::Serve }
    }

    /// A key and one frontend.
    pub(super) fn valid() -> Self {
        Self::empty()
            .with("fini.api_key", "\"not-a-real-key\"")
            .with("frontends[0].name", "\"web\"")
            .with("frontends[0].bot_id", &format!("{BOT:?}"))
            .with("frontends[0].tokens", &format!("[{:?}]", token(0)))
            .with("frontends[0].callback_url", "\"https://chat.example.com/fini/callback\"")
            .with("frontends[0].callback_secrets", &format!("[{:?}]", webhook_secret(0, 32)))
    }

    /// A second frontend beside the first.
    pub(super) fn second(self) -> Self {
        self.with("frontends[1].name", "\"desk\"")
            .with("frontends[1].bot_id", &format!("{BOT:?}"))
            .with("frontends[1].tokens", &format!("[{:?}]", token(1)))
            .with("frontends[1].callback_url", "\"https://desk.example.com/\"")
            .with("frontends[1].callback_secrets", &format!("[{:?}]", webhook_secret(1, 32)))
    }

    fn table(&mut self, path: &str) -> (&mut BTreeMap<String, String>, String) {
        let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
        match table.strip_prefix("frontends[").and_then(|rest| rest.strip_suffix(']')) {
            Some(index) => {
                let index: usize = index.parse().expect("an index");
                if self.frontends.len() == index {
                    self.frontends.push(BTreeMap::new());
                }
                (&mut self.frontends[index], key.to_owned())
            }
            None => (self.sections.entry(table.to_owned()).or_default(), key.to_owned()),
        }
    }

    /// Sets a key to a value in TOML.
    pub(super) fn with(mut self, path: &str, value: &str) -> Self {
        let (table, key) = self.table(path);
        table.insert(key, value.to_owned());
        self
    }

    pub(super) fn without(mut self, path: &str) -> Self {
        let (table, key) = self.table(path);
        table.remove(&key);
        self
    }

    pub(super) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    pub(super) fn needs(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (name, keys) in &self.sections {
            if !name.is_empty() {
                writeln!(text, "[{name}]").unwrap();
            }
            for (key, value) in keys {
                writeln!(text, "{key} = {value}").unwrap();
            }
        }
        for keys in &self.frontends {
            text.push_str("[[frontends]]\n");
            for (key, value) in keys {
                writeln!(text, "{key} = {value}").unwrap();
            }
        }
        text
    }

    pub(super) fn load(&self) -> Result<Loaded, ConfigErrors> {
        load_text(&self.text(), &self.env, self.needs)
    }

    /// The configuration and its warnings, which must be right.
    pub(super) fn loaded(&self) -> Loaded {
        self.load().unwrap_or_else(|errors| panic!("{errors}\n{}", self.text()))
    }

    /// The errors, of which there must be some.
    pub(super) fn errors(&self) -> Vec<Finding> {
        match self.load() {
            Ok(_) => panic!("this was accepted:\n{}", self.text()),
            Err(errors) => errors.errors,
        }
    }
}

pub(super) fn now() -> Timestamp {
    "2026-11-21T05:00:00Z".parse().expect("a moment")
}

pub(super) fn sources(file: Option<PathBuf>, folder: &Path) -> Sources {
    Sources {
        file,
        default_file: folder.join("config/default.toml"),
        env: BTreeMap::new(),
        now: now(),
        needs: Needs::Serve,
    }
}

pub(super) fn load_text(text: &str, env: &BTreeMap<String, OsString>, needs: Needs) -> Result<Loaded, ConfigErrors> {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("bridge.toml");
    std::fs::write(&file, text).expect("a writable folder");
    load(&Sources { env: env.clone(), needs, ..sources(Some(file), folder.path()) })
}

/// The rows of a table of texts with ` | ` between the columns. What follows a `#` at the start of a line is a heading;
/// missing columns at the end are empty.
pub(super) fn rows<const COLUMNS: usize>(table: &str) -> Vec<[&str; COLUMNS]> {
    let row = |line| {
        let mut columns = str::split(line, '|').map(str::trim);
        let row = std::array::from_fn(|_| columns.next().unwrap_or_default());
        assert_eq!(columns.next(), None, "{line}");
        row
    };
    let is_row = |line: &&str| !line.is_empty() && !line.starts_with('#');
    table.lines().filter(is_row).map(row).collect()
}

/// A file that only its owner may read.
fn write_private(path: &std::path::Path, content: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, content).expect("a writable folder");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("ours");
}
