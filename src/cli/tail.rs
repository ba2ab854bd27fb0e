//! `tail`: the log of a frontend, as a person reads it.

use serde_json::Value;

use super::{
    console::{Done, one_line, put, say},
    follow::{Entry, FollowArgs},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print each event as the JSON that it is, one on a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    follow: FollowArgs,
}

pub(super) async fn run(args: Args) -> Done {
    let mut log = args.follow.open()?;
    loop {
        let entry = tokio::select! {
            entry = log.next() => entry?,
            _ = tokio::signal::ctrl_c() => break,
        };
        put(if args.json { entry.body } else { line(&entry) })?;
    }
    if let Some(cursor) = log.cursor() {
        say(format!("go on with --after {cursor}"));
    }
    Ok(())
}

/// One event on one line.
fn line(entry: &Entry) -> String {
    let event: Value = serde_json::from_str(&entry.body).unwrap_or_default();
    let text = |value: &Value| one_line(value.as_str().unwrap_or_default());
    let sequence = event["sequence"].as_i64().map(|sequence| format!("#{sequence}")).unwrap_or_default();
    let data = &event["data"];
    let what = match entry.kind.as_str() {
        "message.created" => format!("{}: {}", text(&data["message"]["author"]), text(&data["message"]["text"])),
        _ => one_line(&data.to_string()),
    };
    let (at, conversation) = (text(&event["timestamp"]), text(&event["conversation_id"]));
    format!("{at}  {conversation} {sequence}  {}  {what}", entry.kind).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_as_one_line_and_cannot_act_on_the_terminal() {
        let body = r#"{"timestamp":"2026-11-21T05:00:00.123Z","conversation_id":"web-1","sequence":3,
            "data":{"message":{"author":"bot","text":"Hello\u001b[31m\nthere"}}}"#;
        let entry = Entry { cursor: "log_1".to_owned(), kind: "message.created".to_owned(), body: body.to_owned() };
        assert_eq!(line(&entry), "2026-11-21T05:00:00.123Z  web-1 #3  message.created  bot: Hello[31m there");
    }
}
