//! The dispatcher: claims lanes for free slots and works each off, callback by callback.
//!
//! Slots first, then claims: never more is leased than is attempted at once. A lane keeps its slot while its next callback
//! is due, so that it drains without a claim for each; after a stretch it gives way to the others. Each attempt runs under
//! a lease that outlasts its deadline; the store refuses a completion that comes too late. If the store fails, the outcome
//! of an attempt is recorded again and again while the lease lasts: else the receiver would get the callback once more.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tracing::Instrument as _;

use super::{
    ReceiverApi,
    client::{Attempt, AttemptResult, ErrorKind},
    endpoint::{Endpoint, Seat},
    verdict::{self, Terms, Verdict, Why},
};
use crate::{
    domain::{Clock, Entropy, Timestamp, WallClock, destination::Destination},
    lifecycle::{Loop, Step, Stop, Tasks, Wake},
    metrics::{AttemptClass, DeliveryOutcome as Counted, Metrics},
    store::{
        ClaimDeliveries, ClaimedDelivery, DeadEnd, DeliveryOutcome, DestinationHold, FinishDelivery, Finished, Lane,
        Lease, LostClaims, Owner, Result, Store, StoreError, Token,
    },
    telemetry::spans::{FinishedSpan, SpanKind, Spans},
};

/// Callbacks a lane may work off in one go while others wait.
const STRETCH: usize = 64;

/// Lanes that are due but could not be claimed are looked at again after so long, unless something wakes the loop before.
const UNCLAIMED: Duration = Duration::from_millis(50);

/// Pauses between attempts to record the outcome of a callback.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Longest pause between two looks for callbacks that could not be attempted for too long.
const EXPIRE_EVERY: Duration = Duration::from_mins(1);

/// The dispatcher is calm when it has claimed nothing more for so long.
const CALM: Duration = Duration::from_millis(50);

/// Settings of the dispatcher.
#[derive(Clone, Debug)]
pub struct DispatcherSettings {
    /// Time for which a lane is leased for one attempt; longer than the deadline of any.
    pub lease: Duration,
    /// True if an exhausted callback holds up its lane.
    pub hold_lane: bool,
    /// A callback that is older is given up.
    pub max_age: Duration,
}

/// The dispatcher.
pub struct Dispatcher {
    /// The outbox.
    pub store: Arc<dyn Store>,
    /// Makes the attempts.
    pub receivers: Arc<dyn ReceiverApi>,
    /// The destinations' addresses.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// The clock for waits and leases.
    pub clock: Arc<dyn Clock>,
    /// The clock for the time at which callbacks are signed.
    pub wall: Arc<dyn WallClock>,
    /// Draws jitter, and the ids of attempt spans.
    pub entropy: Arc<dyn Entropy>,
    /// Runs the lanes.
    pub tasks: Tasks,
    /// Wakes this loop when a slot is free.
    pub wake: Wake,
    /// Asked before each further attempt.
    pub stop: Stop,
    /// Counts attempts and callbacks.
    pub metrics: Metrics,
    /// Takes the spans of finished attempts.
    pub spans: Spans,
    /// This process, as the owner of leases.
    pub owner: Owner,
    /// Lease, maximum age and lane rule.
    pub settings: DispatcherSettings,
    /// Claims that failed.
    pub lost_claims: LostClaims,
    /// Time at which callbacks that are too old are next given up.
    pub expires_at: Mutex<Timestamp>,
}

impl Loop for Arc<Dispatcher> {
    type Error = StoreError;

