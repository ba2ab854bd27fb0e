//! `show`: one conversation as a person would read it.

use std::fmt::Write as _;

use serde_json::Value;
use uuid::Uuid;

use super::{
    admin::AdminArgs,
    console::{CliError, Done, harmless, one_line, put},
    vendor,
};
use crate::{
    config::{Config, Needs},
    domain::{
        ids::InteractionId,
        vendor::{FiniConversation, FiniEvent, FiniKind, FiniRole},
    },
    export::{OwnLog, Patience, Patient, Quiet},
    fini::{Departure, FiniApi as _},
    system::SystemEntropy,
};

/// An unknown id answers 500, so that a few repetitions have to do.
const TRIES: u32 = 2;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Fini's id of the conversation (the interaction id), or the frontend's own
    #[arg(value_name = "CONVERSATION_OR_INTERACTION")]
    id: String,
    /// Whose own id it is; not needed where there is one frontend only
    #[arg(long, value_name = "NAME")]
    frontend: Option<String>,
    /// Leave internal notes and system events out: what the customer saw
    #[arg(long)]
    customer: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) async fn run(args: Args) -> Done {
    let config = args.admin.config.load(Needs::ReadKey)?.config;
    let interaction = match Uuid::parse_str(&args.id) {
        Ok(_) if args.frontend.is_none() => args.id.clone(),
        _ => bound(&args, &config).await?,
    };
    let id = InteractionId::trusted(interaction);
    let client = vendor::client(&config)?;
    let limit = config.fini.rate_limit;
    let permits = OwnLog::new(limit.requests, limit.window);
    let patient = Patient::new(client.as_ref(), &permits, &Quiet, &SystemEntropy, Patience::default());
    let get = async |departure: &Departure| client.get_conversation(&id, departure).await;
    let conversation = patient.ask(Some(TRIES), get).await.map_err(|failure| match failure {
        failure if failure.may_mean_gone() => {
            CliError::failed(format!("Fini does not show conversation {id}: {}", failure.detail()))
                .at(&config.fini.base_url)
                .help("Fini answers so for ids that are unknown, deleted or of another workspace")
        }
        failure => vendor::explain(&config, &failure),
    })?;
    put(read_out(&conversation, args.customer))
}

/// The interaction id of a frontend's own conversation, from the running bridge.
async fn bound(args: &Args, config: &Config) -> Result<String, CliError> {
    let frontend = match (&args.frontend, config.frontends.as_slice()) {
        (Some(frontend), _) => frontend,
        (None, [only]) => &only.name,
        (None, _) => {
            return Err(CliError::usage(format!("\"{}\" is no id of Fini's", args.id))
                .help("name the frontend whose own id it is with --frontend"));
        }
    };
    let admin = args.admin.connect()?;
    let answer = admin.get(&["conversations", frontend, &args.id], &[]).await;
    let answer = answer.map_err(|refusal| admin.explain(&refusal))?;
    let found =
        [&answer["interaction_id"], &answer["conversation"]["interaction_id"]].into_iter().find_map(Value::as_str);
    found.map(str::to_owned).ok_or_else(|| {
        CliError::failed(format!("conversation \"{}\" is not bound to one of Fini's yet", args.id))
            .help("`GET /v1/conversations/{id}/events` shows what the bridge has of it")
    })
}

/// The whole conversation as text.
fn read_out(conversation: &FiniConversation, customer: bool) -> String {
    let mut text =
        format!("conversation {}\ncreated      {}", one_line(conversation.id.as_str()), conversation.created_at);
    if let Some(status) = &conversation.status {
        let _ = write!(text, "\nstatus       {}", one_line(status));
    }
    if let Some(resolved) = conversation.resolved {
        let _ = write!(text, "\nresolved     {}", if resolved { "yes" } else { "no" });
    }
    for (name, value) in &conversation.attributes {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let _ = write!(text, "\n  {:<18} {}", one_line(name), one_line(&value));
    }
    for event in conversation.events.iter().filter(|event| !customer || is_public(&event.kind)) {
        text.push_str("\n\n");
        text.push_str(&event_text(event));
    }
    text
}

fn is_public(kind: &FiniKind) -> bool {
    matches!(kind, FiniKind::Message | FiniKind::WidgetForm)
}

fn event_text(event: &FiniEvent) -> String {
    let who = match &event.role {
        FiniRole::User => "customer",
        FiniRole::Agent => "agent",
        FiniRole::Bot => "Fini",
        FiniRole::OtherBot => "other bot",
        FiniRole::Unknown(role) => role,
    };
    let what = match &event.kind {
        FiniKind::Message => None,
        FiniKind::InternalNote => Some("internal note"),
        FiniKind::NoReply => Some("no reply"),
        FiniKind::SilentEscalation => Some("escalated silently"),
        FiniKind::Debounce => Some("waited for more"),
        FiniKind::WidgetForm => Some("form"),
        FiniKind::Unknown(kind) => Some(kind.as_str()),
    };
    let mut text = format!("{}  {}", event.created_at, one_line(who));
    if let Some(what) = what {
        let _ = write!(text, " ({})", one_line(what));
    }
    for line in harmless(event.text.as_deref().unwrap_or_default()).lines() {
        let _ = write!(text, "\n    {line}");
    }
    for article in &event.articles {
        let url = article.url.as_deref().map(|url| format!(" <{}>", one_line(url))).unwrap_or_default();
        let _ = write!(text, "\n    [article: {}{url}]", one_line(&article.title));
    }
    if !event.attachments.is_empty() {
        let _ = write!(text, "\n    [{} attached]", event.attachments.len());
    }
    if let Some(rating) = &event.rating.csat_rating {
        let _ = write!(text, "\n    [rated {rating}]");
    }
    if let Some(approved) = event.rating.approved {
        text.push_str(if approved { "\n    [thumbs up]" } else { "\n    [thumbs down]" });
    }
    if let Some(words) = &event.rating.feedback {
        let _ = write!(text, "\n    [feedback: {}]", one_line(words));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::domain::{Timestamp, vendor::Feedback};

    fn event(role: FiniRole, kind: FiniKind, text: &str) -> FiniEvent {
        FiniEvent {
            kind,
            rating: Feedback { csat_rating: Some(0.into()), ..Feedback::default() },
            ..FiniEvent::message("e", Timestamp::from_millis(1_747_075_201_000), role, text)
        }
    }

    #[test]
    fn a_conversation_reads_like_one() {
        let conversation = FiniConversation {
            id: InteractionId::trusted("c"),
            created_at: Timestamp::from_millis(1_747_075_200_000),
            status: Some("Open\u{1b}[2J".into()),
            resolved: None,
            attributes: Map::from_iter([("plan".to_owned(), json!("Pro"))]),
            events: vec![
                event(FiniRole::User, FiniKind::Message, "Hello\nthere"),
                event(FiniRole::Agent, FiniKind::InternalNote, "VIP"),
            ],
        };
        let text = read_out(&conversation, false);
        assert!(text.contains("status       Open[2J\n"), "{text}");
        assert!(text.contains("2025-05-12T18:40:01.000Z  customer\n    Hello\n    there\n    [rated 0]"), "{text}");
        assert!(text.contains("agent (internal note)\n    VIP"), "{text}");
        assert!(!read_out(&conversation, true).contains("VIP"));
    }
}
