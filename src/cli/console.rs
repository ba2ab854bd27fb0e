//! The ways in which a command speaks: data on stdout, messages on stderr, and the exit status.
//!
//! A reader that goes away (`… | head`) ends a command quietly: it has what it wanted.

use std::{
    fmt::{self, Display},
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    process::ExitCode,
};

/// The result of every command.
pub(super) type Done = Result<(), CliError>;

/// The reason why a command did not do what it was asked.
#[derive(Debug)]
pub(super) struct CliError {
    status: u8,
    what: String,
    place: Option<String>,
    help: Option<String>,
}

impl CliError {
    /// It was called rightly and failed: exit status 1.
    pub(super) fn failed(what: impl Display) -> Self {
        Self { status: 1, what: what.to_string(), place: None, help: None }
    }

    /// It was called wrongly, or the configuration is bad: exit status 2.
    pub(super) fn usage(what: impl Display) -> Self {
        Self { status: 2, ..Self::failed(what) }
    }

    /// With where it is.
    pub(super) fn at(self, place: impl Display) -> Self {
        Self { place: Some(place.to_string()), ..self }
    }

    /// With what helps.
    pub(super) fn help(self, help: impl Display) -> Self {
        Self { help: Some(help.to_string()), ..self }
    }

    /// The exit status it stands for.
    pub(super) fn status(&self) -> u8 {
        self.status
    }

    /// The reader of stdout has gone.
    pub(super) fn gone() -> Self {
        Self { status: 0, what: String::new(), place: None, help: None }
    }
}

impl Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&message(&self.what, self.place.as_deref(), self.help.as_deref()))
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::gone() } else { Self::failed(error) }
    }
}

impl From<csv::Error> for CliError {
    fn from(error: csv::Error) -> Self {
        Self::from(io::Error::from(error))
    }
}

fn message(what: &str, place: Option<&str>, help: Option<&str>) -> String {
    let mut text = format!("error: {what}");
    for (mark, line) in [("-->", place), ("help:", help)] {
        if let Some(line) = line {
            text.push_str("\n  ");
            text.push_str(mark);
            text.push(' ');
            text.push_str(line);
        }
    }
    text
}

/// Tells the outcome and turns it into the exit status.
pub(super) fn finish(done: Done) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if error.status() != 0 {
                say(&error);
            }
            ExitCode::from(error.status())
        }
    }
}

/// A message for the person at the terminal. Never fails a command: nobody may be listening.
pub(super) fn say(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A piece of data, with a line break.
pub(super) fn put(text: impl Display) -> Done {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

/// Asks before something that cannot be undone. Without a terminal, the answer must have been given as `--yes`.
pub(super) fn confirm(question: &str, yes: bool) -> Done {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(CliError::usage("nobody is there to confirm this").help("add --yes"));
    }
    let _ = write!(io::stderr().lock(), "{question} [y/N] ");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CliError::failed("not confirmed; nothing was done")),
    }
}

/// Text from outside as a terminal may show it: line breaks and tabs stay, escape sequences cannot act.
pub(super) fn harmless(text: &str) -> String {
    text.chars().filter(|c| matches!(c, '\n' | '\t') || !is_acting(*c)).collect()
}

/// Control characters, and the marks that turn the direction of writing around.
fn is_acting(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The same on one line.
pub(super) fn one_line(text: &str) -> String {
    harmless(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_where_and_what_helps() {
        let error = CliError::usage("no such frontend").at("config/default.toml").help("use one of: web");
        assert_eq!(error.to_string(), "error: no such frontend\n  --> config/default.toml\n  help: use one of: web");
        assert_eq!(error.status(), 2);
        assert_eq!(CliError::failed("x").status(), 1);
    }

    #[test]
    fn a_reader_that_goes_away_is_no_failure() {
        assert_eq!(CliError::from(io::Error::from(io::ErrorKind::BrokenPipe)).status(), 0);
        assert_eq!(CliError::from(io::Error::other("disk")).status(), 1);
    }

    #[test]
    fn what_comes_from_outside_cannot_act_on_a_terminal() {
        assert_eq!(harmless("a\u{1b}[31mb\nc\u{7}\u{202e}d\u{9b}"), "a[31mb\ncd");
        assert_eq!(one_line(" a\n\tb\u{1b} c "), "a b c");
    }
}