    async fn step(&self) -> Result<Step> {
        let now = self.clock.now();
        self.void_lost_claims(now).await?;
        let expires_at = self.expire(now).await?;
        let mut permits = Vec::new();
        let mut wake_at = None::<Timestamp>;
        for endpoint in &self.endpoints {
            endpoint.want();
            match endpoint.permits(now) {
                Ok(free) => permits.push(free),
                Err(until) => wake_at = earliest([wake_at, until]),
            }
        }
        let free: Vec<_> = permits.iter().map(|free| free.destination.clone()).collect();
        let lease = self.lease(now);
        let claimed = if permits.is_empty() {
            Vec::new()
        } else {
            let token = Token(Arc::from(self.entropy.key()));
            let claim = ClaimDeliveries { lease: lease.clone(), token: token.clone(), permits: permits.clone() };
            self.store.claim_deliveries(claim).await.inspect_err(|_| self.lost_claims.add(token, now))?
        };
        let count = claimed.len();
        let mut all = true;
        for permits in &permits {
            let taken = claimed.iter().filter(|delivery| delivery.destination == permits.destination).count();
            // First attempts and retries are limited apart; a claim below both limits left nothing behind.
            let took_all = taken < permits.first.min(permits.retries);
            self.endpoint(&permits.destination).into_iter().for_each(|endpoint| endpoint.claimed(took_all));
            all &= took_all;
        }
        for delivery in claimed {
            self.start(delivery, lease.until);
        }
        if count > 0 && !all {
            return Ok(Step::Did(count));
        }
        if count > 0 {
            // All of it was taken. The next due time is asked for once it is calm, not after each claim.
            return Ok(Step::Idle { until: earliest([Some(now.plus(CALM)), wake_at]) });
        }
        // Callbacks that are due and were not claimed wait for a slot, or another process has them.
        let due = self.store.next_delivery_at(&free).await?.map(|due| due.max(now.plus(UNCLAIMED)));
        Ok(Step::Idle { until: earliest([due, wake_at, self.lost_claims.look_at(now), Some(expires_at)]) })
    }
}

impl Dispatcher {
    /// Frees lanes that were claimed without an answer reaching this process: nothing was attempted for them.
    async fn void_lost_claims(&self, now: Timestamp) -> Result<()> {
        let void = async |token: Token| self.store.void_lanes(&token, None).await;
        let lanes = self.lost_claims.give_back(now, void).await?;
        if lanes > 0 {
            tracing::info!(lanes, "claim given back whose answer was lost");
        }
        Ok(())
    }

    /// Gives up, now and then, callbacks that nobody could attempt for too long; returns when it does so next.
    async fn expire(&self, now: Timestamp) -> Result<Timestamp> {
        let every = (self.settings.max_age / 4).clamp(Duration::from_secs(1), EXPIRE_EVERY);
        let due = *self.expires_at.lock().unwrap_or_else(PoisonError::into_inner);
        if now < due && due <= now.plus(every) {
            return Ok(due);
        }
        loop {
            let given_up = self.store.expire_deliveries(now, self.settings.max_age, self.settings.hold_lane).await?;
            if given_up.is_empty() {
                break;
            }
            for (Destination { frontend, name: destination }, callbacks) in given_up {
                self.metrics.deliveries(frontend.as_str(), &destination, Counted::Dead, callbacks);
                tracing::error!(%frontend, destination, callbacks, "callbacks given up: they could not be made for too long");
            }
        }
        let next = now.plus(every);
        *self.expires_at.lock().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(next)
    }

    fn lease(&self, now: Timestamp) -> Lease {
        Lease { owner: self.owner.clone(), now, until: now.plus(self.settings.lease) }
    }

    fn start(self: &Arc<Self>, delivery: ClaimedDelivery, until: Timestamp) {
        let Some(endpoint) = self.endpoint(&delivery.destination) else { return };
        let slot = Slot {
            endpoint: Arc::clone(endpoint),
            seat: endpoint.enter(delivery.attempts > 0, self.clock.now()),
            clock: Arc::clone(&self.clock),
            wake: self.wake.clone(),
            lane_owes: true,
        };
        let dispatcher = Arc::clone(self);
        let span = tracing::info_span!(
            "deliver",
            frontend = %delivery.conversation.frontend,
            destination = delivery.destination.name,
            conversation_id = %delivery.conversation.id
        );
        let work = async move {
            let mut slot = slot;
            match dispatcher.work_off(&mut slot, delivery, until).await {
                Ok(lane_owes) => slot.lane_owes = lane_owes,
                // The lease ends, and the callback goes out again under the same id.
                Err(error) => tracing::error!(%error, "outcome of a callback could not be recorded"),
            }
        };
        drop(self.tasks.spawn("deliver", work.instrument(span)));
    }

    fn endpoint(&self, destination: &Destination) -> Option<&Arc<Endpoint>> {
        self.endpoints.iter().find(|endpoint| endpoint.destination == *destination)
    }

