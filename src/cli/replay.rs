//! `replay`: delivered events of a time range sent again, through the admin listener of a running bridge.

use serde_json::{Map, Value, json};

use super::{
    admin::AdminArgs,
    console::{CliError, Done, confirm, put},
    when::{FORMS, parse_when},
};
use crate::{
    domain::{Timestamp, WallClock as _},
    system::SystemClock,
};

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags of a command line")]
pub(super) struct Args {
    /// Look at a replay that was begun, instead of beginning one
    #[arg(value_name = "REPLAY")]
    id: Option<String>,
    /// Whose events
    #[arg(long, value_name = "NAME", required_unless_present = "id", conflicts_with = "id")]
    frontend: Option<String>,
    /// To this destination alone
    #[arg(long, value_name = "NAME", conflicts_with = "id")]
    destination: Option<String>,
    /// Only what was recorded at or after this time: RFC 3339, a date, or a span ago such as 2h
    #[arg(long, value_name = "TIME", required_unless_present = "id", conflicts_with = "id")]
    since: Option<String>,
    /// Only what was recorded before this time
    #[arg(long, value_name = "TIME", default_value = "now")]
    until: String,
    /// Only these types, such as `turn.completed` or `conversation.*`; may be given several times
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "id")]
    types: Vec<String>,
    /// Events a second, at most
    #[arg(long, value_name = "N", conflicts_with = "id")]
    per_second: Option<u32>,
    /// Only say how much it would be
    #[arg(long, conflicts_with = "id")]
    dry_run: bool,
    /// Hold it
    #[arg(long, requires = "id", conflicts_with = "frontend")]
    pause: bool,
    /// Go on with it
    #[arg(long, requires = "id", conflicts_with_all = ["frontend", "pause"])]
    resume: bool,
    /// End it
    #[arg(long, requires = "id", conflicts_with_all = ["frontend", "pause", "resume"])]
    cancel: bool,
    /// The reason; stands in the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not ask before sending many again
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) async fn run(args: Args) -> Done {
    let admin = args.admin.connect()?;
    let reason = args.reason.as_ref().map_or(json!({}), |reason| json!({"reason": reason}));
    let answer = if let Some(id) = &args.id {
        let acts = [(args.pause, "pause"), (args.resume, "resume"), (args.cancel, "cancel")];
        match acts.into_iter().find(|(wanted, _)| *wanted) {
            Some((_, act)) => admin.post(&["deliveries", "replay", id, act], &reason).await,
            None => admin.get(&["deliveries", "replay", id], &[]).await,
        }
    } else {
        let wish = wish(&args, SystemClock.now().point())?;
        let question = format!("Send what was delivered again that matches {}?", Value::Object(wish.clone()));
        if !args.dry_run {
            confirm(&question, args.yes)?;
        }
        admin.post(&["deliveries", "replay"], &Value::Object(wish)).await
    };
    put(answer.map_err(|refusal| admin.explain(&refusal))?)
}

fn wish(args: &Args, now: Timestamp) -> Result<Map<String, Value>, CliError> {
    let time = |name: &str, text: &str| {
        let at = parse_when(text, now);
        at.map(|at| Value::from(at.to_string()))
            .map_err(|why| CliError::usage(format!("--{name}: {why}")).help(format!("write {FORMS}")))
    };
    let mut wish = Map::new();
    wish.insert("since".to_owned(), time("since", args.since.as_deref().unwrap_or_default())?);
    wish.insert("until".to_owned(), time("until", &args.until)?);
    wish.insert("dry_run".to_owned(), args.dry_run.into());
    for (name, value) in [("frontend", &args.frontend), ("destination", &args.destination), ("reason", &args.reason)] {
        if let Some(value) = value {
            wish.insert(name.to_owned(), value.as_str().into());
        }
    }
    if !args.types.is_empty() {
        wish.insert("types".to_owned(), args.types.clone().into());
    }
    if let Some(per_second) = args.per_second {
        wish.insert("per_second".to_owned(), per_second.into());
    }
    Ok(wish)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{super::Only, *};

    #[test]
    fn a_wish_carries_absolute_times_and_what_was_said() {
        let line = ["replay", "--frontend", "web", "--since", "2h", "--type", "turn.*", "--dry-run"];
        let args = Only::<Args>::try_parse_from(line).expect("valid").args;
        let wish = wish(&args, Timestamp::from_millis(1_767_225_600_000)).expect("times");
        let wanted = json!({"frontend": "web", "since": "2025-12-31T22:00:00.000Z", "until": "2026-01-01T00:00:00.000Z",
            "types": ["turn.*"], "dry_run": true});
        assert_eq!(Value::Object(wish), wanted);
        assert!(Only::<Args>::try_parse_from(["replay"]).is_err(), "a range or an id");
        assert!(Only::<Args>::try_parse_from(["replay", "rpl_1", "--pause"]).is_ok());
        assert!(Only::<Args>::try_parse_from(["replay", "--pause", "--frontend", "web", "--since", "1h"]).is_err());
    }
}
