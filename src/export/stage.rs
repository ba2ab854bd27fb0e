//! The staging file: the rows that were read and the checkpoint, in one SQLite file beside the output.
//!
//! A page and the checkpoint that counts it are one transaction, so that they agree after a kill at any moment. An open
//! staging file is locked against every other process. It holds customers' messages: only its owner may read it, and it is
//! never reached through a link.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, params};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use super::ExportError;

/// Counts changes of the format: a checkpoint of another version is refused.
const VERSION: u32 = 2;
/// The rows of one id replace each other. The index gives the output's order without sorting, which would need room elsewhere.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS rows (id TEXT PRIMARY KEY, created INTEGER NOT NULL, json TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS rows_in_order ON rows (created, id);
    CREATE TABLE IF NOT EXISTS checkpoint (
        only INTEGER PRIMARY KEY CHECK (only = 0), version INTEGER NOT NULL, purpose TEXT NOT NULL, workspace TEXT NOT NULL,
        state TEXT NOT NULL
    );";
/// Ids that the history's older shape lacks are numbers behind this sign.
pub(super) const NUMBERED: char = '#';

/// A staging file that is being written.
#[derive(Debug)]
pub struct Stage {
    db: Connection,
    /// Its path; `None` for one without a name.
    path: Option<PathBuf>,
    purpose: String,
    workspace: String,
    pending: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    id: String,
    created: i64,
    json: String,
}

/// The treatment of an unfinished export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Go on with it.
    Continue,
    /// Throw it away.
    Discard,
    /// Leave it alone, and report it.
    Respect,
}

/// The export that a staging file belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Purpose<'a> {
    /// The export's kind, address, range and filters: one is never continued as another.
    pub text: &'a str,
    /// The key's fingerprint ([`workspace`]): another key may mean another company's conversations.
    pub workspace: &'a str,
}

/// An opened staging file.
#[derive(Debug)]
pub struct Found<S> {
    /// The file, locked against every other process.
    pub staging: Stage,
    /// The state of the unfinished export; `None` for a new one.
    pub state: Option<S>,
    /// True if it was begun with another key: its rows must be seen under this one before anything is added.
    pub is_of_other_key: bool,
}