    /// Works off a lane that is leased until `until`. Returns true if the lane still owes something.
    async fn work_off(&self, slot: &mut Slot, first: ClaimedDelivery, mut until: Timestamp) -> Result<bool> {
        let mut next = Some(first);
        for left in (0..STRETCH).rev() {
            let Some(delivery) = next else { return Ok(true) };
            slot.endpoint.go_on(&mut slot.seat, delivery.attempts > 0);
            let span = tracing::info_span!(
                "attempt",
                delivery_id = %delivery.id,
                "type" = delivery.kind,
                request_id = delivery.cause.request_id(),
                trace_id = delivery.cause.trace_id()
            );
            let outcome = self.attempt(slot, &delivery, until).instrument(span).await;
            let now = self.clock.now();
            let lease = self.lease(now);
            let held_until = std::mem::replace(&mut until, lease.until);
            let goes_on = left > 0 && !self.stop.is_stopping() && outcome.lane_goes_on && slot.endpoint.may_go_on(now);
            let finish = FinishDelivery {
                id: delivery.id,
                lane: Lane { conversation: delivery.conversation.key, destination: delivery.destination },
                token: delivery.token,
                now,
                outcome: outcome.outcome,
                status: outcome.status,
                error: outcome.error,
                response: outcome.response,
                keep_lane: goes_on.then_some(lease),
            };
            let finished = self.finish(finish, held_until).await?;
            if !finished.counted {
                tracing::warn!("callback outlived its lease; it may go out again under the same id");
            }
            if finished.lane_is_closed {
                return Ok(false);
            }
            next = finished.next;
        }
        Ok(true)
    }

