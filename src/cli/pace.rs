//! The pace of a command beside a bridge: Fini counts the requests of both together.
//!
//! A running bridge is asked through its admin listener for a request of the least urgent class, so that one log counts
//! everything. A bridge that cannot give requests away is watched: the command takes only what is clearly left over. Where
//! no bridge answers, a log of our own keeps the limit, and it is looked again now and then.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    cli::{
        admin::{Admin, AdminArgs, Refusal},
        console::{CliError, say},
    },
    config::Config,
    export::{OwnLog, Permits},
    fini::Departure,
};

/// Time for which a bridge that did not answer is left alone.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// Between two looks at a budget that is used up.
const PAUSE: Duration = Duration::from_millis(500);

/// Chooses the way and says which.
pub(super) async fn permits(
    config: &Config,
    admin: &AdminArgs,
    rate: Option<NonZeroU32>,
    recent: Vec<Duration>,
    quiet: bool,
) -> Result<Arc<dyn Permits>, CliError> {
    let limit = config.fini.rate_limit;
    let own = rate.map_or(limit.requests - limit.requests / 10, NonZeroU32::get);
    let own = OwnLog::new(own.min(limit.requests), limit.window).with_recent(recent);
    let beside = Beside { admin: admin.connect()?, own, way: Mutex::new(Way::Alone(None)) };
    let way = beside.look().await;
    if !quiet {
        match way {
            Way::Granted => say("shares the budget of the running bridge"),
            Way::Watched => say("takes what the running bridge leaves of its budget"),
            Way::Alone(_) => {}
        }
    }
    beside.go(way);
    Ok(Arc::new(beside))
}

/// The way in which a request is allowed.
#[derive(Clone, Copy)]
enum Way {
    /// The bridge gives it away.
    Granted,
    /// The bridge says what it uses.
    Watched,
    /// No bridge answers; looked again at this time.
    Alone(Option<Instant>),
}

struct Beside {
    admin: Admin,
    own: OwnLog,
    way: Mutex<Way>,
}

/// An answer to the question for a request.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Granted,
    After(Option<Duration>),
}

impl Beside {
    fn go(&self, way: Way) {
        *self.way.lock().unwrap_or_else(PoisonError::into_inner) = way;
    }

    /// Finds out which way there is.
    async fn look(&self) -> Way {
        match self.admin.get(&["budget"], &[]).await {
            Ok(_) => Way::Granted,
            Err(_) => Way::Alone(Some(Instant::now() + LOOK_AGAIN)),
        }
    }

    async fn ask(&self) -> Result<Answer, Refusal> {
        let answer = self.admin.post(&["budget", "permits"], &json!({ "class": "get" })).await?;
        let wait = answer["wait_ms"].as_u64().map(Duration::from_millis);
        Ok(match answer["granted"].as_bool() {
            Some(true) => Answer::Granted,
            _ => Answer::After(wait),
        })
    }

    /// Returns true if the bridge leaves room for one more: customers' messages must not wait, and a tenth stays free.
    async fn is_room(&self) -> Result<bool, Refusal> {
        let budget = self.admin.get(&["budget"], &[]).await?;
        let limit = budget["limit"].as_u64().unwrap_or_default();
        let used = budget["used"].as_u64().unwrap_or(limit).saturating_add(self.own.used() as u64);
        Ok(budget["waiting"]["send"].as_u64() == Some(0) && (used + 1).saturating_mul(10) <= limit.saturating_mul(9))
    }
}

#[async_trait]
impl Permits for Beside {
    async fn permit(&self) -> Departure {
        loop {
            let way = *self.way.lock().unwrap_or_else(PoisonError::into_inner);
            let again = Way::Alone(Some(Instant::now() + LOOK_AGAIN));
            match way {
                Way::Granted => match self.ask().await {
                    Ok(Answer::Granted) => return Departure::untold(),
                    Ok(Answer::After(wait)) => {
                        let pause = wait.map_or(PAUSE, |wait| wait.max(Duration::from_millis(10)));
                        tokio::time::sleep(pause.min(LOOK_AGAIN)).await;
                    }
                    Err(refusal) if refusal.status.is_some_and(|status| matches!(status.as_u16(), 404 | 405)) => {
                        self.go(Way::Watched);
                    }
                    Err(_) => self.go(again),
                },
                Way::Watched => match self.is_room().await {
                    Ok(true) => return self.own.permit().await,
                    Ok(false) => tokio::time::sleep(PAUSE).await,
                    Err(_) => self.go(again),
                },
                Way::Alone(Some(at)) if at <= Instant::now() => {
                    let way = self.look().await;
                    self.go(way);
                }
                Way::Alone(_) => return self.own.permit().await,
            }
        }
    }

    fn throttled(&self) {
        self.own.throttled();
    }
}
