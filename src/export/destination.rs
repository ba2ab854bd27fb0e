//! The place of an output, decided before the first request: an existing stream, or the place of a file.
//!
//! A file takes its place only when it is complete, with the mode and owner of the one that it replaces; a new one only its
//! owner may read. A device or a pipe is written into, never replaced. A file that holds another kind of content, or that
//! another export is about to write, is left alone.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
};

use super::{ExportError, tables::Tables};

/// Bytes of an existing file that are read to tell its content.
const FIRST_LINE: u64 = 8 * 1024 * 1024;
/// Names of this process's standard output.
const STDOUT: [&str; 4] = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

/// The place of one output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A device or a pipe.
    Stream(PathBuf),
    /// The place of a file, links followed.
    File(PathBuf),
}

/// The content of one output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A JSON object on each line.
    Lines(Tables),
    /// The first of the two CSV tables.
    First(Tables),
    /// The second one.
    Second(Tables),
}

impl Destination {
    /// Examines `path` and decides how to write there.
    pub fn find(path: &Path, content: Content) -> Result<Self, ExportError> {
        if STDOUT.iter().any(|name| path == Path::new(name)) {
            return Ok(Self::Stdout);
        }
        let failed = ExportError::file(path);
        let refused = |why: &str| failed(io::Error::new(io::ErrorKind::InvalidInput, why));
        let found = match fs::metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if fs::symlink_metadata(path).is_ok() {
                    return Err(refused("this link leads to nothing"));
                }
                let name = path.file_name().ok_or_else(|| refused("this is no name of a file"))?;
                let folder = folder_of(path).canonicalize().map_err(&failed)?;
                return Ok(Self::File(folder.join(name)));
            }
            Err(error) => return Err(failed(error)),
        };
        let kind = found.file_type();
        if kind.is_char_device() || kind.is_fifo() {
            return Ok(Self::Stream(path.to_owned()));
        }
        if !kind.is_file() {
            return Err(refused("this is neither a file, nor a pipe, nor a device that takes text"));
        }
        let place = path.canonicalize().map_err(&failed)?;
        match Content::of(&place).map_err(&failed)? {
            Some(other) if other != content => Err(ExportError::Staging(format!(
                "{} holds {}, and this export brings {}; choose another --out, or move it away",
                path.display(),
                other.name(),
                content.name()
            ))),
            _ => Ok(Self::File(place)),
        }
    }

    /// Returns the place of the file, if this is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Stdout | Self::Stream(_) => None,
        }
    }

    pub(super) fn open(&self) -> Result<Target, ExportError> {
        let (place, out): (Place, Box<dyn Write>) = match self {
            Self::Stdout => (Place::Stdout, Box::new(io::stdout())),
            Self::Stream(path) => {
                let stream = File::options().write(true).open(path).map_err(ExportError::file(path))?;
                (Place::Stream(path.clone()), Box::new(stream))
            }
            Self::File(path) => {
                let replacement = Replacement::begin(path)?;
                let file = replacement.file.try_clone().map_err(ExportError::file(path))?;
                (Place::File(replacement), Box::new(file))
            }
        };
        Ok(Target { place, out: BufWriter::with_capacity(256 * 1024, out) })
    }
}

impl Content {
    /// Tells the content of an existing file, if its first line shows it.
    fn of(path: &Path) -> io::Result<Option<Self>> {
        let mut line = String::new();
        let mut reader = BufReader::new(File::open(path)?.take(FIRST_LINE));
        if let Err(error) = reader.read_line(&mut line) {
            // A file that is no text is not ours.
            return if error.kind() == io::ErrorKind::InvalidData { Ok(None) } else { Err(error) };
        }
        let line = line.trim_end();
        let all = [Tables::Conversations, Tables::History];
        let header = all.into_iter().find_map(|tables| {
            let (first, second) = tables.headers();
            (line == first).then_some(Self::First(tables)).or((line == second).then_some(Self::Second(tables)))
        });
        Ok(header.or_else(|| Tables::of_line(line).map(Self::Lines)))
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Lines(Tables::Conversations) => "conversations",
            Self::Lines(Tables::History) => "chat history",
            Self::First(Tables::Conversations) => "the table of conversations",
            Self::Second(Tables::Conversations) => "the table of events",
            Self::First(Tables::History) => "the chat history's table of conversations",
            Self::Second(Tables::History) => "the chat history's table of questions",
        }
    }
}

/// An output that is being written.
pub(super) struct Target {
    place: Place,
    out: BufWriter<Box<dyn Write>>,
}

enum Place {
    Stdout,
    Stream(PathBuf),
    File(Replacement),
}

impl Target {
    pub(super) fn line(&mut self, json: &str) -> Result<(), ExportError> {
        let written = self.out.write_all(json.as_bytes()).and_then(|()| self.out.write_all(b"\n"));
        written.map_err(|error| self.place.failed(error))
    }