    /// Records the end of an attempt while the lane is held.
    async fn finish(&self, finish: FinishDelivery, held_until: Timestamp) -> Result<Finished> {
        let mut pause = FIRST_PAUSE;
        let mut has_failed = false;
        loop {
            match self.store.finish_delivery(finish.clone()).await {
                Err(error) if self.clock.now().plus(pause) < held_until => {
                    tracing::warn!(%error, "outcome of a callback not recorded yet");
                    has_failed = true;
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                // The call that failed took effect all the same; it may have kept the lane for a head that it handed to
                // nobody.
                Ok(finished) if has_failed && !finished.counted => {
                    self.store.void_lanes(&finish.token, Some(&finish.lane)).await?;
                    return Ok(Finished { counted: true, ..finished });
                }
                ended => return ended,
            }
        }
    }

    async fn attempt(&self, slot: &Slot, delivery: &ClaimedDelivery, until: Timestamp) -> Attempted {
        let endpoint = &*slot.endpoint;
        let now = self.clock.now();
        let terms_of = &endpoint.terms;
        if now.plus(terms_of.timeout) > until {
            // This process stood still: it would still be sending when another one holds the lane.
            tracing::warn!(event_id = %delivery.event_id, sequence = delivery.sequence, "callback held up for too long");
            return Attempted::not_made(now);
        }
        let age = now.since(delivery.owed_since);
        if age >= self.settings.max_age {
            self.count(endpoint, Counted::Dead);
            tracing::error!(event_id = %delivery.event_id, sequence = delivery.sequence, "callback given up: too old");
            return Attempted::given_up(self.settings.hold_lane, DeadEnd::Expired, "older than delivery.max_age");
        }
        let spoiled = if mutated!("a callback's bytes change with each attempt") { delivery.attempts } else { 0 };
        let body = Bytes::from(format!("{}{}", delivery.body, " ".repeat(spoiled as usize)));
        let id = delivery.event_id.as_str();
        let timestamp = self.wall.now().as_secs();
        let onward = delivery.cause.onward(&*self.entropy);
        let span = onward.span().copied();
        let result = endpoint
            .receivers(&self.receivers)
            .attempt(&Attempt {
                url: endpoint.url.clone(),
                id: id.to_owned(),
                timestamp,
                signature: endpoint.signer().sign(id, timestamp, &body, timestamp),
                body,
                headers: endpoint.headers(),
                onward,
                timeout: terms_of.timeout,
            })
            .await;
        let result = if mutated!("a failed callback counts as delivered") {
            AttemptResult { status: Some(204), ..AttemptResult::default() }
        } else {
            result
        };
        let number = delivery.attempts + 1;
        let began_at = now;
        let (now, wall) = (self.clock.now(), self.wall.now());
        let terms = Terms {
            attempt: number,
            age,
            schedule: &terms_of.schedule,
            now: now.as_millis(),
            wall,
            jitter: self.entropy.fraction(),
        };
        let verdict = verdict::judge(&result, &terms);
        if let Some(wish) = verdict::wish(&result, &terms) {
            if let Some(until) = endpoint.refused(&slot.seat, now, wish) {
                self.defer(endpoint, until).await;
            }
        } else {
            self.learn(endpoint, &slot.seat, &verdict, began_at, now).await;
        }
        self.tell(endpoint, delivery, number, &result, verdict, now);
        self.spans.tell(span.as_ref(), |span| FinishedSpan {
            span,
            kind: SpanKind::Client,
            name: format!("callback {}", delivery.kind),
            ended_at: wall,
            duration: result.duration,
            attributes: [
                ("fini_bridge.frontend", endpoint.destination.frontend.as_str().into()),
                ("fini_bridge.conversation_id", delivery.conversation.id.as_str().into()),
                ("fini_bridge.event_id", id.into()),
                ("fini_bridge.attempt", i64::from(number).into()),
            ]
            .into_iter()
            .chain(result.status.map(|status| ("http.response.status_code", status.into())))
            .collect(),
            error: (verdict != Verdict::Delivered).then_some("not delivered"),
        });
        let why = match verdict {
            Verdict::Delivered => None,
            Verdict::RetryAt { why, .. }
            | Verdict::Deferred { why }
            | Verdict::Paused { why }
            | Verdict::Dead { why } => Some(why),
        };
        Attempted {
            lane_goes_on: verdict == Verdict::Delivered || matches!(verdict, Verdict::Dead { .. }),
            outcome: match verdict {
                Verdict::Delivered => DeliveryOutcome::Delivered,
                Verdict::RetryAt { at, why: Why::Bridge } => DeliveryOutcome::Unattempted(Timestamp::from_millis(at)),
                Verdict::RetryAt { at, .. } => DeliveryOutcome::RetryAt(Timestamp::from_millis(at)),
                Verdict::Deferred { .. } => DeliveryOutcome::Refused,
                Verdict::Paused { .. } => DeliveryOutcome::Unattempted(now),
                Verdict::Dead { why } => DeliveryOutcome::Dead {
                    hold_lane: self.settings.hold_lane,
                    end: if why == Why::Bridge { DeadEnd::BridgeFailed } else { DeadEnd::Exhausted },
                },
            },
            status: result.status,
            error: why.map(|why| describe(&result, why)),
            response: (!result.body_excerpt.is_empty() && verdict != Verdict::Delivered).then_some(result.body_excerpt),
        }
    }

    fn tell(
        &self,
        endpoint: &Endpoint,
        delivery: &ClaimedDelivery,
        attempt: u32,
        result: &AttemptResult,
        verdict: Verdict,
        now: Timestamp,
    ) {
        let frontend = endpoint.destination.frontend.as_str();
        let duration_ms = u64::try_from(result.duration.as_millis()).unwrap_or(u64::MAX);
        let (counted, class) = match verdict {
            Verdict::Delivered => (Counted::Delivered, AttemptClass::Delivered),
            Verdict::RetryAt { why, .. } | Verdict::Deferred { why } => (Counted::Retried, class(result, why)),
            Verdict::Paused { why } => (Counted::Paused, class(result, why)),
            Verdict::Dead { why } => (Counted::Dead, class(result, why)),
        };
        self.count(endpoint, counted);
        self.metrics.delivery_attempt(frontend, class, result.duration);
        let (event_id, sequence, status) = (&delivery.event_id, delivery.sequence, result.status);
        match verdict {
            Verdict::Delivered => {
                self.metrics.delivery_latency(now.since(delivery.recorded_at));
                tracing::info!(%event_id, sequence, attempt, status, duration_ms, "callback delivered");
            }
            Verdict::RetryAt { at, why } => {
                let (error, next_attempt_at) = (describe(result, why), Timestamp::from_millis(at));
                tracing::warn!(%event_id, sequence, attempt, status, duration_ms, error, %next_attempt_at, "callback failed");
            }
            Verdict::Deferred { why } => {
                let (error, next_attempt_at) = (describe(result, why), endpoint.held_until(now).unwrap_or(now));
                tracing::warn!(%event_id, sequence, attempt, status, duration_ms, error, %next_attempt_at, "callback deferred");
            }
            Verdict::Paused { why } => {
                let error = describe(result, why);
                tracing::error!(%event_id, sequence, attempt, status, duration_ms, error, "callbacks paused by the receiver");
            }
            Verdict::Dead { why } => {
                let error = describe(result, why);
                tracing::error!(%event_id, sequence, attempt, status, duration_ms, error, "callback given up: dead letter");
            }
        }
    }

    fn count(&self, endpoint: &Endpoint, outcome: Counted) {
        let Destination { frontend, name } = &endpoint.destination;
        self.metrics.deliveries(frontend.as_str(), name, outcome, 1);
    }

    /// Has all processes leave the endpoint alone.
    async fn defer(&self, endpoint: &Endpoint, until: Timestamp) {
        if let Err(error) = self.store.defer_destination(&endpoint.destination, until).await {
            tracing::error!(%error, "a receiver's wish to be left alone could not be recorded");
        }
    }

    /// Learns from an attempt about the endpoint as a whole.
    async fn learn(&self, endpoint: &Endpoint, seat: &Seat, verdict: &Verdict, began_at: Timestamp, now: Timestamp) {
        match verdict {
            Verdict::Delivered => {
                if endpoint.succeeded(seat, began_at, now) {
                    let Destination { frontend, name: destination } = &endpoint.destination;
                    tracing::info!(%frontend, destination, "callbacks flow again");
                }
            }
            Verdict::Paused { .. } => {
                let hold = DestinationHold {
                    destination: endpoint.destination.clone(),
                    reason: "gone".to_owned(),
                    since: now,
                };
                if let Err(error) = self.store.hold_destination(&hold).await {
                    tracing::error!(%error, "pause of a destination could not be recorded");
                }
            }
            Verdict::Deferred { .. }
            | Verdict::RetryAt { why: Why::Bridge, .. }
            | Verdict::Dead { why: Why::Bridge } => {}
            Verdict::RetryAt { why, .. } | Verdict::Dead { why } => {
                let answered = matches!(why, Why::Answered { .. });
                if let Some(until) = endpoint.failed(seat, answered, (began_at, now), self.entropy.fraction()) {
                    let Destination { frontend, name: destination } = &endpoint.destination;
                    tracing::warn!(%frontend, destination, %until, "callbacks held back: the receiver only fails");
                }
            }
        }
    }
}

fn earliest<const N: usize>(times: [Option<Timestamp>; N]) -> Option<Timestamp> {
    times.into_iter().flatten().min()
}

/// The end of an attempt, in the store's terms.
struct Attempted {
    outcome: DeliveryOutcome,
    lane_goes_on: bool,
    status: Option<u16>,
    error: Option<String>,
    response: Option<String>,
}

impl Attempted {
    const fn not_made(now: Timestamp) -> Self {
        Self {
            outcome: DeliveryOutcome::Unattempted(now),
            lane_goes_on: false,
            status: None,
            error: None,
            response: None,
        }
    }

