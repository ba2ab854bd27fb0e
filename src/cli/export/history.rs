//! `export history`.

use serde_json::json;

use super::{
    Common, Summary, conversations::table_help, explain, interruptible, open_stage, progress::Progress, same_workspace,
};
use crate::{
    cli::{
        console::{Done, say},
        vendor,
    },
    domain::WallClock as _,
    export::{HISTORY_COLUMNS, History, HistoryState, Patience, Patient, QUESTION_COLUMNS, Shape, Tables, finish},
    fini::HistoryQuery,
    system::{SystemClock, SystemEntropy},
};

#[derive(Debug, clap::Args)]
#[command(after_long_help = columns_help())]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
    /// Only these sources: all, zendesk, slack, discord, widget, intercom, ui, api
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    source: Vec<String>,
    /// Only this category
    #[arg(long, value_name = "NAME")]
    category: Option<String>,
    /// Only with this feedback
    #[arg(long, value_name = "TYPE", value_parser = ["thumbs_up", "thumbs_down", "no_feedback"])]
    feedback_type: Option<String>,
    /// Only what was (true) or was not (false) escalated
    #[arg(long, value_name = "BOOL")]
    escalation: Option<bool>,
    /// Only what has (true) or has no (false) knowledge behind it
    #[arg(long, value_name = "BOOL")]
    has_links: Option<bool>,
    /// Only this user
    #[arg(long, value_name = "ID")]
    user_id: Option<String>,
    /// Only this ticket of your ticketing system
    #[arg(long, value_name = "ID")]
    ticket_id: Option<String>,
    /// Only with this text in the question
    #[arg(long, value_name = "TEXT")]
    question: Option<String>,
}

pub(super) async fn run(args: Args) -> Done {
    let common = &args.common;
    let mut prepared = common.prepare(Tables::History)?;
    let query = HistoryQuery {
        sources: args.source.clone(),
        category: args.category.clone(),
        feedback_type: args.feedback_type.clone(),
        escalation: args.escalation,
        has_links: args.has_links,
        user_id: args.user_id.clone(),
        ticket_id: args.ticket_id.clone(),
        question: args.question.clone(),
        ..HistoryQuery::default()
    };
    let purpose = json!({
        "export": "history", "base_url": prepared.config.fini.base_url.as_str(), "since": common.since.trim(),
        "until": common.until, "source": args.source, "category": args.category, "feedback": args.feedback_type,
        "escalation": args.escalation, "has_links": args.has_links, "user": args.user_id, "ticket": args.ticket_id,
        "question": args.question,
    });
    let mut found = open_stage::<HistoryState>(&prepared, &purpose)?;
    let earlier = found.state.take();
    let resumed = earlier.is_some();
    let end = prepared.until.unwrap_or_else(|| SystemClock.now().point());
    let mut state =
        earlier.unwrap_or_else(|| HistoryState::new(Some(prepared.since.as_millis()), Some(end.as_millis())));
    let permits = common.permits(&prepared.config, Vec::new()).await?;
    let client = vendor::client(&prepared.config)?;
    let progress = Progress::new(common.quiet);
    let patient = Patient::new(client.as_ref(), permits.as_ref(), &progress, &SystemEntropy, Patience::default());
    same_workspace(&found, &[], &patient).await?;
    let mut staging = found.staging;
    let history = History::new(&patient, query);

    let read = interruptible(&mut prepared.signals, &prepared.plan, history.read(&mut staging, &mut state)).await;
    progress.end();
    read?;
    let finished = finish(&staging, Tables::History, common.format(), &prepared.plan.outputs)
        .and_then(|finished| staging.discard().map(|()| finished))
        .map_err(|error| explain(error, &prepared.plan))?;
    if !common.quiet {
        match state.shape {
            Some(Shape::Conversations) => say("Fini answered with conversations (the newer shape)"),
            Some(Shape::Questions) => say("Fini answered with a list of questions (the older shape)"),
            None => say("Fini answered with nothing for this range"),
        }
    }
    common.summarise(&Summary {
        finished,
        counts: state.counts,
        begun: prepared.begun,
        plan: &prepared.plan,
        more: json!({ "shape": state.shape, "resumed": resumed }),
    });
    Ok(())
}

fn columns_help() -> String {
    let tables = [table_help("conversations", &HISTORY_COLUMNS), table_help("questions", &QUESTION_COLUMNS)];
    tables.join("\n") + "\nTimes are RFC 3339 in UTC. An empty cell is a missing value."
}
