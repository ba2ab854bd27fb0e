//! `check`: is the configuration right, and what would it do?

use std::fmt::Write as _;

use super::{
    console::{CliError, Done, one_line, put, say},
    settings::ConfigArgs,
    vendor,
};
use crate::{
    config::{self, Config, Fini, Needs, Origin, StoreUrl},
    fini::{Agent, Departure, Failure, FiniApi as _, FiniClient},
    outbound::install_crypto,
    store::PostgresStore,
    system::max_open_files,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Also ask Fini whether it accepts the key and knows the bot ids, and log in to the PostgreSQL database
    #[arg(long)]
    online: bool,
}

pub(super) async fn run(args: Args) -> Done {
    let loaded = args.config.load(Needs::Serve)?;
    say(origin(&loaded.origin));
    put(config::describe(&loaded.config).join("\n"))?;
    let (open_files, wanted) = (max_open_files(), loaded.config.server.max_connections);
    let served = loaded.config.connections_within(open_files);
    if let Some(open_files) = open_files.filter(|_| served < wanted) {
        say(format!(
            "warning: server.max_connections: {wanted} are more than {open_files} open files leave room for; {served} are \
             served (raise the limit on open files, LimitNOFILE= or `ulimit -n`)"
        ));
    }
    if args.online {
        let (vendor, database) = (online(&loaded.config).await, database(&loaded.config).await);
        if let (Err(_), Err(error)) = (&vendor, &database) {
            // One run tells of both.
            say(error);
        }
        vendor.and(database)?;
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

/// Checks that the database lets the bridge in. The embedded one is a file that a running bridge holds, and is left alone.
async fn database(config: &Config) -> Done {
    let StoreUrl::Postgres { urls } = &config.store.url else { return Ok(()) };
    install_crypto();
    match PostgresStore::try_out(urls).await {
        Ok(()) => put(format!("the database at {} lets the bridge in", config.store.url)),
        Err(error) => {
            let error = CliError::failed(error).at(&config.store.url);
            Err(error
                .help("check `store.url`, the role and its password, and whether this machine may reach the server"))
        }
    }
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
    match statuses(&client).await {
        Ok(words) => compare(&config.fini, &words).into_iter().for_each(say),
        Err(why) => say(format!("the configured statuses could not be compared with the workspace's own: {why}")),
    }
    if unknown.is_empty() {
        return Ok(());
    }
    Err(CliError::usage(unknown.join("\nerror: ")).at(&config.fini.base_url).help(known(&agents)))
}

/// The group of tags that Fini judges each conversation by.
const STATUSES: &str = "conversation status";

/// The statuses that the workspace knows, or why they cannot be told.
async fn statuses(client: &FiniClient) -> Result<Vec<String>, String> {
    let words = |failure: Failure| one_line(failure.detail());
    let groups = client.list_tag_groups(&Departure::untold()).await.map_err(words)?;
    let group = groups.iter().find(|group| group.name.trim().to_lowercase() == STATUSES);
    let group = group.ok_or("it shows no tag group \"Conversation Status\"")?;
    let tags = client.list_tags(&group.id, &Departure::untold()).await.map_err(words)?;
    let own = tags.into_iter().filter(|tag| tag.group.as_ref().is_none_or(|of| *of == group.id));
    let names: Vec<String> = own.map(|tag| tag.name).collect();
    if names.is_empty() { Err("it shows no tags in \"Conversation Status\"".to_owned()) } else { Ok(names) }
}

/// Returns the configured statuses that do not fit the workspace's own. Never an error: Fini may say other words
/// than its tags.
fn compare(fini: &Fini, words: &[String]) -> Vec<String> {
    let normal = |word: &str| word.trim().to_lowercase();
    let lists = [
        ("fini.escalated_statuses", &fini.escalated_statuses),
        ("fini.resolved_statuses", &fini.resolved_statuses),
        ("fini.waiting_statuses", &fini.waiting_statuses),
    ];
    let shown = words.iter().map(|word| format!("\"{}\"", one_line(word))).collect::<Vec<_>>().join(", ");
    let mut warnings = Vec::new();
    for (key, configured) in lists {
        for word in configured.iter().filter(|word| !words.iter().any(|known| normal(known) == normal(word))) {
            warnings.push(format!("warning: {key}: the workspace has no status \"{word}\"; it has {shown}"));
        }
    }
    let is_read =
        |word: &&String| lists.iter().any(|(_, known)| known.iter().any(|known| normal(known) == normal(word)));
    for word in words.iter().filter(|word| !is_read(word)) {
        warnings.push(format!(
            "warning: the workspace's status \"{}\" is in none of the lists under [fini]",
            one_line(word)
        ));
    }
    warnings
}

fn known(agents: &[Agent]) -> String {
    if agents.is_empty() {
        return "the workspace has no agents; make one in Fini's dashboard".to_owned();
    }
    let agents: Vec<String> =
        agents.iter().map(|agent| format!("{} \"{}\"", agent.id, one_line(&agent.name))).collect();
    format!("its bots are {}", agents.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(words: &[&str]) -> Vec<String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        compare(&Fini::default(), &words)
    }

    #[test]
    fn statuses_are_compared_trimmed_and_without_case() {
        assert_eq!(warned(&["resolved ", "ESCALATED to Human Agent", "Waiting for Customer"]), Vec::<String>::new());
    }

    #[test]
    fn what_does_not_fit_is_named_from_both_sides() {
        let warnings = warned(&["Resolved", "Escalated to Human Agent", "Waiting for Guest"]);
        assert_eq!(warnings.len(), 2, "{warnings:#?}");
        assert!(warnings[0].starts_with("warning: fini.waiting_statuses"), "{}", warnings[0]);
        assert!(warnings[1].contains("\"Waiting for Guest\""), "{}", warnings[1]);
    }
}
