//! Secrets: given in place or by a file, checked for their form, never repeated.
//!
//! An empty text is a secret not given, so that a file with all keys in it and a variable set to nothing both mean what
//! they seem to. White space around a secret is never part of it: in a file it is what editors and `echo` leave behind, and
//! taken off; in a text it is a slip that somebody else will not make in the same way, and refused. A secret given both in place and by a file is a fault, across the layers too: nobody could tell which of
//! the two is in force.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use secrecy::SecretString;

use super::{
    context::SeenSecret,
    environment::variable_for,
    finding::{Place, Wrong, looks_secret},
    forms,
    reader::Scope,
    secret_forms::Check,
    tree::{Node, Value},
};
use crate::config::RotatingSecret;

/// Nothing that is a secret is longer; a wrong path to a log or a device must not fill the memory.
const LONGEST_FILE: u64 = 64 * 1024;

/// The secret in a file: without a byte order mark, and without white space around it.
pub fn secret_in(content: &str) -> &str {
    content.strip_prefix('\u{feff}').unwrap_or(content).trim()
}

const SECRET_ENTRY: &str = "an entry is a text, or { secret = \"…\", not_after = \"…\" }";
const SECRET_LINE: &str = "an entry is the secret, and after a space not_after=2026-12-01T00:00:00Z if it ends";

