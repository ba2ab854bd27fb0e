//! The staging file: what was read, page by page, beside a checkpoint that says how much of it counts and where to go on.
//!
//! A page is written and synced before the checkpoint that counts it is put in its place by a rename. So after a kill at
//! any moment the checkpoint and the part of the file it counts agree; what stands behind that part is cut off.
//!
//! A record is one line: `[created,"id"]`, a tab, the JSON. Both files hold customers' messages or lead to them, so that
//! only their owner may read them.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    ExportError,
    sort::{Entry, hash, nameless},
};

/// Counts changes of the format: a checkpoint of another version is refused.
const VERSION: u32 = 1;

/// A staging file that is being written.
#[derive(Debug)]
pub struct Stage {
    file: File,
    path: PathBuf,
    checkpoint: Option<PathBuf>,
    purpose: String,
    length: u64,
    pending: Vec<u8>,
}

/// What is to become of an unfinished export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Go on with it.
    Continue,
    /// Throw it away.
    Discard,
    /// Leave it alone, and say that it is there.
    Respect,
}

/// An opened staging file.
#[derive(Debug)]
pub struct Found<S> {
    /// The file.
    pub staging: Stage,
    /// Where the export stood; `None` for a new one.
    pub state: Option<S>,
}

#[derive(Serialize, Deserialize)]
struct Checkpoint<S> {
    version: u32,
    /// What is exported, so that an export is never continued as another one.
    purpose: String,
    /// How much of the staging file counts.
    length: u64,
    state: S,
}