    fn given_up(hold_lane: bool, end: DeadEnd, error: &str) -> Self {
        Self {
            outcome: DeliveryOutcome::Dead { hold_lane, end },
            lane_goes_on: !hold_lane,
            status: None,
            error: Some(error.to_owned()),
            response: None,
        }
    }
}

fn class(result: &AttemptResult, why: Why) -> AttemptClass {
    match why {
        Why::Bridge => AttemptClass::BridgeFailed,
        Why::Answered { .. } => AttemptClass::Refused,
        Why::Unreachable { .. } => match &result.error {
            Some(error) if error.kind == ErrorKind::Guard => AttemptClass::Blocked,
            _ => AttemptClass::Unreachable,
        },
    }
}

/// Describes a failure for operators: the receiver's answer, the address of its redirect, or the reason why it was out of
/// reach.
fn describe(result: &AttemptResult, why: Why) -> String {
    match (&result.error, &result.location) {
        (Some(error), _) => error.to_string(),
        (None, Some(location)) => format!("{why}; redirects are not followed (to {location})"),
        (None, None) => why.to_string(),
    }
}

/// A slot of an endpoint; it is freed when dropped, also after a panic.
struct Slot {
    endpoint: Arc<Endpoint>,
    seat: Seat,
    clock: Arc<dyn Clock>,
    wake: Wake,
    /// True if the lane has to be looked at again.
    lane_owes: bool,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let is_wanted = self.endpoint.leave(&self.seat, self.clock.now());
        if is_wanted || self.lane_owes {
            self.wake.notify();
        }
    }
}
