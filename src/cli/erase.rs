//! `erase`: deletes conversations at Fini and proves it by reading back.
//!
//! Fini's answer to a deletion proves nothing: it is success for unknown ids too, and a refused batch may be half deleted.
//! So every id is read before and afterwards, and only what was seen and is then provably absent is called gone, by the
//! rule that the running bridge has too ([`domain::evidence::gone`](crate::domain::evidence::gone)). What still stands is
//! deleted once more by itself. Deleting is repeatable, unlike sending.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use secrecy::ExposeSecret as _;
use serde_json::json;
use uuid::Uuid;

use super::{
    admin::AdminArgs,
    console::{CliError, Done, confirm, one_line, put, say},
    pace,
    settings::read_text,
    vendor,
};
use crate::{
    config::Needs,
    domain::{
        Timestamp, WallClock as _,
        evidence::gone::{Scan, Shown, was_deleted},
        ids::InteractionId,
    },
    export::{Patience, Patient, Quiet},
    fini::{Departure, Failure, FiniApi, IdBatch, ListQuery},
    service::gone,
    system::{SystemClock, SystemEntropy},
};

const LARGEST_LIST: u64 = 64 * 1024 * 1024;
/// Number of repetitions of an unclear deletion before reading back decides.
const TRIES: u32 = 2;
/// Number of reads of a conversation that seems to stand, or cannot be told: List lags behind.
const ROUNDS: u32 = 4;
/// Longest time for which failures of one request are borne.
const PATIENCE: Duration = Duration::from_mins(2);

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
    /// Exit with 0 also where Fini did not know an id before
    #[arg(long)]
    missing_ok: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// The fate of one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// It was seen before, and is provably absent now.
    Gone,
    /// Fini did not know it before, while it knew others.
    NotFound,
    /// It can still be read.
    Stands,
    /// It could not be found out.
    Unknown(String),
}

pub(super) async fn run(args: Args) -> Done {
    let ids = ids(&args)?;
    let config = args.admin.config.load(Needs::ReadKey)?.config;
    if config.fini.keys.write.expose_secret().is_empty() {
        return Err(CliError::usage("there is no key for writing").help("set `fini.api_key` or `fini.write_api_key`"));
    }
    let many = if ids.len() == 1 { "1 conversation".to_owned() } else { format!("{} conversations", ids.len()) };
    confirm(&format!("Delete {many} at {} for good?", config.fini.base_url), args.yes)?;
    let client = vendor::client(&config)?;
    let permits = pace::permits(&config, &args.admin, None, Vec::new(), args.json).await?;
    let patience = Patience { total: PATIENCE, ..Patience::default() };
    let patient = Patient::new(client.as_ref(), permits.as_ref(), &Quiet, &SystemEntropy, patience);
    let eraser = Eraser { api: client.as_ref(), patient: &patient, erased: ids.iter().cloned().collect() };
    let (mut gone, mut missing, mut left) = (0_usize, 0_usize, 0_usize);
    for batch in ids.chunks(IdBatch::MAX) {
        for (id, fate) in eraser.erase(batch).await.map_err(|failure| vendor::explain(&config, &failure))? {
            match fate {
                Fate::Gone => gone += 1,
                Fate::NotFound => missing += 1,
                Fate::Stands | Fate::Unknown(_) => left += 1,
            }
            put(line(&id, &fate, args.json))?;
        }
    }
    say(format!(
        "{gone} gone, {missing} not found, {left} not erased; copies in the bridge are erased by DELETE \
         /v1/conversations/{{id}}"
    ));
    if left > 0 {
        return Err(CliError::failed(format!("{left} of {many} could not be proved to be erased")));
    }
    if missing > 0 && !args.missing_ok {
        return Err(CliError::failed(format!("Fini does not know {missing} of {many}"))
            .help("is it the right workspace? --missing-ok takes this for success"));
    }
    Ok(())
}

