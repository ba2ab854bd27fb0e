//! From the staging file to the finished outputs: ordered by creation, each conversation once, each file whole or not there.

use super::{
    Destination, ExportError, Stage,
    tables::{Cells, Column, Tables},
};

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line, as Fini sent it.
    Ndjson,
    /// Two tables.
    Csv(Cells),
}

/// The places of the output. With [`Format::Ndjson`] only the first counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outputs {
    /// Conversations.
    pub first: Option<Destination>,
    /// Their events or questions, one row each.
    pub second: Option<Destination>,
}

/// Counts of the rows that were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// Number of different conversations.
    pub conversations: u64,
    /// Number of their events or questions.
    pub events: u64,
}

/// Writes the output from the staged rows. The staging file stays: the caller discards it once it has all it wanted.
pub fn finish(staging: &Stage, tables: Tables, format: Format, outputs: &Outputs) -> Result<Finished, ExportError> {
    let mut first = outputs.first.as_ref().map(Destination::open).transpose()?;
    let mut second = outputs.second.as_ref().filter(|_| format != Format::Ndjson).map(Destination::open).transpose()?;
    let cells = match format {
        Format::Csv(cells) => Some(cells),
        Format::Ndjson => None,
    };
    if cells.is_some() {
        let (one, two) = tables.columns();
        for (target, columns) in [(&mut first, one), (&mut second, two)] {
            if let Some(target) = target {
                target.row(columns.iter().map(header))?;
            }
        }
    }
    let mut finished = Finished::default();
    staging.for_each(|json| {
        let parts = tables.parts(json, cells.unwrap_or(Cells::Raw));
        finished.conversations += 1;
        finished.events += parts.len() as u64;
        if cells.is_none() {
            return first.as_mut().map_or(Ok(()), |target| target.line(json));
        }
        if let (Some(target), Some(row)) = (&mut first, parts.first()) {
            target.row(row)?;
        }
        if let Some(target) = &mut second {
            for row in parts.second() {
                target.row(row)?;
            }
        }
        Ok(())
    })?;
    // The second first: a reader that waits for the first to appear finds both.
    for target in [second, first].into_iter().flatten() {
        target.close()?;
    }
    Ok(finished)
}

fn header(column: &Column) -> &'static str {
    column.name
}