impl Stage {
    /// Opens the staging file of the output `target`. `purpose` says what is exported.
    pub fn open<S: DeserializeOwned>(target: &Path, purpose: &str, kept: Kept) -> Result<Found<S>, ExportError> {
        let (path, checkpoint) = (beside(target, "partial"), beside(target, "checkpoint"));
        let file = resumable(&path);
        let file = file.map_err(ExportError::file(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(ExportError::Staging(format!("another export is writing {}", path.display())));
            }
            Err(fs::TryLockError::Error(error)) => return Err(ExportError::file(&path)(error)),
        }
        let text = match fs::read_to_string(&checkpoint) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(ExportError::file(&checkpoint)(error)),
        };
        let mut staging = Self {
            file,
            path,
            checkpoint: Some(checkpoint),
            purpose: purpose.to_owned(),
            length: 0,
            pending: Vec::new(),
        };
        let state = match (text, kept) {
            (None, _) | (Some(_), Kept::Discard) => None,
            (Some(_), Kept::Respect) => {
                return Err(ExportError::Staging(format!("an unfinished export stands in {}", staging.path.display())));
            }
            (Some(text), Kept::Continue) => Some(staging.accept(&text)?),
        };
        staging.file.set_len(staging.length).map_err(ExportError::file(&staging.path))?;
        if state.is_none()
            && let Some(checkpoint) = &staging.checkpoint
        {
            remove(checkpoint)?;
        }
        Ok(Found { staging, state })
    }

    /// A staging file without a name in `folder`: nothing of it outlives the process.
    pub fn nameless(folder: &Path) -> Result<Self, ExportError> {
        let file = nameless(folder).map_err(ExportError::file(folder))?;
        let path = folder.to_owned();
        Ok(Self { file, path, checkpoint: None, purpose: String::new(), length: 0, pending: Vec::new() })
    }

    fn accept<S: DeserializeOwned>(&mut self, text: &str) -> Result<S, ExportError> {
        let damaged = |why: &str| ExportError::Staging(format!("the checkpoint of {} {why}", self.path.display()));
        let version =
            serde_json::from_str::<Checkpoint<serde_json::Value>>(text).map_err(|_| damaged("cannot be read"))?;
        if version.version != VERSION {
            return Err(damaged("was written by another version of fini-bridge"));
        }
        if version.purpose != self.purpose {
            return Err(ExportError::Staging(format!(
                "the unfinished export in {} is another one: {} there, {} here",
                self.path.display(),
                version.purpose,
                self.purpose
            )));
        }
        let length = self.file.metadata().map_err(ExportError::file(&self.path))?.len();
        if length < version.length {
            return Err(damaged("counts more than was written"));
        }
        self.length = version.length;
        serde_json::from_value(version.state).map_err(|_| damaged("cannot be read"))
    }

    /// Adds a record; it counts from the next commit on.
    pub fn append(&mut self, created: Option<i64>, id: &str, json: &str) {
        let head = serde_json::json!([created.unwrap_or_default(), id]);
        self.pending.extend_from_slice(head.to_string().as_bytes());
        self.pending.push(b'\t');
        self.pending.extend_from_slice(json.as_bytes());
        self.pending.push(b'\n');
    }

    /// Makes what was added durable, and `state` the place to go on from.
    pub fn commit(&mut self, state: &impl Serialize) -> Result<(), ExportError> {
        let failed = ExportError::file(&self.path);
        self.file.seek(SeekFrom::Start(self.length)).map_err(&failed)?;
        self.file.write_all(&self.pending).map_err(&failed)?;
        if let Some(path) = &self.checkpoint {
            self.file.sync_data().map_err(&failed)?;
            let length = self.length + self.pending.len() as u64;
            let checkpoint = Checkpoint { version: VERSION, purpose: self.purpose.clone(), length, state };
            let text = serde_json::to_vec(&checkpoint).map_err(|error| failed(io::Error::other(error)))?;
            replace(path, &text).map_err(ExportError::file(path))?;
        }
        self.length += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Where scratch files may go.
    pub(super) fn folder(&self) -> &Path {
        match &self.checkpoint {
            Some(_) => folder_of(&self.path),
            None => &self.path,
        }
    }

    /// The records that count, in the order in which they were staged.
    pub(super) fn entries(&self) -> Result<impl Iterator<Item = Result<Entry, ExportError>> + '_, ExportError> {
        let mut file = self.file.try_clone().map_err(ExportError::file(&self.path))?;
        file.rewind().map_err(ExportError::file(&self.path))?;
        let mut reader = BufReader::with_capacity(256 * 1024, file);
        let (mut offset, mut line) = (0_u64, Vec::new());
        Ok(std::iter::from_fn(move || {
            if offset >= self.length {
                return None;
            }
            line.clear();
            let begin = offset;
            Some(match reader.read_until(b'\n', &mut line) {
                Ok(read) => {
                    offset += read as u64;
                    parse(&line, begin).ok_or_else(|| self.damaged())
                }
                Err(error) => Err(ExportError::file(&self.path)(error)),
            })
        }))
    }

    /// The JSON of a record.
    pub(super) fn read(&self, entry: &Entry) -> Result<String, ExportError> {
        let length = usize::try_from(entry.length).map_err(|_| self.damaged())?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, entry.offset).map_err(ExportError::file(&self.path))?;
        String::from_utf8(bytes).map_err(|_| self.damaged())
    }

    /// Removes it; the output is complete.
    pub fn discard(self) -> Result<(), ExportError> {
        if let Some(checkpoint) = &self.checkpoint {
            remove(checkpoint)?;
            remove(&self.path)?;
        }
        Ok(())
    }

    fn damaged(&self) -> ExportError {
        ExportError::Staging(format!("{} is damaged; begin anew", self.path.display()))
    }
}

/// The entry of the record in `line`; its offset and length are those of the JSON alone.
fn parse(line: &[u8], begin: u64) -> Option<Entry> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let (created, id): (i64, String) = serde_json::from_slice(&line[..tab]).ok()?;
    let length = line.len().checked_sub(tab + 2).filter(|_| line.ends_with(b"\n"))? as u64;
    Some(Entry { id: hash(&id), created, offset: begin + tab as u64 + 1, length })
}

/// What stands for a text: the first 64 bits of its SHA-256.
pub(super) fn digest(text: &str) -> u64 {
    let half = hash(text);
    u64::from_be_bytes([half[0], half[1], half[2], half[3], half[4], half[5], half[6], half[7]])
}

/// The file beside `target` with one more extension.
fn beside(target: &Path, extension: &str) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A new file that only its owner may read, in place of whatever stood there. Never the file at the end of a link: somebody
/// else may have laid it, to have his own file written or read.
pub(super) fn private(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::options().read(true).write(true).create_new(true).mode(0o600).open(path),
    }
}