fn line(id: &InteractionId, fate: &Fate, as_json: bool) -> String {
    let (word, detail) = match fate {
        Fate::Gone => ("gone", None),
        Fate::NotFound => ("not_found", None),
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
    /// All that is to be erased.
    erased: BTreeSet<InteractionId>,
}

/// The record of a conversation before it was deleted.
enum Before {
    /// It was there, with its last message then; and what List showed of it.
    Seen(Timestamp, Shown),
    /// Fini did not know it, while it knew others.
    Missing,
    /// It could not be read.
    Unknown(String),
}

impl Eraser<'_> {
    /// Erases up to a batch of ids. Fails only on what concerns all of them, such as a refused key.
    async fn erase(&self, ids: &[InteractionId]) -> Result<Vec<(InteractionId, Fate)>, Failure> {
        let mut before = Vec::with_capacity(ids.len());
        for id in ids {
            let mut seen = self.look_before(id).await?;
            if let Before::Seen(_, Shown::There(beside)) = &mut seen {
                // Conversations that go as well cannot be asked for afterwards.
                beside.retain(|other| !self.erased.contains(other));
            }
            before.push(seen);
        }
        match ids {
            [] => return Ok(Vec::new()),
            [one] => self.delete_one(one).await?,
            _ => self.delete_batch(ids).await?,
        }
        let mut fates = Vec::with_capacity(ids.len());
        for (id, before) in ids.iter().zip(&before) {
            let mut fate = self.look_after(id, before).await?;
            if fate == Fate::Stands && ids.len() > 1 {
                self.delete_one(id).await?;
                fate = self.look_after(id, before).await?;
            }
            fates.push((id.clone(), fate));
        }
        Ok(fates)
    }

    async fn look_before(&self, id: &InteractionId) -> Result<Before, Failure> {
        Ok(match self.get(id).await? {
            Ok(last_at) => Before::Seen(last_at, self.scan(id, last_at).await),
            Err(failure) if !failure.may_mean_gone() => Before::Unknown(failure.to_string()),
            Err(_) => {
                // An id is unknown, and Fini not merely ill, if Fini knows others at the same moment.
                let is_well = self.knows_others(id).await?;
                match self.get(id).await? {
                    Ok(last_at) => Before::Seen(last_at, self.scan(id, last_at).await),
                    Err(failure) if is_well && failure.may_mean_gone() => Before::Missing,
                    Err(failure) => Before::Unknown(failure.to_string()),
                }
            }
        })
    }

    async fn look_after(&self, id: &InteractionId, before: &Before) -> Result<Fate, Failure> {
        let (last_at, shown) = match before {
            Before::Seen(last_at, shown) => (*last_at, shown),
            Before::Missing => return Ok(Fate::NotFound),
            Before::Unknown(detail) => return Ok(Fate::Unknown(detail.clone())),
        };
        let mut fate = Fate::Stands;
        for round in 0..ROUNDS {
            if round > 0 {
                self.patient.pause("Fini is read again", round - 1).await;
            }
            fate = match self.get(id).await? {
                Ok(_) => Fate::Stands,
                Err(failure) if !failure.may_mean_gone() => Fate::Unknown(failure.to_string()),
                Err(_) => match (self.scan(id, last_at).await, self.get(id).await?) {
                    (Shown::There(_), _) | (_, Ok(_)) => Fate::Stands,
                    (after, Err(failure)) if failure.may_mean_gone() && was_deleted(shown, &after) => {
                        return Ok(Fate::Gone);
                    }
                    _ => Fate::Unknown("Fini does not show it, but its List does not prove that it is gone".to_owned()),
                },
            };
            if fate == Fate::Stands && round > 0 {
                break;
            }
        }
        Ok(fate)
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

    /// The time of its last message; the outer failure is one that concerns all.
    async fn get(&self, id: &InteractionId) -> Result<Result<Timestamp, Failure>, Failure> {
        let get = async |departure: &Departure| self.api.get_conversation(id, departure).await;
        match self.patient.ask(Some(0), get).await {
            Ok(snapshot) => Ok(Ok(snapshot.latest_message_at())),
            Err(failure @ (Failure::Unauthorised { .. } | Failure::NeverLeft { .. })) => Err(failure),
            Err(failure) => Ok(Err(failure)),
        }
    }

    /// Returns true if Fini shows another conversation by its id; so it is where List is empty.
    async fn knows_others(&self, id: &InteractionId) -> Result<bool, Failure> {
        let query = ListQuery { limit: Some(2), ..ListQuery::default() };
        let Ok(page) = self.patient.list(&query, Some(TRIES)).await else { return Ok(false) };
        match page.conversations.iter().find(|row| row.id != *id) {
            Some(other) => Ok(self.get(&other.id).await?.is_ok()),
            None => Ok(!page.has_more && page.malformed == 0 && page.conversations.is_empty()),
        }
    }

    async fn scan(&self, id: &InteractionId, last_at: Timestamp) -> Shown {
        let mut scan = Scan::new(id.clone(), last_at, SystemClock.now().point());
        while let Some(query) = gone::query(&scan) {
            gone::take(&mut scan, self.patient.list(&query, Some(TRIES)).await);
        }
        scan.shown()
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
