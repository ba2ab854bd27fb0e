//! An export of a workspace that is written to meanwhile, through a vendor that fails, by a program that is killed.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use fini_bridge::sandbox::{Fault, FaultKind, FaultParams, FaultRoute, Route, Sandbox, Seed, SinceReading};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    MOST_REQUESTS, Size,
    expected::Expected,
    memory, ratio,
    run::Export,
    vendor::{Vendor, now},
};

/// One conversation is begun and one gets a message for every so many pages.
const PAGES_PER_CHANGE: u64 = 4;
/// Between two looks at how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Nothing on this machine makes it take longer.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs it.
pub async fn run(size: Size, reading: SinceReading, seed: u64) -> Result<String> {
    let vendor = Vendor::start(size, reading).await?;
    let mut expected = Expected::of(&vendor);
    let mut dice = fastrand::Rng::with_seed(seed);
    let least = expected.pages();
    trouble(&vendor.sandbox, least, &mut dice)?;
    let mut change = Change::new(&vendor, dice.fork());
    let mut kills: Vec<u64> = (0..size.kills).map(|_| dice.u64(2..least.max(3))).collect();
    kills.sort_unstable();
    let mut is_written = false;
    let deadline = Instant::now() + PATIENCE;

    let mut export = Export::new(&vendor, "out.ndjson")?;
    let new = vendor.folder.path().join(".out.ndjson.new");
    export.start(&[])?;
    let mut killed = 0;
    while export.is_running()? {
        ensure!(Instant::now() < deadline, "not done after {PATIENCE:?}");
        let served = vendor.sandbox.audit(0, false).count(Route::List, 200);
        change.keep_up_with(served, &vendor.sandbox, &mut expected)?;
        let is_due = kills.first().is_some_and(|at| served >= *at);
        // Once more while it writes its output.
        let is_writing = !is_written && new.exists();
        if is_due || is_writing {
            if is_due {
                kills.remove(0);
            } else {
                is_written = true;
            }
            sleep(Duration::from_micros(dice.u64(0..30_000))).await;
            export.kill().await?;
            killed += 1;
            export.start(&[])?;
        }
        sleep(LOOK_EVERY).await;
    }
    let outcome = export.ended().await?;
    ensure!(is_written && kills.is_empty(), "{} kills were not made", kills.len());
    let free = expected.compare(&export.out, |id| change.begun.iter().any(|begun| begun == id))?;

    let audit = vendor.sandbox.audit(0, false);
    let served = audit.count(Route::List, 200);
    let struck: u64 = audit.faults.values().sum();
    ensure!(audit.throttled > 0 && struck > audit.throttled, "too little went wrong: {:?}", audit.faults);
    let pages = outcome.summary["pages"].as_u64().context("pages in the summary")?;
    // What moved or came had to be read once more or at all.
    let needed = least + change.begun.len().div_ceil(50) as u64;
    ensure!(
        ratio(pages, needed) <= MOST_REQUESTS,
        "{pages} pages were read where {needed} are needed: {}",
        outcome.summary
    );
    ensure!(served <= pages + killed + struck, "{served} pages were served, {pages} counted, {killed} kills");
    ensure!(audit.requests <= served + struck, "{} requests: {served} served, {struck} struck", audit.requests);
    Ok(format!(
        "{}, {pages} pages ({needed} needed, {:.3} x), {} requests with {struck} struck by faults and {} lost to {killed} kills \
         and broken answers, \
         {} conversations begun meanwhile ({free} of them exported) and as many written to",
        memory(&outcome)?,
        ratio(pages, needed),
        audit.requests,
        served.saturating_sub(pages),
        change.begun.len(),
    ))
}

/// Requests are throttled and fail, somewhere among the first `pages`.
fn trouble(sandbox: &Sandbox, pages: u64, dice: &mut fastrand::Rng) -> Result<()> {
    let params = FaultParams::default;
    let soon = || FaultParams { retry_after: Some(json!(1)), ..params() };
    let kinds = [
        (FaultKind::RateLimited, soon()),
        (FaultKind::RateLimited, params()),
        (FaultKind::RateLimited, soon()),
        (FaultKind::Status, params()),
        (FaultKind::Status, params()),
        (FaultKind::Status, FaultParams { status: Some(502), html: true, ..params() }),
        (FaultKind::Status, FaultParams { status: Some(503), ..params() }),
        (FaultKind::TruncatedJson, FaultParams { cut: true, ..params() }),
        (FaultKind::ResetBefore, params()),
    ];
    for (kind, params) in kinds {
        let skip = u32::try_from(dice.u64(1..pages.max(2)))?;
        sandbox.add_fault(Fault::new(FaultRoute::List, kind).skip(skip).with(params))?;
    }
    Ok(())
}

/// What happens at the vendor meanwhile.
struct Change {
    dice: fastrand::Rng,
    old: Vec<String>,
    /// Ids of conversations that began after the export did.
    begun: Vec<String>,
    changes: u64,
}

impl Change {
    fn new(vendor: &Vendor, dice: fastrand::Rng) -> Self {
        let all = vendor.sandbox.conversations(usize::MAX);
        let old = all.iter().map(|conversation| conversation.id.to_string()).collect();
        Self { dice, old, begun: Vec::new(), changes: 0 }
    }

    /// Begins a conversation and writes to another one, as often as so many pages ask for.
    fn keep_up_with(&mut self, pages: u64, sandbox: &Sandbox, expected: &mut Expected) -> Result<()> {
        while self.changes < pages / PAGES_PER_CHANGE {
            self.changes += 1;
            let (from, to) = (Some(now()), Some(now()));
            let begun = sandbox.seed(&Seed {
                conversations: 1,
                events_each: 1,
                from_ms: from,
                to_ms: to,
                ..Seed::default()
            })?;
            let begun = begun.first_id.context("a new conversation")?;
            let chosen = self.old[self.dice.usize(..self.old.len())].clone();
            sandbox.agent_message(&chosen, &format!("agent line {}", self.changes))?;
            for id in [&begun, &chosen] {
                expected.took(&Arc::unwrap_or_clone(sandbox.conversation(id)?));
            }
            self.begun.push(begun);
        }
        Ok(())
    }
}
