//! Tables for people: columns aligned, nothing cut, nothing coloured.

use super::console::{Done, one_line, put};

/// Rows under a header.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub(super) fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(|&name| name.to_owned()).collect()] }
    }

    /// Adds a row; what is missing is shown as `-`.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Option<String>>) {
        let shown = |cell: Option<String>| {
            let text = one_line(&cell.unwrap_or_default());
            if text.is_empty() { "-".to_owned() } else { text }
        };
        self.rows.push(cells.into_iter().map(shown).collect());
    }

    /// As text.
    pub(super) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |n: usize| self.rows.iter().filter_map(|row| row.get(n)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|n| width(n).unwrap_or_default()).collect();
        let line = |row: &Vec<String>| {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// On stdout.
    pub(super) fn print(&self) -> Done {
        put(self.render())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["ID", "NAME"]);
        table.row([Some("a".into()), Some("b\nc".into())]);
        table.row([Some("long".into()), None]);
        assert_eq!(table.render(), "ID    NAME\na     b c\nlong  -");
    }
}
