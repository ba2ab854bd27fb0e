//! The walls between the rooms, kept by reading what each file uses: modules of one crate could otherwise import anything.
//!
//! Tests inside `src/` may reach further than the code they test, and are left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What any room may use.
const ANYWHERE: &str = "mutation";

/// Each room with the rooms it may use, itself apart. `*` is for the composition root and what stands above it.
const ROOMS: &[(&str, &[&str])] = &[
    // Faults that are put back where they were, in a build that no release is: they may stand in any room.
    (ANYWHERE, &[]),
    ("domain", &[]),
    ("system", &["domain"]),
    ("signature", &["domain"]),
    ("metrics", &["domain", "system"]),
    ("telemetry", &["domain", "metrics", "system"]),
    ("lifecycle", &["domain", "metrics"]),
    ("store", &["domain", "metrics"]),
    ("outbound", &[]),
    ("fini", &["domain", "outbound", "store"]),
    ("service", &["domain", "fini", "lifecycle", "metrics", "store"]),
    ("delivery", &["domain", "lifecycle", "metrics", "outbound", "signature", "store", "telemetry"]),
    // The admin API pings callback addresses, which is delivery's business.
    ("http", &["delivery", "domain", "fini", "lifecycle", "metrics", "service", "signature", "store", "telemetry"]),
    ("config", &["domain", "signature"]),
    ("export", &["domain", "fini", "store"]),
    // A second, independent reading of the vendor's documentation.
    ("sandbox", &[]),
    ("app", &["*"]),
    ("demo", &["*"]),
    ("cli", &["*"]),
    ("main", &["*"]),
    ("lib", &["*"]),
];

/// Crates that only some files may use, with the beginnings of those files' paths.
const CRATES: &[(&str, &[&str])] = &[
    ("sqlx", &["store/"]),
    ("rusqlite", &["store/", "export/stage"]),
    ("moka", &["store/bindings"]),
    ("axum", &["http/", "sandbox/", "demo/", "app/"]),
    ("hyper", &["http/", "sandbox/", "fini/client", "delivery/client"]),
    ("h2", &["delivery/client"]),
    ("hyper_util", &["http/", "sandbox/"]),
    (
        "reqwest",
        &["outbound", "fini/client", "delivery/client", "delivery/resolver", "cli/", "demo/", "telemetry/otlp"],
    ),
    ("opentelemetry", &["telemetry/otlp"]),
    ("opentelemetry_otlp", &["telemetry/otlp"]),
    ("opentelemetry_sdk", &["telemetry/otlp"]),
    ("clap", &["cli/", "main.rs"]),
    ("prometheus_client", &["metrics/"]),
    ("utoipa", &["http/"]),
    ("utoipa_axum", &["http/"]),
    ("ed25519_dalek", &["signature/", "config/load"]),
    ("hmac", &["signature/"]),
    ("tracing_subscriber", &["telemetry/", "config/load"]),
    ("toml", &["config/", "cli/sandbox"]),
];

/// What the pure room does without: no runtime, no I/O, no log.
const NOT_IN_DOMAIN: &[&str] =
    &["tokio", "tracing", "futures_util", "bytes", "std::fs", "std::net", "std::env", "std::process"];

struct Source {
    path: String,
    code: String,
}

impl Source {
    fn room(&self) -> &str {
        self.path.split(['/', '.']).next().expect("a split has a first part")
    }

    /// Whether `name::` or `use name` stands in the code as a path of its own.
    fn uses(&self, name: &str) -> bool {
        let starts = |at: usize| {
            let before = self.code[..at].chars().next_back();
            before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
        };
        self.code.match_indices(name).any(|(at, _)| {
            let after = &self.code[at + name.len()..];
            starts(at) && (after.starts_with("::") || (after.starts_with(';') && self.code[..at].ends_with("use ")))
        })
    }

    /// The rooms it names through `crate::`.
    fn rooms(&self) -> BTreeSet<String> {
        let mut rooms = BTreeSet::new();
        for (at, found) in self.code.match_indices("crate::") {
            let rest = &self.code[at + found.len()..];
            match rest.strip_prefix('{') {
                Some(list) => rooms.extend(heads(list)),
                None => rooms.extend(identifier(rest)),
            }
        }
        rooms
    }
}

