//! Faults of a configuration, said so that they can be put right without a second look.
//!
//! A finding names the key, the place and the remedy. It never holds a secret's value; [`quote`] is the one way by which a
//! configured value gets into a message.

use std::{fmt, path::PathBuf};

/// One fault or one warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// True if it stops the program.
    pub severity: Severity,
    /// The key, such as `frontends[0].tokens[1]`; empty for a fault of a whole file.
    pub key: String,
    /// The source of the value.
    pub place: Place,
    /// The fault, to be read after the key: "is not a duration".
    pub what: String,
    /// The remedy.
    pub help: Option<String>,
}

/// The weight of a finding: it stops the program, or it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but probably not as meant.
    Warning,
}

/// The source of a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A file of TOML; line and column count from 1, the column in characters.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line, where it is known.
        line: Option<usize>,
        /// The column within the line.
        column: usize,
    },
    /// A file that holds a secret, or a list of them, one per line.
    SecretFile {
        /// The file, as it was named.
        path: PathBuf,
        /// The line, for lists.
        line: Option<usize>,
    },
    /// An environment variable.
    Variable(String),
    /// Nowhere: a key that is missing. Holds the file where it could stand, if one was read.
    Absent(Option<PathBuf>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: Some(line), column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::File { path, line: None, .. } | Self::SecretFile { path, line: None } => {
                write!(f, "{}", path.display())
            }
            Self::SecretFile { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Absent(Some(path)) => {
                write!(f, "neither in {} nor in the environment", path.display())
            }
            Self::Absent(None) => f.write_str("not in the environment, and no configuration file was read"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.severity {
            Severity::Error => "error: ",
            Severity::Warning => "warning: ",
        })?;
        if !self.key.is_empty() {
            write!(f, "`{}` ", self.key)?;
        }
        write!(f, "{}\n  --> {}", self.what, self.place)?;
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// Every fault of a configuration, in the order in which they stand in the file, then the environment, then what is
/// missing. Never empty. `Display` prints the whole report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The faults.
    pub errors: Vec<Finding>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.errors {
            write!(f, "{error}\n\n")?;
        }
        match self.errors.len() {
            1 => f.write_str("1 error in the configuration"),
            n => write!(f, "{n} errors in the configuration"),
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// The fault of one value, before its key and place are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) help: Option<String>,
}

impl Wrong {
    pub(super) fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { what: what.into(), help: Some(help.into()) }
    }
}

/// A configured value as it may stand in a message: quoted, on one line, short, and withheld where it looks like a secret
/// that was put under the wrong key.
pub(super) fn quote(value: &str) -> String {
    const LONGEST: usize = 60;
    if looks_secret(value) {
        return "a value that looks like a secret".to_owned();
    }
    let mut shown: String = value.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if value.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}

/// Returns true if a value has the form of a credential: one of the prefixes, or a user before an `@` in an address.
pub(super) fn looks_secret(value: &str) -> bool {
    // Our own crate's name starts like the vendor's keys, and stands in log directives.
    let value = value.replace("fini_bridge", "");
    ["whsec_", "whsk_", "fini_", "Bearer ", "eyJ"].iter().any(|prefix| value.contains(prefix))
        || (value.contains("://") && value.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_values_are_short_printable_and_never_secrets() {
        assert_eq!(quote("a\nb\u{1b}[31m"), r#""a\nb\u{1b}[31m""#);
        assert!(quote(&"x".repeat(500)).chars().count() < 70);
        for secret in ["whsec_abc", "fini_abc", "postgres://u:hunter2@h/d"] {
            assert_eq!(quote(secret), "a value that looks like a secret");
        }
    }
}