impl Stage {
    /// Opens the staging file of the output `target`.
    pub fn open<S: DeserializeOwned>(target: &Path, purpose: Purpose<'_>, kept: Kept) -> Result<Found<S>, ExportError> {
        let path = beside(target, "partial");
        let db = match connect(&path) {
            Err(error) if kept == Kept::Discard && error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
                fs::remove_file(&path).map_err(ExportError::file(&path))?;
                private(&path)?;
                connect(&path)
            }
            other => other,
        };
        let db = db.map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                ExportError::Staging(format!("another export is writing {}", path.display()))
            }
            Some(ErrorCode::NotADatabase) => {
                ExportError::Staging(format!("{} was written by another version of fini-bridge", path.display()))
            }
            _ => failed(&path)(error),
        })?;
        let staging = Self::over(db, Some(path.clone()), purpose)?;
        let found = staging.checkpoint().map_err(failed(&path))?;
        let (state, workspace) = match (found, kept) {
            (Some(_), Kept::Respect) => {
                return Err(ExportError::Staging(format!("an unfinished export stands in {}", path.display())));
            }
            (Some(found), Kept::Continue) => {
                let workspace = found.workspace.clone();
                (Some(staging.accept(&found)?), Some(workspace))
            }
            (None, _) | (Some(_), Kept::Discard) => {
                staging.clear().map_err(failed(&path))?;
                (None, None)
            }
        };
        let is_of_other_key = workspace.is_some_and(|workspace| workspace != purpose.workspace);
        Ok(Found { staging, state, is_of_other_key })
    }

    /// Opens a staging file without a name: nothing of it outlives the process. It stays in memory if the folder for temporary
    /// files cannot be written.
    pub fn nameless() -> Result<Self, ExportError> {
        let folder = std::env::temp_dir();
        let probe = folder.join(format!(".fini-bridge-{:x}.scratch", std::process::id()));
        let is_writable = File::options().write(true).create_new(true).mode(0o600).open(&probe).is_ok();
        if is_writable {
            fs::remove_file(&probe).map_err(ExportError::file(&probe))?;
        }
        let opened = if is_writable { Connection::open("") } else { Connection::open_in_memory() };
        Self::over(opened.map_err(failed(&folder))?, None, Purpose { text: "", workspace: "" })
    }

    fn over(db: Connection, path: Option<PathBuf>, purpose: Purpose<'_>) -> Result<Self, ExportError> {
        let shown = path.clone().unwrap_or_else(std::env::temp_dir);
        db.execute_batch(TABLES).map_err(failed(&shown))?;
        let (purpose, workspace) = (purpose.text.to_owned(), purpose.workspace.to_owned());
        Ok(Self { db, path, purpose, workspace, pending: Vec::new() })
    }

    fn checkpoint(&self) -> rusqlite::Result<Option<Checkpoint>> {
        let read = "SELECT version, purpose, workspace, state FROM checkpoint";
        let row = self.db.query_row(read, [], |row| {
            Ok(Checkpoint { version: row.get(0)?, purpose: row.get(1)?, workspace: row.get(2)?, state: row.get(3)? })
        });
        row.optional()
    }

    fn accept<S: DeserializeOwned>(&self, found: &Checkpoint) -> Result<S, ExportError> {
        let path = self.shown();
        let damaged = |why: &str| ExportError::Staging(format!("the checkpoint of {} {why}", path.display()));
        if found.version != VERSION {
            return Err(damaged("was written by another version of fini-bridge"));
        }
        if found.purpose != self.purpose {
            return Err(ExportError::Staging(format!(
                "the unfinished export in {} is another one: {} there, {} here",
                path.display(),
                found.purpose,
                self.purpose
            )));
        }
        serde_json::from_str(&found.state).map_err(|_| damaged("cannot be read"))
    }

    fn clear(&self) -> rusqlite::Result<()> {
        self.db.execute_batch("BEGIN; DELETE FROM rows; DELETE FROM checkpoint; COMMIT")
    }

    /// Adds a row; it counts from the next commit on.
    pub fn append(&mut self, created: Option<i64>, id: &str, json: &str) {
        self.pending.push(Row { id: id.to_owned(), created: created.unwrap_or_default(), json: json.to_owned() });
    }

    /// Makes the added rows durable, with `state` as the place to go on from.
    pub fn commit(&mut self, state: &impl Serialize) -> Result<(), ExportError> {
        let pending = std::mem::take(&mut self.pending);
        self.record(state, |transaction| {
            let mut add = transaction.prepare_cached(
                "INSERT INTO rows (id, created, json) VALUES (?1, ?2, ?3)
                 ON CONFLICT (id) DO UPDATE SET created = excluded.created, json = excluded.json",
            )?;
            for row in &pending {
                add.execute(params![row.id, row.created, row.json])?;
            }
            Ok(())
        })
    }

    /// Deletes the rows, which are in the output now, and keeps `state` for a later run.
    pub fn keep_place(&mut self, state: &impl Serialize) -> Result<(), ExportError> {
        self.record(state, |transaction| transaction.execute("DELETE FROM rows", []).map(drop))?;
        self.db.execute_batch("VACUUM").map_err(failed(&self.shown()))
    }

    fn record(
        &mut self,
        state: &impl Serialize,
        change: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), ExportError> {
        let path = self.shown();
        let text = serde_json::to_string(state).map_err(|error| ExportError::file(&path)(io::Error::other(error)))?;
        let (purpose, workspace) = (&self.purpose, &self.workspace);
        let write = || {
            let transaction = self.db.transaction()?;
            change(&transaction)?;
            transaction
                .prepare_cached(
                    "INSERT INTO checkpoint (only, version, purpose, workspace, state) VALUES (0, ?1, ?2, ?3, ?4)
                     ON CONFLICT (only) DO UPDATE SET workspace = excluded.workspace, state = excluded.state",
                )?
                .execute(params![VERSION, purpose, workspace, text])?;
            transaction.commit()
        };
        write().map_err(failed(&path))
    }

    /// Returns the ids of a few rows that Fini can be asked for.
    pub fn some_ids(&self, most: u32) -> Result<Vec<String>, ExportError> {
        let read = || -> rusqlite::Result<Vec<String>> {
            let mut rows = self.db.prepare("SELECT id FROM rows WHERE substr(id, 1, 1) <> ?1 LIMIT ?2")?;
            let rows = rows.query_map(params![NUMBERED.to_string(), most], |row| row.get(0))?;
            rows.collect()
        };
        read().map_err(failed(&self.shown()))
    }

    /// Passes on the JSON of each row, oldest creation first.
    pub(super) fn for_each(&self, mut take: impl FnMut(&str) -> Result<(), ExportError>) -> Result<(), ExportError> {
        let path = self.shown();
        let failed = failed(&path);
        let mut read = self.db.prepare("SELECT json FROM rows ORDER BY created, id").map_err(&failed)?;
        let mut rows = read.query([]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let json = row.get_ref(0).and_then(|value| value.as_str().map_err(Into::into)).map_err(&failed)?;
            take(json)?;
        }
        Ok(())
    }

    /// Removes the file; the output is complete.
    pub fn discard(self) -> Result<(), ExportError> {
        let Self { db, path, .. } = self;
        drop(db);
        if let Some(path) = path {
            remove(&path)?;
            let mut journal = path.into_os_string();
            journal.push("-journal");
            remove(Path::new(&journal))?;
        }
        Ok(())
    }

    fn shown(&self) -> PathBuf {
        self.path.clone().unwrap_or_else(std::env::temp_dir)
    }
}

