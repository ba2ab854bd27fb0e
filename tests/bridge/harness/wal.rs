//! SQLite's write-ahead log, read beside the process that writes it: nobody can commit past it.

use std::path::Path;

use super::Bridge;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// The pages and the commits that stand in the log (sqlite.org/fileformat2.html#walformat).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wal {
    /// The log begins anew under another salt.
    salt: [u8; 8],
    /// Pages that were written.
    pub pages: usize,
    /// Commits that wrote anything.
    pub commits: usize,
}

impl Wal {
    fn read(path: &Path) -> Self {
        let file = std::fs::read(path).unwrap_or_default();
        let Some(header) = file.get(..HEADER) else { return Self::default() };
        let number = |at: &[u8]| u32::from_be_bytes(at.try_into().expect("four bytes"));
        let page = usize::try_from(number(&header[8..12])).expect("a page is small");
        let salt: [u8; 8] = header[16..24].try_into().expect("eight bytes");
        let frames = file[HEADER..].chunks_exact(FRAME_HEADER + page).take_while(|frame| frame[8..16] == salt);
        let commits = |frames: usize, frame: &[u8]| frames + usize::from(number(&frame[4..8]) > 0);
        Self { salt, pages: frames.clone().count(), commits: frames.fold(0, commits) }
    }

    /// What was added since an earlier moment.
    pub fn since(self, before: Self) -> Self {
        assert_eq!(self.salt, before.salt, "the log has begun anew meanwhile: fewer messages fit into one");
        Self { salt: self.salt, pages: self.pages - before.pages, commits: self.commits - before.commits }
    }
}

impl Bridge {
    /// The log of its embedded database as it stands now.
    pub fn wal(&self) -> Wal {
        Wal::read(&Path::new(&self.config_file()).with_file_name("bridge.db-wal"))
    }
}
