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

/// How many a page holds.
const PAGE: usize = 100;
const COLUMNS: [(&str, &str); 5] =
    [("AT", "at"), ("OPERATOR", "operator"), ("ACT", "act"), ("OBJECT", "object"), ("REASON", "reason")];

pub(super) async fn run(args: Args) -> Done {
    let admin = args.admin.connect()?;
    let most = if args.limit == 0 { usize::MAX } else { args.limit };
    let mut table = Table::new(&COLUMNS.map(|(title, _)| title));
    let (mut shown, mut cursor) = (0, None::<String>);
    loop {
        let mut query = vec![("limit", PAGE.to_string())];
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let page = admin.get(&["audit"], &query).await.map_err(|refusal| admin.explain(&refusal))?;
        for act in page["audit"].as_array().into_iter().flatten().take(most - shown) {
            shown += 1;
            if args.json {
                put(act)?;
            } else {
                table.row(COLUMNS.map(|(_, name)| cell(act, name)));
            }
        }
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() || shown >= most {
            break;
        }
    }
    if args.json { Ok(()) } else { table.print() }
}

fn cell(act: &Value, name: &str) -> Option<String> {
    let text = act[name].as_str().map(one_line)?;
    Some(if name == "act" && act["refused"] == true { format!("{text} (refused)") } else { text })
}