struct Checkpoint {
    version: u32,
    purpose: String,
    workspace: String,
    state: String,
}

/// Opens and locks the database in `path`, which only its owner may read.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    private(path).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // Nothing is written elsewhere: not everybody who may write the output may write anything else.
    db.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = FULL;
         PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8000; BEGIN EXCLUSIVE; COMMIT",
    )?;
    Ok(db)
}

/// Makes sure that `path` is a file that only its owner may read, and no link.
fn private(path: &Path) -> Result<(), ExportError> {
    match File::options().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(path).map_err(ExportError::file(path))?;
            if found.is_file() {
                return Ok(());
            }
            Err(ExportError::Staging(format!("{} is no file of an export", path.display())))
        }
        Err(error) => Err(ExportError::file(path)(error)),
    }
}

fn failed(path: &Path) -> impl Fn(rusqlite::Error) -> ExportError + '_ {
    move |error| match error {
        rusqlite::Error::ToSqlConversionFailure(error) => match error.downcast::<ExportError>() {
            Ok(error) => *error,
            Err(error) => ExportError::file(path)(io::Error::other(error)),
        },
        error => ExportError::file(path)(io::Error::other(error)),
    }
}

/// Returns the first 64 bits of a text's SHA-256, which stand for the text.
pub(super) fn digest(text: &str) -> u64 {
    let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    hash[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Returns a fingerprint that tells keys apart without giving one away.
pub fn workspace(key: &str) -> String {
    format!("{:016x}", digest(&format!("fini-bridge export\n{key}")))
}

/// Returns the path of `target` with one more extension.
fn beside(target: &Path, extension: &str) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

fn remove(path: &Path) -> Result<(), ExportError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ExportError::file(path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _};

    use proptest::prelude::*;

    use super::*;

    const PURPOSE: Purpose<'_> = Purpose { text: "a purpose", workspace: "one" };

    fn open(target: &Path, kept: Kept) -> Result<Found<u32>, ExportError> {
        Stage::open(target, PURPOSE, kept)
    }

    fn contents(staging: &Stage) -> Vec<String> {
        let mut all = Vec::new();
        staging
            .for_each(|json| {
                all.push(json.to_owned());
                Ok(())
            })
            .expect("read");
        all
    }

    #[test]
    fn rows_count_from_the_commit_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("out.ndjson");
        let mut staging = open(&target, Kept::Respect).expect("new").staging;
        staging.append(Some(5), "a\tb\n", r#"{"n":1}"#);
        staging.commit(&7).expect("committed");
        staging.append(None, "c", "{}");
        drop(staging);
        let found = open(&target, Kept::Continue).expect("continued");
        assert_eq!((found.state, found.is_of_other_key), (Some(7), false));
        assert_eq!(contents(&found.staging), [r#"{"n":1}"#]);
        found.staging.discard().expect("discarded");
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0);
    }

    #[test]
    fn an_unfinished_export_is_neither_lost_nor_mistaken() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("out.ndjson");
        let mut staging = open(&target, Kept::Respect).expect("new").staging;
        assert!(
            matches!(open(&target, Kept::Continue), Err(ExportError::Staging(why)) if why.contains("another export")),
            "locked before anything is written"
        );
        staging.commit(&1).expect("committed");
        drop(staging);
        assert!(open(&target, Kept::Respect).is_err());
        let other = Stage::open::<u32>(&target, Purpose { text: "another", ..PURPOSE }, Kept::Continue);
        assert!(matches!(other, Err(ExportError::Staging(why)) if why.contains("another one")));
        let other = Stage::open::<u32>(&target, Purpose { workspace: "two", ..PURPOSE }, Kept::Continue);
        assert!(other.expect("opened").is_of_other_key);
        assert_eq!(open(&target, Kept::Discard).expect("discarded").state, None);
        assert_eq!(open(&target, Kept::Continue).expect("nothing there").state, None);
    }

    #[test]
    fn a_file_of_another_kind_is_refused_and_thrown_away_only_on_demand() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("out");
        fs::write(folder.path().join("out.partial"), "[0,\"an older version's line\"]\t{}\n".repeat(100))
            .expect("written");
        assert!(matches!(open(&target, Kept::Continue), Err(ExportError::Staging(_))));
        assert_eq!(open(&target, Kept::Discard).expect("begun anew").state, None);
        let elsewhere = folder.path().join("elsewhere");
        fs::write(&elsewhere, "").expect("written");
        std::os::unix::fs::symlink(&elsewhere, folder.path().join("link.partial")).expect("linked");
        assert!(open(&folder.path().join("link"), Kept::Discard).is_err(), "no link is followed");
    }

    #[test]
    fn only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("out");
        let mut staging = open(&target, Kept::Respect).expect("new").staging;
        staging.commit(&1).expect("committed");
        for entry in fs::read_dir(folder.path()).expect("readable") {
            let entry = entry.expect("an entry");
            let mode = entry.metadata().expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", entry.path().display());
        }
    }

    #[test]
    fn a_place_is_kept_without_the_rows() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("out");
        let mut staging = open(&target, Kept::Respect).expect("new").staging;
        staging.append(Some(1), "a", "{}");
        staging.commit(&1).expect("committed");
        staging.keep_place(&2).expect("kept");
        assert!(contents(&staging).is_empty());
        drop(staging);
        assert_eq!(open(&target, Kept::Continue).expect("continued").state, Some(2));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn the_latest_of_each_id_comes_in_order_of_creation(staged in prop::collection::vec((0_u8..40, -5_i64..5), 0..100)) {
            let mut staging = Stage::nameless().expect("a stage");
            let mut latest = BTreeMap::new();
            for (number, (id, created)) in staged.iter().enumerate() {
                staging.append(Some(*created), &format!("{id:02}"), &number.to_string());
                latest.insert(*id, (*created, number));
                if number % 7 == 0 {
                    staging.commit(&number).expect("committed");
                }
            }
            staging.commit(&0).expect("committed");
            let mut wanted: Vec<(i64, u8, usize)> = latest.iter().map(|(id, (created, number))| (*created, *id, *number)).collect();
            wanted.sort_unstable();
            let wanted: Vec<String> = wanted.iter().map(|(_, _, number)| number.to_string()).collect();
            prop_assert_eq!(contents(&staging), wanted);
        }
    }
}
