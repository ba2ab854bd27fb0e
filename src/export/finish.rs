//! From the staging file to the finished files: ordered by creation, each conversation once, each file whole or not there.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use super::{
    ExportError, Stage,
    sort::Ordering,
    stage::{folder_of, private},
    tables::{Column, Tables},
};

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line, as Fini sent it.
    Ndjson,
    /// Two tables.
    Csv,
}

/// Where the output goes; `-` is standard output. With [`Format::Ndjson`] only the first counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outputs {
    /// Conversations.
    pub first: Option<PathBuf>,
    /// Their events or questions, one row each.
    pub second: Option<PathBuf>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// Different conversations.
    pub conversations: u64,
    /// Their events or questions.
    pub events: u64,
}

/// Writes the output from what was staged. The staging file stays: it is discarded when the caller has what it wanted.
pub fn finish(staging: &Stage, tables: Tables, format: Format, outputs: &Outputs) -> Result<Finished, ExportError> {
    let scratch = ExportError::file(staging.folder());
    let mut ordering = Ordering::new(staging.folder());
    for entry in staging.entries()? {
        ordering.push(&entry?).map_err(&scratch)?;
    }
    let mut first = outputs.first.as_deref().map(Target::open).transpose()?;
    let mut second = outputs.second.as_deref().filter(|_| format == Format::Csv).map(Target::open).transpose()?;
    if format == Format::Csv {
        let (one, two) = tables.columns();
        for (target, columns) in [(&mut first, one), (&mut second, two)] {
            if let Some(target) = target {
                target.row(columns.iter().map(header))?;
            }
        }
    }
    let mut finished = Finished::default();
    for entry in ordering.finish().map_err(&scratch)? {
        let json = staging.read(&entry.map_err(&scratch)?)?;
        let parts = tables.parts(&json);
        finished.conversations += 1;
        finished.events += parts.len() as u64;
        if format == Format::Ndjson {
            if let Some(target) = &mut first {
                target.line(&json)?;
            }
            continue;
        }
        if let (Some(target), Some(row)) = (&mut first, parts.first()) {
            target.row(row)?;
        }
        if let Some(target) = &mut second {
            for row in parts.second() {
                target.row(row)?;
            }
        }
    }
    // The second first: whoever waits for the first to appear finds both.
    for target in [second, first].into_iter().flatten() {
        target.close()?;
    }
    Ok(finished)
}

fn header(column: &Column) -> &'static str {
    column.name
}

/// A file that takes its place only when it is complete, or standard output.
struct Target {
    path: PathBuf,
    new: Option<PathBuf>,
    out: BufWriter<Box<dyn Write>>,
}

impl Target {
    fn open(path: &Path) -> Result<Self, ExportError> {
        if path == Path::new("-") {
            let out: Box<dyn Write> = Box::new(io::stdout());
            return Ok(Self { path: path.to_owned(), new: None, out: BufWriter::new(out) });
        }
        let name = path.file_name().ok_or_else(|| {
            ExportError::file(path)(io::Error::new(io::ErrorKind::InvalidInput, "this is no name of a file"))
        })?;
        let new = folder_of(path).join(format!(".{}.new", name.to_string_lossy()));
        let file = private(&new).and_then(|file| {
            // The readers of the old file stay the readers of the new one; a file that is new has none but its owner.
            if let Ok(old) = fs::metadata(path) {
                file.set_permissions(old.permissions())?;
            }
            Ok(file)
        });
        let file: Box<dyn Write> = Box::new(file.map_err(ExportError::file(&new))?);
        Ok(Self { path: path.to_owned(), new: Some(new), out: BufWriter::with_capacity(256 * 1024, file) })
    }

    fn line(&mut self, json: &str) -> Result<(), ExportError> {
        let written = self.out.write_all(json.as_bytes()).and_then(|()| self.out.write_all(b"\n"));
        written.map_err(|error| self.failed(error))
    }

    fn row<T: AsRef<[u8]>>(&mut self, cells: impl IntoIterator<Item = T>) -> Result<(), ExportError> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let written = writer.write_record(cells).map_err(io::Error::from);
        let bytes = written.and_then(|()| writer.into_inner().map_err(|error| io::Error::other(error.to_string())));
        bytes.and_then(|bytes| self.out.write_all(&bytes)).map_err(|error| self.failed(error))
    }

    fn close(mut self) -> Result<(), ExportError> {
        self.out.flush().map_err(|error| self.failed(error))?;
        if let Some(new) = &self.new {
            File::open(new).and_then(|file| file.sync_all()).map_err(ExportError::file(new))?;
            fs::rename(new, &self.path).map_err(ExportError::file(&self.path))?;
            let folder = folder_of(&self.path);
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(ExportError::file(folder))?;
        }
        Ok(())
    }

    fn failed(&self, error: io::Error) -> ExportError {
        if self.new.is_none() && error.kind() == io::ErrorKind::BrokenPipe {
            return ExportError::ReaderGone;
        }
        ExportError::File { path: self.new.clone().unwrap_or_else(|| self.path.clone()), error }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_new_output_is_its_owners_alone_and_an_old_one_stays_as_readable_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, victim) = (folder.path().join("out.ndjson"), folder.path().join("victim"));
        fs::write(&victim, "not ours").expect("writes");
        let written = |line: &str| {
            let new = folder.path().join(".out.ndjson.new");
            std::os::unix::fs::symlink(&victim, new).expect("links");
            let mut target = Target::open(&path).expect("opens");
            target.line(line).and_then(|()| target.close()).expect("writes");
            (
                fs::read_to_string(&path).expect("reads"),
                fs::metadata(&path).expect("is there").permissions().mode() & 0o777,
            )
        };
        assert_eq!(written("1"), ("1\n".to_owned(), 0o600));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("ours");
        assert_eq!(written("2"), ("2\n".to_owned(), 0o640));
        assert_eq!(fs::read_to_string(&victim).expect("reads"), "not ours");
    }
}