impl Scope<'_> {
    /// One secret by `key` or by the file of `file_key`.
    pub(super) fn secret(&mut self, key: &'static str, file_key: &'static str, check: Check) -> Option<SecretString> {
        let given = self.optional(key, |value| forms::text(value).map(str::to_owned));
        let file = self.secret_file(file_key);
        let path = self.path(key);
        // White space alone is an empty variable with a line break behind it.
        let given = given.filter(|text| !text.trim().is_empty());
        let (text, place) = match (given, file) {
            (Some(_), Some(_)) => {
                self.given_twice(key, file_key);
                return None;
            }
            (None, None) => return None,
            (Some(text), None) => (text, None),
            (None, Some((file, content))) => {
                let content = content?;
                let text = secret_in(&content);
                let place = Place::SecretFile { path: file, line: None };
                if text.is_empty() {
                    let wrong = Wrong::new("is read from an empty file", "write the secret into the file");
                    self.cx.error_at(path, place, wrong);
                    return None;
                }
                (text.to_owned(), Some(place))
            }
        };
        if let Some(place) = place {
            self.cx.places.insert(path.clone(), place);
        }
        self.checked(path, text, check)
    }

    /// A list of secrets by `key` or, one per line, by the file of `file_key`.
    pub(super) fn secrets(&mut self, key: &'static str, file_key: &'static str, check: Check) -> Vec<SecretString> {
        let mut secrets = Vec::new();
        for (path, node) in self.secret_entries(key, file_key) {
            match forms::text(&node.value) {
                Ok(text) => secrets.extend(self.checked(path, text.to_owned(), check)),
                Err(wrong) => self.cx.error_at(path, node.place, wrong),
            }
        }
        secrets
    }

    /// The same with an end of life where one is given: `{ secret = "…", not_after = "…" }`, or `… not_after=…` in a line.
    pub(super) fn rotating_secrets(
        &mut self,
        key: &'static str,
        file_key: &'static str,
        check: Check,
    ) -> Vec<RotatingSecret> {
        let mut secrets = Vec::new();
        for (path, node) in self.secret_entries(key, file_key) {
            let read = match &node.value {
                Value::Text(line) | Value::Raw(line) => self.secret_line(&path, line, check),
                Value::Table(_) => self.secret_table(path.clone(), node, check),
                other => {
                    let what = format!("must be a string or a table, found {}", other.kind());
                    self.cx.error_at(path.clone(), node.place, Wrong::new(what, SECRET_ENTRY));
                    None
                }
            };
            let Some(secret) = read else { continue };
            let now = self.cx.now;
            if let Some(end) = secret.not_after.filter(|end| *end <= now) {
                let what = format!("ended at {end} and no longer counts");
                self.cx.warn(path, Wrong::new(what, "take it out"));
            }
            secrets.push(secret);
        }
        secrets
    }

    fn secret_line(&mut self, path: &str, line: &str, check: Check) -> Option<RotatingSecret> {
        if let Err(wrong) = bare(line) {
            self.cx.error(path, wrong);
            return None;
        }
        let mut parts = line.split_whitespace();
        let secret = parts.next().unwrap_or_default().to_owned();
        let not_after = match (parts.next(), parts.next()) {
            (None, _) => None,
            (Some(part), None) if part.starts_with("not_after=") => {
                match forms::parse_moment(part.trim_start_matches("not_after=")) {
                    Ok(moment) => Some(moment),
                    Err(wrong) => {
                        self.cx.error(format!("{path}.not_after"), wrong);
                        return None;
                    }
                }
            }
            _ => {
                let wrong = Wrong::new("has something after the secret", SECRET_LINE);
                self.cx.error(path, wrong);
                return None;
            }
        };
        let secret = self.checked(path.to_owned(), secret, check)?;
        Some(RotatingSecret { secret, not_after })
    }

    fn secret_table(&mut self, path: String, node: Node, check: Check) -> Option<RotatingSecret> {
        let read = self.entry(path, node, SECRET_ENTRY, |s| {
            let secret = s.secret("secret", "secret_file", check);
            let key = s.path("secret");
            if secret.is_none() && !s.cx.has_error_under(&key) {
                s.cx.error(key, Wrong::new("is missing", SECRET_ENTRY));
            }
            (secret, s.optional("not_after", forms::moment))
        });
        let (secret, not_after) = read?;
        Some(RotatingSecret { secret: secret?, not_after })
    }

    fn checked(&mut self, path: String, text: String, check: Check) -> Option<SecretString> {
        match bare(&text).and_then(|()| check(&text)) {
            Ok(()) => {
                let secret = SecretString::from(text);
                self.cx.secrets.push(SeenSecret { path, secret: secret.clone() });
                Some(secret)
            }
            Err(wrong) => {
                self.cx.error(path, wrong);
                None
            }
        }
    }

    fn secret_entries(&mut self, key: &'static str, file_key: &'static str) -> Vec<(String, Node)> {
        let given = self.entries(key).unwrap_or_default();
        let path = self.path(key);
        match self.secret_file(file_key) {
            None => given,
            Some(_) if !given.is_empty() => {
                self.given_twice(key, file_key);
                Vec::new()
            }
            Some((_, None)) => Vec::new(),
            Some((file, Some(content))) => {
                let lines: Vec<(usize, &str)> = content
                    .lines()
                    .enumerate()
                    .map(|(number, line)| (number + 1, secret_in(line)))
                    .filter(|(_, line)| !line.is_empty())
                    .collect();
                if lines.is_empty() {
                    let place = Place::SecretFile { path: file.clone(), line: None };
                    let wrong = Wrong::new("is read from an empty file", "write one secret per line into the file");
                    self.cx.error_at(path.clone(), place, wrong);
                }
                let entries = lines.into_iter().enumerate().map(|(index, (number, line))| {
                    let place = Place::SecretFile { path: file.clone(), line: Some(number) };
                    let path = format!("{path}[{index}]");
                    self.cx.places.insert(path.clone(), place.clone());
                    let node = Node { value: Value::Text(line.to_owned()), key_place: place.clone(), place };
                    (path, node)
                });
                entries.collect()
            }
        }
    }

    /// The file a secret is in, and its content where it could be read.
    fn secret_file(&mut self, file_key: &'static str) -> Option<(PathBuf, Option<String>)> {
        let named = self.optional(file_key, |value| forms::text(value).map(str::to_owned))?;
        if named.is_empty() {
            return None;
        }
        let key = self.path(file_key);
        let file = PathBuf::from(&named);
        self.cx.secret_files.push(file.clone());
        match read(&file) {
            Ok(content) => {
                if is_open_to_all(&file) {
                    let what = format!("names a file that every user of this machine can read: {}", file.display());
                    self.cx.warn(key, Wrong::new(what, "take it from the others: chmod o-rwx"));
                }
                Some((file, Some(content)))
            }
            Err(reason) => {
                // A secret pasted where its path belongs must not be printed as a path.
                let wrong = if looks_secret(&named) && !named.contains('/') {
                    let help = format!("for the secret itself leave out `_file`: `{}`", key.trim_end_matches("_file"));
                    Wrong::new("looks like a secret, not like the path of a file", help)
                } else {
                    let what = format!("names a file that cannot be read: {}: {reason}", file.display());
                    Wrong::new(what, "check the path, the mount and who may read it")
                };
                self.cx.error(key, wrong);
                Some((file, None))
            }
        }
    }

    fn given_twice(&mut self, key: &'static str, file_key: &'static str) {
        let (path, file_path) = (self.path(key), self.path(file_key));
        let wrong = Wrong::new(
            format!("is given besides `{path}`"),
            format!("keep one of the two; {}=\"\" takes back what a file says", variable_for(&path)),
        );
        self.cx.error(file_path, wrong);
    }
}

/// Refuses white space around a secret.
fn bare(text: &str) -> Result<(), Wrong> {
    if text.trim() == text && !text.starts_with('\u{feff}') {
        return Ok(());
    }
    let help = "take it off; a line break at the end is what `echo` adds (`printf %s` and `base64 -w0` do not)";
    Err(Wrong::new("begins or ends with white space", help))
}

/// Tells a file that anybody on the machine may read or change.
fn is_open_to_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o006 != 0)
}

fn read(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut content = Vec::new();
    file.take(LONGEST_FILE + 1).read_to_end(&mut content).map_err(|error| error.to_string())?;
    if content.len() as u64 > LONGEST_FILE {
        return Err(format!("it is larger than {}", forms::size_text(64 * 1024)));
    }
    String::from_utf8(content).map_err(|_| "it is not UTF-8 text".to_owned())
}
