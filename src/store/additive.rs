//! The changes that a migration may make while the version before it still runs on the same database: it may only add.
//!
//! During a rolling upgrade the new version migrates while replicas of the old one go on reading and writing. They name
//! every column they use, so a new table, a new index and a new column that may be left out do not affect them. Anything
//! else might; so this module lists the permitted statements, and refuses all others.

use std::collections::BTreeSet;

/// Returns the faults of a migration, statement by statement; empty for one that only adds.
pub(super) fn faults(migration: &str) -> Vec<String> {
    let mut new_tables = BTreeSet::new();
    let mut faults = Vec::new();
    for statement in statements(migration) {
        if let Err(why) = adds(&statement, &mut new_tables) {
            faults.push(format!("{why}: {}", statement.join(" ")));
        }
    }
    faults
}

fn adds(statement: &[String], new_tables: &mut BTreeSet<String>) -> Result<(), &'static str> {
    let words: Vec<&str> = statement.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["CREATE", "TABLE", name, "(", rest @ ..] => {
            new_tables.insert((*name).to_owned());
            if rest.contains(&"INHERITS") || rest.contains(&"PARTITION") {
                return Err("its rows would appear in another table");
            }
            references(rest)
        }
        ["CREATE", "INDEX", _, "ON", _, "(", ..] => Ok(()),
        ["CREATE", "UNIQUE", "INDEX", _, "ON", table, "(", ..] if new_tables.contains(*table) => Ok(()),
        ["CREATE", "UNIQUE", ..] => Err("the version before may write what a unique index refuses"),
        ["ALTER", "TABLE", _, actions @ ..] => separate(actions).into_iter().try_for_each(column),
        _ => Err("it is not one of the statements that only add"),
    }
}

/// Checks one action of `ALTER TABLE`.
fn column(action: &[&str]) -> Result<(), &'static str> {
    let ["ADD", "COLUMN", _, kind, rest @ ..] = action else { return Err("it does not add a column") };
    let has = |word: &str| rest.contains(&word);
    let default = rest.iter().skip_while(|word| **word != "DEFAULT").nth(1);
    if has("NOT") && default.is_none_or(|value| *value == "NULL") {
        return Err("rows of the version before would lack the column");
    }
    if ["UNIQUE", "PRIMARY", "CHECK", "EXCLUDE", "GENERATED"].iter().any(|word| has(word)) {
        return Err("rows of the version before may be refused");
    }
    let is_computed = default.is_some_and(|value| !is_constant(value)) || has("(") && !has("REFERENCES");
    if is_computed || kind.ends_with("SERIAL") {
        return Err("a default that is computed writes every row anew, and holds the table meanwhile");
    }
    references(rest)
}

/// Checks a foreign key: a version that deletes a row must not be held by rows that it does not know of.
fn references(words: &[&str]) -> Result<(), &'static str> {
    let wanted = words.iter().filter(|word| **word == "REFERENCES").count();
    let lets_go = |words: &&[&str]| matches!(words, ["ON", "DELETE", "CASCADE" | "SET"]);
    if words.windows(3).filter(lets_go).count() < wanted {
        return Err("the version before could not delete what is referred to");
    }
    Ok(())
}

fn is_constant(word: &str) -> bool {
    ["TRUE", "FALSE", "NULL"].contains(&word) || word.starts_with('\'') || word.parse::<i64>().is_ok()
}

