//! Order and uniqueness without memory: sorted runs on disk, merged.
//!
//! Keys of fixed size stand for the staged records, so that a run of a hundred thousand costs 5 MB and the texts themselves
//! are read once, at the end. Two rounds: by id, where the latest record of each wins, then by creation.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

/// Keys held in memory at once.
const RUN: usize = 128 * 1024;
/// Bytes of buffer for each run that is merged.
const MERGE_BUFFER: usize = 16 * 1024;

const KEY: usize = 16 + 8 + 8 + 8;
type Key = [u8; KEY];

/// Where a staged record stands and what orders it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Stands for the id: the first half of its SHA-256.
    pub(super) id: [u8; 16],
    /// When the conversation was created, epoch milliseconds.
    pub(super) created: i64,
    /// Where the record begins in the staging file.
    pub(super) offset: u64,
    /// How long it is.
    pub(super) length: u64,
}

/// What stands for an id.
pub(super) fn hash(id: &str) -> [u8; 16] {
    let digest = Sha256::digest(id.as_bytes());
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    half
}

/// Creation as bytes that sort like numbers.
fn ordered(created: i64) -> [u8; 8] {
    (created.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

fn join(parts: [&[u8]; 4]) -> Key {
    let mut key = [0; KEY];
    let mut at = 0;
    for part in parts {
        key[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    key
}

fn eight(bytes: &[u8]) -> [u8; 8] {
    bytes.try_into().expect("the parts of a key have fixed places")
}

impl Entry {
    fn by_id(&self) -> Key {
        join([&self.id, &self.offset.to_be_bytes(), &ordered(self.created), &self.length.to_be_bytes()])
    }

    fn from_by_id(key: &Key) -> Self {
        Self {
            id: key[..16].try_into().expect("the parts of a key have fixed places"),
            offset: u64::from_be_bytes(eight(&key[16..24])),
            created: (u64::from_be_bytes(eight(&key[24..32])) ^ (1 << 63)).cast_signed(),
            length: u64::from_be_bytes(eight(&key[32..])),
        }
    }

    fn by_creation(&self) -> Key {
        join([&ordered(self.created), &self.id, &self.offset.to_be_bytes(), &self.length.to_be_bytes()])
    }

    fn from_by_creation(key: &Key) -> Self {
        Self {
            created: (u64::from_be_bytes(eight(&key[..8])) ^ (1 << 63)).cast_signed(),
            id: key[8..24].try_into().expect("the parts of a key have fixed places"),
            offset: u64::from_be_bytes(eight(&key[24..32])),
            length: u64::from_be_bytes(eight(&key[32..])),
        }
    }
}

/// Takes entries in the order in which they were staged; gives the latest of each id, oldest creation first.
pub(super) struct Ordering {
    first: Sorter,
    scratch: PathBuf,
    run: usize,
}

impl Ordering {
    /// Runs that do not fit into memory go into the folder `scratch`.
    pub(super) fn new(scratch: &Path) -> Self {
        Self::with_run(scratch, RUN)
    }

    fn with_run(scratch: &Path, run: usize) -> Self {
        Self { first: Sorter::new(scratch, run), scratch: scratch.to_owned(), run }
    }

    pub(super) fn push(&mut self, entry: &Entry) -> io::Result<()> {
        self.first.push(entry.by_id())
    }

    pub(super) fn finish(self) -> io::Result<impl Iterator<Item = io::Result<Entry>>> {
        let mut second = Sorter::new(&self.scratch, self.run);
        let mut latest: Option<Entry> = None;
        for key in self.first.merge()? {
            let entry = Entry::from_by_id(&key?);
            // The sort is ascending in the offset: the last of equal ids was staged last.
            if let Some(done) = latest.replace(entry).filter(|done| done.id != entry.id) {
                second.push(done.by_creation())?;
            }
        }
        if let Some(last) = latest {
            second.push(last.by_creation())?;
        }
        Ok(second.merge()?.map(|key| key.map(|key| Entry::from_by_creation(&key))))
    }
}

/// Sorts keys by their bytes.
struct Sorter {
    scratch: PathBuf,
    run: usize,
    keys: Vec<Key>,
    runs: Vec<File>,
}

impl Sorter {
    fn new(scratch: &Path, run: usize) -> Self {
        Self { scratch: scratch.to_owned(), run, keys: Vec::new(), runs: Vec::new() }
    }

    fn push(&mut self, key: Key) -> io::Result<()> {
        self.keys.push(key);
        if self.keys.len() >= self.run {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        self.keys.sort_unstable();
        let mut file = nameless(&self.scratch)?;
        let mut writer = BufWriter::new(&file);
        for key in self.keys.drain(..) {
            writer.write_all(&key)?;
        }
        writer.flush()?;
        drop(writer);
        file.rewind()?;
        self.runs.push(file);
        Ok(())
    }

    fn merge(mut self) -> io::Result<Merge> {
        self.keys.sort_unstable();
        let mut merge = Merge {
            sources: self.runs.into_iter().map(|run| BufReader::with_capacity(MERGE_BUFFER, run)).collect(),
            memory: self.keys.into_iter(),
            heads: BinaryHeap::new(),
        };
        for source in 0..=merge.sources.len() {
            merge.refill(source)?;
        }
        Ok(merge)
    }
}

/// The keys of all runs in order.
struct Merge {
    sources: Vec<BufReader<File>>,
    /// The last run never left memory; its number is one more than those of the files.
    memory: std::vec::IntoIter<Key>,
    heads: BinaryHeap<Reverse<(Key, usize)>>,
}

impl Merge {
    fn refill(&mut self, source: usize) -> io::Result<()> {
        let next = match self.sources.get_mut(source) {
            Some(file) => {
                let mut key = [0; KEY];
                match file.read_exact(&mut key) {
                    Ok(()) => Some(key),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
                    Err(error) => return Err(error),
                }
            }
            None => self.memory.next(),
        };
        self.heads.extend(next.map(|key| Reverse((key, source))));
        Ok(())
    }
}

impl Iterator for Merge {
    type Item = io::Result<Key>;

    fn next(&mut self) -> Option<io::Result<Key>> {
        let Reverse((key, source)) = self.heads.pop()?;
        Some(self.refill(source).map(|()| key))
    }
}

/// A file that is gone as soon as nobody has it open, whatever happens to the process.
pub(super) fn nameless(folder: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut number = u64::from(std::process::id());
    loop {
        let path = folder.join(format!(".fini-bridge-{number:x}.scratch"));
        match File::options().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number = number.wrapping_add(1 << 32),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_latest_of_each_id_comes_in_order_of_creation(
            staged in prop::collection::vec((0_u8..40, -5_i64..5), 0..200), run in 1_usize..50
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let mut ordering = Ordering::with_run(folder.path(), run);
            let mut latest = BTreeMap::new();
            for (offset, (id, created)) in (0_u64..).zip(&staged) {
                let entry = Entry { id: hash(&id.to_string()), created: *created, offset, length: offset * 3 };
                ordering.push(&entry).expect("pushed");
                latest.insert(entry.id, entry);
            }
            let mut wanted: Vec<Entry> = latest.into_values().collect();
            wanted.sort_by_key(|entry| (entry.created, entry.id));
            let got: Vec<Entry> = ordering.finish().expect("merged").map(|entry| entry.expect("read")).collect();
            prop_assert_eq!(got, wanted);
            prop_assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0);
        }
    }
}
