//! `audit`: what operators did, through the admin listener of a running bridge.

use serde_json::Value;

use super::{
    admin::AdminArgs,
    console::{Done, one_line, put},
    table::Table,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// At most so many, newest first; 0 for all
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

const COLUMNS: [(&str, &str); 5] =
    [("AT", "at"), ("OPERATOR", "operator"), ("ACT", "act"), ("OBJECT", "object"), ("REASON", "reason")];

pub(super) async fn run(args: Args) -> Done {
    let admin = args.admin.connect()?;
    let most = if args.limit == 0 { usize::MAX } else { args.limit };
    let acts = admin.list("audit", "audit", &[], most).await.map_err(|refusal| admin.explain(&refusal))?;
    if args.json {
        return acts.iter().try_for_each(put);
    }
    let mut table = Table::new(&COLUMNS.map(|(title, _)| title));
    for act in &acts {
        table.row(COLUMNS.map(|(_, name)| cell(act, name)));
    }
    table.print()
}

fn cell(act: &Value, name: &str) -> Option<String> {
    let text = act[name].as_str().map(one_line)?;
    Some(if name == "act" && act["refused"] == true { format!("{text} (refused)") } else { text })
}