/// Cuts at the commas outside parentheses.
fn separate<'a>(words: &'a [&'a str]) -> Vec<&'a [&'a str]> {
    let mut depth = 0;
    words
        .split(|word| {
            depth += i32::from(*word == "(") - i32::from(*word == ")");
            *word == "," && depth == 0
        })
        .collect()
}

/// Returns the statements of a migration, each as its words; comments are left out, and words but texts are in capitals.
fn statements(migration: &str) -> Vec<Vec<String>> {
    let mut statements = vec![Vec::new()];
    let mut rest = migration;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '\'' => rest[1..].find('\'').map_or(rest.len(), |end| end + 2),
            _ if is_word(first) => rest.find(|one| !is_word(one)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        match first {
            ';' => statements.push(Vec::new()),
            '-' | '/' if length > 1 => {}
            _ if first.is_whitespace() => {}
            _ => {
                let word = if first == '\'' { token.to_owned() } else { token.to_uppercase() };
                statements.last_mut().expect("there is always one").push(word);
            }
        }
    }
    statements.retain(|statement| !statement.is_empty());
    statements
}

fn is_word(one: char) -> bool {
    one.is_alphanumeric() || one == '_'
}

#[test]
fn what_only_adds_is_let_through() {
    for good in [
        "",
        "-- DROP TABLE turns;\n/* DELETE FROM turns; */",
        "ALTER TABLE turns ADD COLUMN traceparent TEXT;",
        "ALTER TABLE turns ADD COLUMN note TEXT NOT NULL DEFAULT 'it''s; DROP'",
        "alter table turns add column a bigint not null default 0, add column b boolean default false;",
        "CREATE TABLE extra (key BIGINT PRIMARY KEY, turn BIGINT REFERENCES turns (key) ON DELETE CASCADE, at BIGINT NOT NULL);
         CREATE UNIQUE INDEX extra_by_turn ON extra (turn);",
        "CREATE INDEX turns_by_note ON turns (detail) WHERE detail <> '';",
        "ALTER TABLE turns ADD COLUMN next BIGINT REFERENCES turns (key) ON DELETE SET NULL",
    ] {
        assert_eq!(faults(good), Vec::<String>::new(), "{good}");
    }
}

#[test]
fn what_concerns_the_version_before_is_refused() {
    for bad in [
        "DROP TABLE turns",
        "DROP INDEX turns_open",
        "drop index if exists turns_open",
        "TRUNCATE budget",
        "ALTER TABLE turns DROP COLUMN detail",
        "ALTER TABLE turns RENAME TO messages",
        "ALTER TABLE turns RENAME COLUMN detail TO why",
        "ALTER TABLE turns ALTER COLUMN replies TYPE SMALLINT",
        "ALTER TABLE turns ALTER COLUMN echo SET NOT NULL",
        "ALTER TABLE turns ADD CONSTRAINT short CHECK (length(text) < 100)",
        "ALTER TABLE turns ADD COLUMN why TEXT NOT NULL",
        "ALTER TABLE turns ADD COLUMN why TEXT NOT NULL DEFAULT NULL",
        "ALTER TABLE turns ADD COLUMN number BIGSERIAL",
        "CREATE TABLE more () INHERITS (turns)",
        "ALTER TABLE turns ADD COLUMN why TEXT UNIQUE",
        "ALTER TABLE turns ADD COLUMN why TEXT CHECK (why <> '')",
        "ALTER TABLE turns ADD COLUMN at BIGINT DEFAULT random()",
        "ALTER TABLE turns ADD COLUMN at BIGINT NOT NULL DEFAULT (1 + 1)",
        "ALTER TABLE turns ADD COLUMN at BIGINT GENERATED ALWAYS AS (due_at) STORED",
        "ALTER TABLE turns ADD COLUMN next BIGINT REFERENCES turns (key)",
        "ALTER TABLE turns ADD COLUMN a TEXT, DROP COLUMN detail",
        "ALTER TABLE turns ADD COLUMN a TEXT, ADD COLUMN b TEXT NOT NULL",
        "ALTER TABLE turns DISABLE TRIGGER ALL",
        "CREATE UNIQUE INDEX turns_by_text ON turns (text)",
        "CREATE TABLE extra (turn BIGINT REFERENCES turns (key))",
        "CREATE TABLE extra (a BIGINT REFERENCES turns (key) ON DELETE CASCADE, b BIGINT REFERENCES turns (key))",
        "CREATE TABLE turns_2 AS SELECT key FROM turns",
        "CREATE TRIGGER t BEFORE INSERT ON turns EXECUTE FUNCTION f()",
        "CREATE RULE r AS ON DELETE TO turns DO INSTEAD NOTHING",
        "CREATE OR REPLACE VIEW v AS SELECT 1",
        "UPDATE turns SET detail = ''",
        "INSERT INTO notes (name, value) VALUES ('a', 'b')",
        "DELETE FROM budget",
        "PRAGMA foreign_keys = OFF",
        "DO $$ BEGIN NULL; END $$",
        "LOCK TABLE turns",
        "GRANT SELECT ON turns TO somebody",
        "CREATE TABLE fine (a BIGINT); -- and then\n DROP TABLE turns;",
        "/* one */ DROP /* two */ TABLE turns",
        "CREATE INDEX CONCURRENTLY late ON turns (text)",
    ] {
        assert!(!faults(bad).is_empty(), "{bad} is let through");
    }
}
