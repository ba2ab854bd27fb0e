//! `bind`: an operator settles a quarantine, through the admin listener of a running bridge.

use serde_json::{Value, json};

use super::{
    admin::AdminArgs,
    console::{Done, confirm, put},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whose conversation it is
    #[arg(value_name = "FRONTEND")]
    frontend: String,
    /// The conversation in quarantine (the frontend's own id)
    #[arg(value_name = "CONVERSATION")]
    conversation: String,
    /// To this conversation of Fini's; it has to exist there, and to belong to nobody
    #[arg(long, value_name = "INTERACTION", required_unless_present = "new", conflicts_with = "new")]
    to: Option<String>,
    /// To none: the next message begins a new one
    #[arg(long)]
    new: bool,
    /// Only say whose history it would bring
    #[arg(long)]
    dry_run: bool,
    /// The reason; stands in the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not ask first
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) async fn run(args: Args) -> Done {
    let admin = args.admin.connect()?;
    if !args.dry_run {
        let to = args.to.as_deref().unwrap_or("a new conversation");
        confirm(&format!("Bind {}/{} to {to}?", args.frontend, args.conversation), args.yes)?;
    }
    let path = ["conversations", args.frontend.as_str(), args.conversation.as_str(), "bind"];
    let answer = admin.post(&path, &wish(&args)).await;
    put(answer.map_err(|refusal| admin.explain(&refusal))?)
}

fn wish(args: &Args) -> Value {
    let mut wish = match &args.to {
        Some(interaction) => json!({"interaction_id": interaction}),
        None => json!({"new": true}),
    };
    if args.dry_run {
        wish["dry_run"] = true.into();
    }
    if let Some(reason) = &args.reason {
        wish["reason"] = reason.as_str().into();
    }
    wish
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{super::Only, *};

    #[test]
    fn it_is_bound_to_one_or_to_a_new_one_and_never_to_both() {
        let parsed =
            |line: &[&str]| Only::<Args>::try_parse_from([&["bind", "web", "c"], line].concat()).map(|only| only.args);
        let to = parsed(&["--to", "i-1", "--dry-run", "--reason", "a complaint"]).expect("valid");
        assert_eq!(wish(&to), json!({"interaction_id": "i-1", "dry_run": true, "reason": "a complaint"}));
        assert_eq!(wish(&parsed(&["--new"]).expect("valid")), json!({"new": true}));
        assert!(parsed(&[]).is_err());
        assert!(parsed(&["--new", "--to", "i-1"]).is_err());
    }
}
