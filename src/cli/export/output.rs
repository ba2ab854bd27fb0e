//! Which files an export writes; decided before the first request.

use std::path::{Path, PathBuf};

use super::{FormatName, TableName};
use crate::{cli::console::CliError, export::Outputs};

/// Where everything goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Beside what the staging file stands; `None` for standard output.
    pub(super) target: Option<PathBuf>,
    /// The finished files.
    pub(super) outputs: Outputs,
    /// What the second table holds: events or questions.
    pub(super) detail: String,
}

impl Plan {
    /// The names of the finished files.
    pub(super) fn files(&self) -> Vec<String> {
        let paths = [&self.outputs.first, &self.outputs.second].into_iter().flatten();
        paths.filter(|path| *path != Path::new("-")).map(|path| path.display().to_string()).collect()
    }
}

/// Decides the files for `--out`, `--format` and `--table`.
pub(super) fn plan(out: &Path, format: FormatName, table: Option<TableName>, detail: &str) -> Result<Plan, CliError> {
    let stdout = out == Path::new("-");
    let folder = out.is_dir() || out.as_os_str().to_string_lossy().ends_with('/');
    if folder {
        std::fs::create_dir_all(out)
            .map_err(|error| CliError::failed(format!("the folder cannot be made: {error}")).at(out.display()))?;
    }
    let inside = |name: &str, extension: &str| {
        if folder {
            out.join(format!("{name}.{extension}"))
        } else {
            let stem = out.file_stem().unwrap_or_default().to_string_lossy();
            out.with_file_name(format!("{stem}.{name}.{extension}"))
        }
    };
    let whole = |name: &str, extension: &str| if folder { inside(name, extension) } else { out.to_owned() };
    let outputs = match (format, table) {
        (FormatName::Ndjson, None) => Outputs { first: Some(whole("conversations", "ndjson")), second: None },
        (FormatName::Ndjson, Some(_)) => {
            return Err(CliError::usage("--table chooses a CSV table").help("add --format csv"));
        }
        (FormatName::Csv, None) if stdout => {
            return Err(CliError::usage("CSV is two tables, and standard output is one").help(format!(
                "choose one with --table conversations or --table {detail}, or write to a file with --out"
            )));
        }
        (FormatName::Csv, None) => {
            Outputs { first: Some(inside("conversations", "csv")), second: Some(inside(detail, "csv")) }
        }
        (FormatName::Csv, Some(TableName::Conversations)) => {
            Outputs { first: Some(whole("conversations", "csv")), second: None }
        }
        (FormatName::Csv, Some(TableName::Events)) => Outputs { first: None, second: Some(whole(detail, "csv")) },
    };
    let target = match (stdout, folder) {
        (true, _) => None,
        (_, true) => Some(out.join("conversations")),
        _ => Some(out.to_owned()),
    };
    Ok(Plan { target, outputs, detail: detail.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(out: &str, format: FormatName, table: Option<TableName>) -> Vec<String> {
        plan(Path::new(out), format, table, "events").expect("a plan").files()
    }

    #[test]
    fn tables_stand_beside_each_other() {
        assert_eq!(files("/x/out.csv", FormatName::Csv, None), ["/x/out.conversations.csv", "/x/out.events.csv"]);
        assert_eq!(files("/x/out.csv", FormatName::Csv, Some(TableName::Events)), ["/x/out.csv"]);
        assert_eq!(files("/x/out.json", FormatName::Ndjson, None), ["/x/out.json"]);
        assert!(files("-", FormatName::Ndjson, None).is_empty());
        let folder = tempfile::tempdir().expect("a folder");
        let inside = files(&folder.path().to_string_lossy(), FormatName::Csv, None);
        assert!(inside[0].ends_with("/conversations.csv") && inside[1].ends_with("/events.csv"), "{inside:?}");
    }

    #[test]
    fn standard_output_takes_one_table() {
        assert_eq!(plan(Path::new("-"), FormatName::Csv, None, "events").expect_err("two").status(), 2);
        assert!(plan(Path::new("-"), FormatName::Csv, Some(TableName::Events), "events").is_ok());
        assert!(plan(Path::new("-"), FormatName::Ndjson, Some(TableName::Events), "events").is_err());
    }
}
