//! `agents`: which agents the workspace has.

use serde_json::json;

use super::{
    console::{Done, put},
    settings::ConfigArgs,
    table::Table,
    vendor,
};
use crate::{
    config::Needs,
    domain::Timestamp,
    fini::{Departure, FiniApi as _},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Done {
    let config = args.config.load(Needs::ReadKey)?.config;
    let client = vendor::client(&config)?;
    let agents =
        client.list_agents(&Departure::untold()).await.map_err(|failure| vendor::explain(&config, &failure))?;
    let created = |at: Option<Timestamp>| at.map(|at| at.to_string());
    if args.json {
        let agents: Vec<_> = agents
            .into_iter()
            .map(|agent| json!({ "id": agent.id, "name": agent.name, "created_at": created(agent.created_at) }))
            .collect();
        return put(serde_json::Value::Array(agents));
    }
    let mut table = Table::new(&["ID", "NAME", "CREATED"]);
    for agent in agents {
        table.row([Some(agent.id), Some(agent.name), created(agent.created_at)]);
    }
    table.print()
}
