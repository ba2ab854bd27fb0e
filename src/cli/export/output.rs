//! The files that an export writes; decided before the first request.

use std::path::{Path, PathBuf};

use super::{FormatName, TableName};
use crate::{
    cli::console::CliError,
    export::{Content, Destination, Outputs, Tables},
};

/// The target of everything that is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The finished files.
    pub(super) outputs: Outputs,
    /// The second table's rows: events or questions.
    pub(super) detail: &'static str,
}

impl Plan {
    /// The file beside which the staging file stands: the first that is written. `None` where no file is.
    pub(super) fn target(&self) -> Option<&Path> {
        self.files().next()
    }

    /// The names of the finished files.
    pub(super) fn names(&self) -> Vec<String> {
        self.files().map(|path| path.display().to_string()).collect()
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.outputs.first, &self.outputs.second].into_iter().flatten().filter_map(Destination::file)
    }
}

/// The names that an export of these tables gives to files of its own, and to the rows of its second table.
const fn names(tables: Tables) -> (&'static str, &'static str) {
    match tables {
        Tables::Conversations => ("conversations", "events"),
        Tables::History => ("history", "questions"),
    }
}

/// Decides the files for `--out`, `--format` and `--table`.
pub(super) fn plan(out: &Path, format: FormatName, table: Option<TableName>, tables: Tables) -> Result<Plan, CliError> {
    let (name, detail) = names(tables);
    let is_folder = out.is_dir() || out.as_os_str().to_string_lossy().ends_with('/');
    if is_folder {
        std::fs::create_dir_all(out)
            .map_err(|error| CliError::failed(format!("the folder cannot be made: {error}")).at(out.display()))?;
    }
    let find = |path: PathBuf, content: Content| {
        Destination::find(&path, content).map(Some).map_err(|error| CliError::usage(error.to_string()))
    };
    // In a folder, the history's tables are kept apart from the other export's by their names.
    let apart = match (is_folder, tables) {
        (true, Tables::History) => "history.",
        _ => "",
    };
    let beside = |table: &str| {
        if is_folder {
            return out.join(format!("{apart}{table}.csv"));
        }
        let stem = out.file_stem().unwrap_or_default().to_string_lossy();
        out.with_file_name(format!("{stem}.{table}.csv"))
    };
    let alone = |file: String| if is_folder { out.join(file) } else { out.to_owned() };
    let (first, second) = (Content::First(tables), Content::Second(tables));
    let outputs = match (format, table) {
        (FormatName::Ndjson, None) => {
            Outputs { first: find(alone(format!("{name}.ndjson")), Content::Lines(tables))?, second: None }
        }
        (FormatName::Ndjson, Some(_)) => {
            return Err(CliError::usage("--table chooses a CSV table").help("add --format csv"));
        }
        (FormatName::Csv, None) => {
            if !is_folder
                && find(out.to_owned(), first).is_ok_and(|found| found.is_some_and(|found| found.file().is_none()))
            {
                return Err(CliError::usage("CSV is two tables, and this output is one").help(format!(
                    "choose one with --table conversations or --table {detail}, or write to a file with --out"
                )));
            }
            Outputs { first: find(beside("conversations"), first)?, second: find(beside(detail), second)? }
        }
        (FormatName::Csv, Some(TableName::Conversations)) => {
            Outputs { first: find(alone(format!("{apart}conversations.csv")), first)?, second: None }
        }
        (FormatName::Csv, Some(TableName::Events)) => {
            Outputs { first: None, second: find(alone(format!("{apart}{detail}.csv")), second)? }
        }
    };
    Ok(Plan { outputs, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(out: &Path, format: FormatName, table: Option<TableName>, tables: Tables) -> Vec<String> {
        let names = plan(out, format, table, tables).expect("a plan").names();
        names.iter().map(|name| name.rsplit('/').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn tables_stand_beside_each_other_and_no_export_takes_another_ones_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let conversations =
            |out: &str, format, table| names(&folder.path().join(out), format, table, Tables::Conversations);
        assert_eq!(conversations("out.csv", FormatName::Csv, None), ["out.conversations.csv", "out.events.csv"]);
        assert_eq!(conversations("out.csv", FormatName::Csv, Some(TableName::Events)), ["out.csv"]);
        assert_eq!(conversations("out.json", FormatName::Ndjson, None), ["out.json"]);
        let (mut inside, folder) = (Vec::new(), folder.path().join("new/"));
        for tables in [Tables::Conversations, Tables::History] {
            for format in [FormatName::Ndjson, FormatName::Csv] {
                inside.extend(names(&folder, format, None, tables));
            }
        }
        assert_eq!(
            inside,
            [
                "conversations.ndjson",
                "conversations.csv",
                "events.csv",
                "history.ndjson",
                "history.conversations.csv",
                "history.questions.csv"
            ]
        );
    }

    #[test]
    fn a_stream_takes_one_table() {
        for stream in ["-", "/dev/null"] {
            let plan = |format, table| plan(Path::new(stream), format, table, Tables::Conversations);
            assert_eq!(plan(FormatName::Csv, None).expect_err("two").status(), 2);
            let one = plan(FormatName::Csv, Some(TableName::Events)).expect("one");
            assert_eq!((one.target(), one.names()), (None, Vec::new()));
            assert!(plan(FormatName::Ndjson, Some(TableName::Events)).is_err());
        }
    }
}