    pub(super) fn row<T: AsRef<[u8]>>(&mut self, cells: impl IntoIterator<Item = T>) -> Result<(), ExportError> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let written = writer.write_record(cells).map_err(io::Error::from);
        let bytes = written.and_then(|()| writer.into_inner().map_err(|error| io::Error::other(error.to_string())));
        bytes.and_then(|bytes| self.out.write_all(&bytes)).map_err(|error| self.place.failed(error))
    }

    pub(super) fn close(self) -> Result<(), ExportError> {
        let Self { place, mut out } = self;
        out.flush().map_err(|error| place.failed(error))?;
        match place {
            Place::Stdout | Place::Stream(_) => Ok(()),
            Place::File(replacement) => replacement.take_place(),
        }
    }
}

impl Place {
    fn failed(&self, error: io::Error) -> ExportError {
        match self {
            Self::Stdout | Self::Stream(_) if error.kind() == io::ErrorKind::BrokenPipe => ExportError::ReaderGone,
            Self::Stdout => ExportError::file(Path::new("-"))(error),
            Self::Stream(path) => ExportError::file(path)(error),
            Self::File(replacement) => ExportError::file(&replacement.new)(error),
        }
    }
}

/// A file on its way to its place. Given up, it leaves nothing behind.
struct Replacement {
    file: File,
    new: PathBuf,
    path: PathBuf,
    is_in_place: bool,
}

impl Replacement {
    fn begin(path: &Path) -> Result<Self, ExportError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let new = path.with_file_name(format!(".{name}.new"));
        let failed = ExportError::file(&new);
        if fs::symlink_metadata(&new).is_ok_and(|found| !found.is_file()) {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "this is no file of an export")));
        }
        let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(&new).map_err(&failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(ExportError::Staging(format!("another export is writing {}", path.display())));
            }
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(&failed)?;
        drop(failed);
        Ok(Self { file, new, path: path.to_owned(), is_in_place: false })
    }

    fn take_place(mut self) -> Result<(), ExportError> {
        if let Ok(old) = fs::metadata(&self.path) {
            // Only a privileged process may give a file away; for others it stays their own.
            let _ = fchown(&self.file, Some(old.uid()), Some(old.gid()));
            self.file.set_permissions(old.permissions()).map_err(ExportError::file(&self.new))?;
        }
        self.file.sync_all().map_err(ExportError::file(&self.new))?;
        fs::rename(&self.new, &self.path).map_err(ExportError::file(&self.path))?;
        self.is_in_place = true;
        let folder = folder_of(&self.path);
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(ExportError::file(folder))
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.is_in_place {
            // A failure has been reported already; a file that stays is written over the next time.
            let _ = fs::remove_file(&self.new);
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    const LINES: Content = Content::Lines(Tables::Conversations);

    fn written(destination: &Destination, line: &str) {
        let mut target = destination.open().expect("open");
        target.line(line).expect("written");
        target.close().expect("closed");
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o777
    }

    #[test]
    fn a_file_keeps_its_mode_and_its_link_and_a_new_one_is_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("a"), folder.path().join("link"));
        written(&Destination::find(&file, LINES).expect("a place"), "{}");
        assert_eq!(mode(&file), 0o600);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("set");
        symlink(&file, &link).expect("linked");
        written(&Destination::find(&link, LINES).expect("a place"), "{\"b\":1}");
        assert_eq!((mode(&file), fs::read_to_string(&file).expect("read")), (0o640, "{\"b\":1}\n".to_owned()));
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 2);
    }

    #[test]
    fn what_is_no_file_is_written_into_or_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(
            Destination::find(Path::new("/dev/null"), LINES).expect("a device"),
            Destination::Stream("/dev/null".into())
        );
        assert_eq!(Destination::find(Path::new("/dev/stdout"), LINES).expect("standard output"), Destination::Stdout);
        assert!(Destination::find(folder.path(), LINES).is_err(), "a folder");
        let dangling = folder.path().join("dangling");
        symlink(folder.path().join("nothing"), &dangling).expect("linked");
        assert!(Destination::find(&dangling, LINES).is_err());
        assert!(Destination::find(&folder.path().join("no folder/out"), LINES).is_err());
    }

    #[test]
    fn a_file_of_another_kind_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("out");
        let (first, second) = Tables::History.headers();
        for (line, content) in [
            (r#"{"id":"c","events":[]}"#, Content::Lines(Tables::Conversations)),
            (r#"{"id":"c","botRequests":[]}"#, Content::Lines(Tables::History)),
            (r#"{"question":"q","answer":"a"}"#, Content::Lines(Tables::History)),
            (first.as_str(), Content::First(Tables::History)),
            (second.as_str(), Content::Second(Tables::History)),
        ] {
            fs::write(&file, format!("{line}\nmore\n")).expect("written");
            assert!(Destination::find(&file, content).is_ok(), "{line}");
            assert!(Destination::find(&file, Content::Second(Tables::Conversations)).is_err(), "{line}");
        }
        fs::write(&file, "something else\n").expect("written");
        assert!(Destination::find(&file, LINES).is_ok());
    }

    #[test]
    fn an_output_that_is_given_up_leaves_nothing_and_one_under_way_is_respected() {
        let folder = tempfile::tempdir().expect("a folder");
        let destination = Destination::find(&folder.path().join("out"), LINES).expect("a place");
        let target = destination.open().expect("open");
        assert!(matches!(destination.open(), Err(ExportError::Staging(why)) if why.contains("another export")));
        drop(target);
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0);
    }
}
