//! The loader: built-in defaults, under a TOML file, under the environment, with every fault found in one run.
//!
//! It walks the values leaf by leaf instead of deserialising them, because a deserialiser stops at its first fault. Steps:
//! take the file apart ([`tree`]), lay the environment over it ([`environment`]), read the sections ([`sections`],
//! [`frontends`], with the forms of [`forms`] and [`secrets`]), compare what belongs together ([`relations`]).

mod addresses;
mod callbacks;
mod context;
mod environment;
mod finding;
pub(super) mod forms;
mod frontends;
mod keys;
mod limits;
mod operators;
mod reader;
mod relations;
mod secret_forms;
mod secrets;
mod sections;
#[cfg(test)]
mod tests;
mod tree;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use context::Context;
use finding::Wrong;
pub use finding::{ConfigErrors, Finding, Place, Severity};
use reader::Scope;
pub use secrets::secret_in;

use super::Config;

/// Names the configuration file when `--config` does not.
const FILE_VARIABLE: &str = "FINI_BRIDGE_CONFIG";
/// A configuration is a few kilobytes; a path to something else must not fill the memory.
const LONGEST_FILE: u64 = 4 * 1024 * 1024;

/// The sources of a configuration, and its purpose.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The file of `--config`. Without it `FINI_BRIDGE_CONFIG` names one, and without that `default_file` is read.
    pub file: Option<PathBuf>,
    /// Read when no file is named, and only if it is there: `config/default.toml`.
    pub default_file: PathBuf,
    /// The environment. Only names that begin with `FINI_BRIDGE` are looked at.
    pub env: BTreeMap<String, OsString>,
    /// The present, for secrets whose end is set.
    pub now: Timestamp,
    /// The keys that must be there.
    pub needs: Needs,
}

/// The keys that a command needs from a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Everything: keys for reading and writing, and at least one frontend. For `serve` and `check`.
    Serve,
    /// A key for reading. For `agents` and `export`.
    ReadKey,
    /// Nothing. For commands that only need an address or a secret from it.
    Nothing,
}

impl Sources {
    /// The sources of this process: its environment, and `config/default.toml` below its working directory.
    pub fn of_process(file: Option<PathBuf>, needs: Needs, now: Timestamp) -> Self {
        let env = std::env::vars_os()
            .filter_map(|(name, value)| name.into_string().ok().map(|name| (name, value)))
            .filter(|(name, _)| name.starts_with("FINI_BRIDGE"))
            .collect();
        Self { file, default_file: PathBuf::from("config/default.toml"), env, now, needs }
    }
}

/// A configuration that can be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Settings that are allowed but probably not meant.
    pub warnings: Vec<Finding>,
    /// Its source.
    pub origin: Origin,
    /// The files that hold secrets.
    pub secret_files: Vec<PathBuf>,
}

/// The source of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// The environment variables that were laid over it.
    pub variables: Vec<String>,
}

/// Loads the configuration, or reports everything that is wrong with it.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
    let mut cx = Context::new(sources.now);
    let loaded = read(sources, &mut cx);
    let mut findings = std::mem::take(&mut cx.findings);
    // As one reads: down the file, then the files of secrets, then the environment, then what is nowhere.
    findings.sort_by(|a, b| a.place.cmp(&b.place));
    let (errors, warnings): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| finding.severity == Severity::Error);
    match loaded {
        Some((config, origin)) if errors.is_empty() => {
            Ok(Loaded { config, warnings, origin, secret_files: cx.secret_files })
        }
        _ => Err(ConfigErrors { errors }),
    }
}

/// `None` when there was nothing that could be read on.
fn read(sources: &Sources, cx: &mut Context) -> Option<(Config, Origin)> {
    let mut tree = match file(sources, cx) {
        Some(path) => {
            let tree = read_file(&path, cx)?;
            cx.file = Some(path);
            tree
        }
        None if cx.findings.is_empty() => tree::Table::new(),
        None => return None,
    };
    let variables = environment::overlay(&mut tree, &sources.env, cx);
    let mut root = Scope::root(cx, tree);
    let config = sections::read(&mut root, sources.needs);
    root.finish();
    cx.report_unknown();
    relations::check(&config, cx);
    misnamed_variables(sources, cx);
    let file = cx.file.clone();
    Some((config, Origin { file, variables }))
}

fn file(sources: &Sources, cx: &mut Context) -> Option<PathBuf> {
    if let Some(file) = &sources.file {
        return Some(file.clone());
    }
    match sources.env.get(FILE_VARIABLE) {
        Some(named) if !named.is_empty() => Some(PathBuf::from(named)),
        _ => match sources.default_file.try_exists() {
            Ok(true) => Some(sources.default_file.clone()),
            Ok(false) => None,
            Err(error) => {
                let wrong = Wrong::new(format!("the file cannot be read: {error}"), "check who may read it");
                cx.error_at("", whole(&sources.default_file), wrong);
                None
            }
        },
    }
}

fn read_file(path: &Path, cx: &mut Context) -> Option<tree::Table> {
    match read_text(path) {
        Ok(text) => match tree::parse_file(&text, path) {
            Ok(table) => Some(table),
            Err(error) => {
                let what = format!("the file is not TOML: {}", error.message);
                let help = "texts stand in quotes, tables begin with [section], frontends with [[frontends]]";
                cx.error_at("", error.place, Wrong::new(what, help));
                None
            }
        },
        Err(error) => {
            let what = format!("the configuration file cannot be read: {error}");
            let help = format!("check the path given by --config or {FILE_VARIABLE}, and who may read it");
            cx.error_at("", whole(path), Wrong::new(what, help));
            None
        }
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    use io::Read;
    let mut content = Vec::new();
    std::fs::File::open(path)?.take(LONGEST_FILE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LONGEST_FILE {
        return Err(io::Error::other("it is larger than 4MiB"));
    }
    String::from_utf8(content).map_err(|_| io::Error::other("it is not UTF-8 text"))
}

fn whole(path: &Path) -> Place {
    Place::File { path: path.to_owned(), line: None, column: 0 }
}

/// Warns of names such as `FINI_BRIDGE_FINI_API_KEY`, which look right and do nothing.
fn misnamed_variables(sources: &Sources, cx: &mut Context) {
    let squeeze = |text: &str| text.to_ascii_lowercase().replace(['_', '.'], "");
    for name in sources.env.keys() {
        let Some(rest) = name.strip_prefix("FINI_BRIDGE_") else {
            continue;
        };
        if name.starts_with(environment::PREFIX) || name == FILE_VARIABLE {
            continue;
        }
        let wanted = squeeze(rest);
        if let Some(key) = cx.known.iter().find(|key| squeeze(key) == wanted).cloned() {
            let help = format!("did you mean {}?", environment::variable_for(&key));
            let place = Place::Variable(name.clone());
            let wrong = Wrong::new("is not set by this variable, which has no effect", help);
            cx.find(Severity::Warning, key, place, wrong);
        }
    }
}