/// A file to go on with, that only its owner may read, and that is no link.
fn resumable(path: &Path) -> io::Result<File> {
    let no_link = rustix::fs::OFlags::NOFOLLOW.bits();
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(i32::try_from(no_link).map_err(io::Error::other)?)
        .open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Puts a file in its place at once and whole.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = beside(path, "new");
    let mut file = private(&new)?;
    file.write_all(content)?;
    file.sync_data()?;
    fs::rename(&new, path)
}

fn remove(path: &Path) -> Result<(), ExportError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ExportError::file(path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(target: &Path, kept: Kept) -> Result<Found<u32>, ExportError> {
        Stage::open(target, "a purpose", kept)
    }

    fn contents(staging: &Stage) -> Vec<(i64, String)> {
        let entries: Vec<Entry> = staging.entries().expect("open").map(|entry| entry.expect("whole")).collect();
        entries.iter().map(|entry| (entry.created, staging.read(entry).expect("read"))).collect()
    }

    #[test]
    fn a_stage_is_its_owners_alone_and_never_the_file_at_the_end_of_a_link() {
        let folder = tempfile::tempdir().expect("a folder");
        let (target, victim) = (folder.path().join("out.ndjson"), folder.path().join("victim"));
        let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
        fs::write(&victim, "not ours").expect("writes");
        std::os::unix::fs::symlink(&victim, beside(&target, "partial")).expect("links");
        assert!(matches!(open(&target, Kept::Respect), Err(ExportError::File { .. })));
        fs::remove_file(beside(&target, "partial")).expect("removes");
        fs::write(beside(&target, "partial"), "").expect("writes");
        fs::set_permissions(beside(&target, "partial"), fs::Permissions::from_mode(0o644)).expect("ours");
        let mut staging = open(&target, Kept::Respect).expect("opens").staging;
        assert_eq!(mode(&beside(&target, "partial")), 0o600);
        std::os::unix::fs::symlink(&victim, beside(&beside(&target, "checkpoint"), "new")).expect("links");
        staging.append(Some(1), "a", "{}");
        staging.commit(&1_u32).expect("commits");
        assert_eq!(mode(&beside(&target, "checkpoint")), 0o600);
        assert_eq!(fs::read_to_string(&victim).expect("reads"), "not ours");
    }

    #[test]
    fn what_was_not_committed_is_cut_off() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("out.ndjson");
        let mut staging = open(&target, Kept::Respect).expect("new").staging;
        staging.append(Some(5), "a\tb\n", r#"{"n":1}"#);
        staging.commit(&7).expect("committed");
        staging.append(None, "c", "{}");
        // As a kill between writing and the checkpoint leaves it.
        staging.file.write_all(b"[0,\"half").expect("written");
        drop(staging);
        let found = open(&target, Kept::Continue).expect("continued");
        assert_eq!(found.state, Some(7));
        assert_eq!(contents(&found.staging), [(5, r#"{"n":1}"#.to_owned())]);
    }

    #[test]
    fn an_unfinished_export_is_neither_lost_nor_mistaken() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("out.ndjson");
        let mut staging = open(&target, Kept::Respect).expect("new").staging;
        staging.commit(&1).expect("committed");
        assert!(
            matches!(open(&target, Kept::Continue), Err(ExportError::Staging(why)) if why.contains("another export"))
        );
        drop(staging);
        assert!(open(&target, Kept::Respect).is_err());
        let other = Stage::open::<u32>(&target, "another purpose", Kept::Continue);
        assert!(matches!(other, Err(ExportError::Staging(why)) if why.contains("another one")));
        assert_eq!(open(&target, Kept::Discard).expect("discarded").state, None);
        assert_eq!(open(&target, Kept::Continue).expect("nothing there").state, None);
    }

    #[test]
    fn only_its_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("out");
        let mut staging = open(&target, Kept::Respect).expect("new").staging;
        staging.commit(&1).expect("committed");
        for name in ["out.partial", "out.checkpoint"] {
            let mode = fs::metadata(folder.path().join(name)).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
}
