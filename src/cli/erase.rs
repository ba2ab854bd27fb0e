//! `erase`: deletes conversations at Fini and proves it by reading back.
//!
//! Fini's answer to a deletion proves nothing: it is success for unknown ids too, and a refused batch may be half deleted.
//! So every id is read back, twice where it seems gone, and what still stands is deleted once more by itself. Deleting is
//! repeatable, unlike sending.

use std::{collections::BTreeSet, path::PathBuf};

use secrecy::ExposeSecret as _;
use serde_json::json;
use uuid::Uuid;

use super::{
    console::{CliError, Done, confirm, one_line, put, say},
    settings::{ConfigArgs, read_text},
    vendor,
};
use crate::{
    config::Needs,
    domain::ids::InteractionId,
    export::{OwnLog, Patience, Patient, Quiet},
    fini::{Departure, Failure, FiniApi, IdBatch},
    system::SystemEntropy,
};

const LARGEST_LIST: u64 = 64 * 1024 * 1024;
/// How often an unclear deletion is repeated before reading back decides.
const TRIES: u32 = 2;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Fini's ids of the conversations (interaction ids)
    #[arg(value_name = "ID", required_unless_present = "file")]
    ids: Vec<String>,
    /// File with ids, one per line; - is stdin
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print one JSON object per id
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What became of one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// Two reads agree that Fini does not show it.
    Gone,
    /// It can still be read.
    Stands,
    /// It could not be found out.
    Unknown(String),
}

pub(super) async fn run(args: Args) -> Done {
    let ids = ids(&args)?;
    let config = args.config.load(Needs::ReadKey)?.config;
    if config.fini.keys.write.expose_secret().is_empty() {
        return Err(CliError::usage("there is no key for writing").help("set `fini.api_key` or `fini.write_api_key`"));
    }
    let many = if ids.len() == 1 { "1 conversation".to_owned() } else { format!("{} conversations", ids.len()) };
    confirm(&format!("Delete {many} at {} for good?", config.fini.base_url), args.yes)?;
    let client = vendor::client(&config)?;
    let limit = config.fini.rate_limit;
    let permits = OwnLog::new(limit.requests - limit.requests / 10, limit.window);
    let patient = Patient::new(client.as_ref(), &permits, &Quiet, &SystemEntropy, Patience::default());
    let eraser = Eraser { api: client.as_ref(), patient: &patient };
    let (mut gone, mut left) = (0_usize, 0_usize);
    for batch in ids.chunks(IdBatch::MAX) {
        for (id, fate) in eraser.erase(batch).await.map_err(|failure| vendor::explain(&config, &failure))? {
            if fate == Fate::Gone {
                gone += 1;
            } else {
                left += 1;
            }
            put(line(&id, &fate, args.json))?;
        }
    }
    say(format!("{gone} gone, {left} not; copies in the bridge are erased by DELETE /v1/conversations/{{id}}"));
    if left == 0 { Ok(()) } else { Err(CliError::failed(format!("{left} of {many} could not be erased"))) }
}

fn line(id: &InteractionId, fate: &Fate, as_json: bool) -> String {
    let (word, detail) = match fate {
        Fate::Gone => ("gone", None),
        Fate::Stands => ("stands", None),
        Fate::Unknown(detail) => ("unknown", Some(one_line(detail))),
    };
    if as_json {
        json!({ "id": id, "result": word, "detail": detail }).to_string()
    } else {
        format!("{id}  {word}{}", detail.map(|detail| format!(": {detail}")).unwrap_or_default())
    }
}

/// All ids, each once, in the order given.
fn ids(args: &Args) -> Result<Vec<InteractionId>, CliError> {
    let listed = args.file.as_deref().map(|file| read_text(file, LARGEST_LIST)).transpose()?.unwrap_or_default();
    let lines = listed.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (mut seen, mut ids, mut wrong) = (BTreeSet::new(), Vec::new(), Vec::new());
    for text in args.ids.iter().map(String::as_str).chain(lines) {
        match Uuid::parse_str(text) {
            Ok(id) if seen.insert(id) => ids.push(InteractionId::trusted(id.to_string())),
            Ok(_) => {}
            Err(_) => wrong.push(one_line(text)),
        }
    }
    if let Some(first) = wrong.first() {
        let error = CliError::usage(format!("{} of the ids are no ids of Fini's, such as \"{first}\"", wrong.len()));
        return Err(error.help("nothing was deleted; ids are UUIDs, as `interaction_id` shows them"));
    }
    if ids.is_empty() { Err(CliError::usage("there are no ids")) } else { Ok(ids) }
}

/// Deletes and reads back.
struct Eraser<'a> {
    api: &'a dyn FiniApi,
    patient: &'a Patient<'a>,
}

impl Eraser<'_> {
    /// Erases up to a batch of ids. Fails only on what concerns all of them, such as a refused key.
    async fn erase(&self, ids: &[InteractionId]) -> Result<Vec<(InteractionId, Fate)>, Failure> {
        match ids {
            [] => return Ok(Vec::new()),
            [one] => self.delete_one(one).await?,
            _ => self.delete_batch(ids).await?,
        }
        let mut fates = Vec::with_capacity(ids.len());
        for id in ids {
            let mut fate = self.read_back(id).await?;
            if fate == Fate::Stands && ids.len() > 1 {
                self.delete_one(id).await?;
                fate = self.read_back(id).await?;
            }
            fates.push((id.clone(), fate));
        }
        Ok(fates)
    }

    async fn delete_one(&self, id: &InteractionId) -> Result<(), Failure> {
        let delete = async |departure: &Departure| self.api.delete_conversation(id, departure).await;
        undecided(self.patient.ask(Some(TRIES), delete).await)
    }

    async fn delete_batch(&self, ids: &[InteractionId]) -> Result<(), Failure> {
        let batch = IdBatch::new(ids.iter().cloned())
            .map_err(|error| Failure::Rejected { status: 0, detail: error.to_string() })?;
        let delete = async |departure: &Departure| self.api.delete_conversations(&batch, departure).await;
        undecided(self.patient.ask(Some(TRIES), delete).await)
    }

    /// Gone once may be a passing failure; gone twice is believed.
    async fn read_back(&self, id: &InteractionId) -> Result<Fate, Failure> {
        let get = async |departure: &Departure| self.api.get_conversation(id, departure).await;
        let mut gone = 0;
        while gone < 2 {
            match self.patient.ask(Some(0), get).await {
                Ok(_) => return Ok(Fate::Stands),
                Err(failure) if failure.may_mean_gone() => gone += 1,
                Err(failure @ Failure::Unauthorised { .. }) => return Err(failure),
                Err(failure) => return Ok(Fate::Unknown(failure.to_string())),
            }
        }
        Ok(Fate::Gone)
    }
}

/// Only a refused key ends everything: whatever else a deletion answers, reading back decides.
fn undecided(result: Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Err(failure @ (Failure::Unauthorised { .. } | Failure::NeverLeft { .. })) => Err(failure),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
