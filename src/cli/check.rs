//! `check`: is the configuration right, and what would it do?

use std::fmt::Write as _;

use super::{
    console::{CliError, Done, one_line, put, say},
    settings::ConfigArgs,
    vendor,
};
use crate::{
    config::{self, Config, Needs, Origin},
    fini::{Agent, Departure, FiniApi as _},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Also ask Fini whether it accepts the key and knows the bot ids (one request)
    #[arg(long)]
    online: bool,
}

pub(super) async fn run(args: Args) -> Done {
    let loaded = args.config.load(Needs::Serve)?;
    say(origin(&loaded.origin));
    put(config::describe(&loaded.config).join("\n"))?;
    if args.online {
        online(&loaded.config).await?;
    }
    say("the configuration is good");
    Ok(())
}

fn origin(origin: &Origin) -> String {
    let mut text = match &origin.file {
        Some(file) => format!("configuration: {}", file.display()),
        None => "configuration: built-in defaults".to_owned(),
    };
    if !origin.variables.is_empty() {
        let _ = write!(text, ", then {}", origin.variables.join(", "));
    }
    text
}

async fn online(config: &Config) -> Done {
    let client = vendor::client(config)?;
    let agents = client.list_agents(&Departure::untold()).await.map_err(|failure| vendor::explain(config, &failure))?;
    put("Fini accepts the key for reading; a key for writing can only be tried by writing")?;
    let mut unknown = Vec::new();
    for frontend in &config.frontends {
        let bot = frontend.bot_id.to_string();
        match agents.iter().find(|agent| agent.id.eq_ignore_ascii_case(&bot)) {
            Some(agent) => put(format!("frontend {}: bot {bot} is \"{}\"", frontend.name, one_line(&agent.name)))?,
            None => unknown.push(format!("frontend {}: the workspace has no bot {bot}", frontend.name)),
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    Err(CliError::usage(unknown.join("\nerror: ")).at(&config.fini.base_url).help(known(&agents)))
}

fn known(agents: &[Agent]) -> String {
    if agents.is_empty() {
        return "the workspace has no agents; make one in Fini's dashboard".to_owned();
    }
    let agents: Vec<String> =
        agents.iter().map(|agent| format!("{} \"{}\"", agent.id, one_line(&agent.name))).collect();
    format!("its bots are {}", agents.join(", "))
}
