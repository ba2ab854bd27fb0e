//! `find`: conversations by any of their ids, or all that stand still, through the admin listener of a running bridge.

use serde_json::Value;

use super::{
    admin::{Admin, AdminArgs, Refusal},
    console::{Done, put},
    table::Table,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Id of a conversation, user, message, request, event or delivery, or of Fini's event or conversation; without one,
    /// everything that stands still, and why
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// At most so many; 0 for all
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// The columns of what was found by an id.
const FOUND: [(&str, &str); 7] = [
    ("FRONTEND", "/frontend"),
    ("CONVERSATION", "/conversation_id"),
    ("MATCHED", "/matched"),
    ("STATE", "/state"),
    ("USER", "/user/id"),
    ("INTERACTION", "/interaction_id"),
    ("UPDATED", "/updated_at"),
];
/// The columns of what stands still.
const STANDING: [(&str, &str); 8] = [
    ("KIND", "/kind"),
    ("FRONTEND", "/frontend"),
    ("CONVERSATION", "/conversation_id"),
    ("DESTINATION", "/destination"),
    ("BLOCKED BY", "/blocked_by"),
    ("SINCE", "/since"),
    ("UNTIL", "/until"),
    ("WAITING", "/waiting"),
];

const QUARANTINE: &str = "quarantine";

pub(super) async fn run(args: Args) -> Done {
    let admin = args.admin.connect()?;
    let most = if args.limit == 0 { usize::MAX } else { args.limit };
    let (rows, columns) = match args.id {
        Some(id) => (admin.list("conversations", "conversations", &[("q", id)], most).await, &FOUND[..]),
        None => (standing(&admin, most).await, &STANDING[..]),
    };
    let rows = rows.map_err(|refusal| admin.explain(&refusal))?;
    if args.json {
        return rows.iter().try_for_each(put);
    }
    let mut table = Table::new(&columns.iter().map(|(title, _)| *title).collect::<Vec<_>>());
    for row in &rows {
        table.row(columns.iter().map(|(_, place)| row.pointer(place).and_then(text)));
    }
    table.print()
}

/// Conversations in quarantine, whether or not anything of theirs waits, and then lanes that wait for something else.
async fn standing(admin: &Admin, most: usize) -> Result<Vec<Value>, Refusal> {
    let mut rows = admin.list("quarantines", "quarantines", &[], most).await?;
    for row in &mut rows {
        row["kind"] = "conversation".into();
        row["blocked_by"] = QUARANTINE.into();
        row["waiting"] = row["ours"]["queued_turns"].clone();
    }
    let lanes = admin.list("lanes", "lanes", &[], usize::MAX).await?;
    rows.extend(lanes.into_iter().filter(|lane| lane["blocked_by"] != QUARANTINE));
    rows.truncate(most);
    Ok(rows)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
