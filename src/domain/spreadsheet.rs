//! Texts in cells of a spreadsheet.

/// Returns a text as a cell that no spreadsheet runs: an apostrophe precedes a would-be formula (OWASP, "CSV Injection").
pub fn safe_cell(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_run_stands_behind_an_apostrophe() {
        for text in ["=1+1", "+1", "-5", "@SUM(A1)", "\t=1", "\r=1", "\n=1"] {
            assert_eq!(safe_cell(text.to_owned()), format!("'{text}"));
        }
        assert_eq!(safe_cell("a=b".to_owned()), "a=b");
    }
}