/// The first identifiers of a brace list's entries.
fn heads(list: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut fresh) = (0_u32, true);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && depth == 0 && (c.is_alphabetic() || c == '_') => {
                heads.extend(identifier(&list[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("src can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test(&path) {
                let name = path.strip_prefix(&root).expect("it is below src").to_str().expect("a plain name");
                let text = fs::read_to_string(&path).expect("it can be read");
                found.push(Source { path: name.to_owned(), code: without_comments_and_tests(&text) });
            }
        }
    }
    assert!(found.len() > 100, "the walls would stand around nothing");
    found
}

fn is_test(path: &Path) -> bool {
    let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(path);
    if !path.starts_with("src") {
        return false;
    }
    let parts: Vec<_> = path.iter().filter_map(|part| part.to_str()).collect();
    let folders = ["tests", "conformance"];
    let files = ["tests.rs", "testing.rs", "conformance.rs"];
    parts.iter().any(|part| folders.contains(part)) || parts.last().is_some_and(|file| files.contains(file))
}

/// Comments may name anything; a test module stands at the end of its file.
fn without_comments_and_tests(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let is_attribute = line.trim_start().starts_with("#[cfg(test)]");
        if is_attribute && lines.peek().is_some_and(|next| next.trim_start().starts_with("mod ") && next.ends_with('{'))
        {
            break;
        }
        if is_attribute {
            lines.next();
            continue;
        }
        code.push_str(line.split("//").next().unwrap_or_default());
        code.push('\n');
    }
    code
}

#[test]
fn rooms_use_only_what_lies_below_them() {
    let known: Vec<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    let mut breaches = Vec::new();
    for source in sources() {
        let room = source.room();
        let Some((_, below)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            breaches.push(format!("{}: a room nobody has placed", source.path));
            continue;
        };
        for used in source.rooms() {
            if known.contains(&used.as_str())
                && used != room
                && used != ANYWHERE
                && !below.contains(&"*")
                && !below.contains(&used.as_str())
            {
                breaches.push(format!("{} uses {used}", source.path));
            }
        }
    }
    breaches.sort();
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn adapters_stay_in_their_rooms() {
    let mut breaches = Vec::new();
    for source in sources() {
        for (name, homes) in CRATES {
            if source.uses(name) && !homes.iter().any(|home| source.path.starts_with(home)) {
                breaches.push(format!("{} uses {name}", source.path));
            }
        }
        for name in NOT_IN_DOMAIN.iter().filter(|_| source.room() == "domain") {
            if source.uses(name) {
                breaches.push(format!("{} uses {name}", source.path));
            }
        }
    }
    breaches.sort();
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut breaches = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.join("src"), root.join("tests/bridge"), root.join("tests/load")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") || is_test(&path) {
                continue;
            }
            let text = fs::read_to_string(&path).expect("it can be read");
            if !text.starts_with("//!") {
                breaches.push(format!("{}: says nothing of itself", path.display()));
            }
        }
    }
    breaches.sort();
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn the_reader_of_walls_reads_right() {
    let source = |code: &str| Source { path: "service/a.rs".to_owned(), code: without_comments_and_tests(code) };
    let nested =
        source("use crate::{\n    domain::{Clock, turn::{A, B}},\n    store::Store, fini,\n};\n// crate::http\n");
    assert_eq!(nested.rooms().into_iter().collect::<Vec<_>>(), ["domain", "fini", "store"]);
    assert!(source("let x = sqlx::query(1);").uses("sqlx"));
    assert!(!source("let x = my_sqlx::query(1); // sqlx::query").uses("sqlx"));
    assert!(source("use sqlx;").uses("sqlx"));
    let tested = source("use crate::domain;\n#[cfg(test)]\nmod tests {\n use crate::http;\n}\n");
    assert_eq!(tested.rooms().len(), 1);
}
