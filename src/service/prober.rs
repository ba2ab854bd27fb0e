//! The prober: asks List agents, the cheapest read there is, to learn whether Fini accepts the key and can be reached.
//!
//! It asks at the start, so that a refused key shows before the first message does, and whenever a breaker of the key or of
//! the vendor is half-open. So no message, whose reply may take a minute to write, keeps all others waiting for that.

use std::{sync::Arc, time::Duration};

use super::breakers::Breakers;
use crate::{
    domain::{Clock, scopes::About},
    fini::{
        FiniApi,
        budget::{Budget, Taken},
    },
    lifecycle::{Loop, Step, Wake},
    store::{RequestClass, Result, StoreError},
};

/// The prober.
pub struct Prober {
    /// Answers the probe.
    pub fini: Arc<dyn FiniApi>,
    /// Says when to ask, and learns.
    pub breakers: Arc<Breakers>,
    /// Says how much may be asked.
    pub budget: Arc<Budget>,
    /// The steady clock.
    pub clock: Arc<dyn Clock>,
    /// Loops that may go on after an answer.
    pub waiting: Vec<Wake>,
    /// Longest duration of the read.
    pub read_timeout: Duration,
}

impl Loop for Arc<Prober> {
    type Error = StoreError;

    async fn step(&self) -> Result<Step> {
        let now = self.clock.now();
        match self.breakers.next_probe_at() {
            Some(at) if at <= now => {}
            until => return Ok(Step::Idle { until }),
        }
        let permit = match self.budget.take(RequestClass::Bind).await? {
            Taken::Permit(permit) => permit,
            Taken::NotBefore(at) => return Ok(Step::Idle { until: Some(at) }),
        };
        self.breakers.probe(self.read_timeout);
        let answer = self.fini.list_agents(&self.budget.departure(permit)).await;
        self.breakers.learn(About::Workspace, now, &answer);
        self.waiting.iter().for_each(Wake::notify);
        Ok(Step::Did(1))
    }
}
