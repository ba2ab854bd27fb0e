//! The outbox: callbacks that are owed, in lanes.
//!
//! A lane is the queue of callbacks that a conversation owes to one destination. A process leases a lane as a whole and attempts
//! only its head: that keeps callbacks in order and one at a time.

use std::time::Duration;

use super::{ConversationRef, Lease, Result, Token};
use crate::domain::{
    Timestamp,
    correlation::Correlation,
    destination::Destination,
    ids::{ConversationId, ConversationKey, DeliveryId, EventId, FrontendName},
};

/// The queue of callbacks that a conversation owes to one destination.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lane {
    /// Key of the conversation that owes the callbacks.
    pub conversation: ConversationKey,
    /// The destination that they are owed to.
    pub destination: Destination,
}

/// A request to claim lanes.
#[derive(Clone, Debug)]
pub struct ClaimDeliveries {
    /// The lease to take on each lane.
    pub lease: Lease,
    /// The proof of holding them, one for all lanes of the claim: a claim whose answer was lost is found by it.
    pub token: Token,
    /// The most lanes to claim per destination: never more than the free permits.
    pub permits: Vec<DeliveryPermits>,
}

/// Free slots of one destination.
#[derive(Clone, Debug)]
pub struct DeliveryPermits {
    /// The destination. Nothing is claimed while its callbacks are held.
    pub destination: Destination,
    /// Slots that first attempts may use.
    pub first: usize,
    /// Slots that retries may use (a part of the same slots: at most `first` lanes in all are claimed).
    pub retries: usize,
}

/// The head of a leased lane.
#[derive(Clone, Debug)]
pub struct ClaimedDelivery {
    /// Id of the delivery (`dlv_…`).
    pub id: DeliveryId,
    /// The proof of holding the lane.
    pub token: Token,
    /// The conversation that owes it.
    pub conversation: ConversationRef,
    /// The destination that it is owed to.
    pub destination: Destination,
    /// Id of the event, sent as `webhook-id`.
    pub event_id: EventId,
    /// The event's number in the feed.
    pub sequence: i64,
    /// The event's type, such as `message.created`.
    pub kind: String,
    /// The body to send, byte for byte.
    pub body: String,
    /// Attempts so far in the present schedule: a replay starts at zero.
    pub attempts: u32,
    /// Time at which the event was recorded.
    pub recorded_at: Timestamp,
    /// Start of the present schedule: the time at which the event was recorded or replayed.
    pub owed_since: Timestamp,
    /// The request that brought the message whose turn the event belongs to; empty if it belongs to none.
    pub cause: Correlation,
}

/// The result of an attempt.
#[derive(Clone, Debug)]
pub enum DeliveryOutcome {
    /// The receiver took it.
    Delivered,
    /// It is tried again at this time.
    RetryAt(Timestamp),
    /// The receiver asks for no callbacks for a while. The attempt counts, but does not advance the schedule, and the delivery
    /// keeps its place: the whole destination is deferred, see [`DeliveryStore::defer_destination`].
    Refused,
    /// Given up: a dead letter. The lane goes on, unless `hold_lane`.
    Dead {
        /// Keeps the lane waiting behind it until an operator decides: the lane goes on when this very delivery is replayed,
        /// when it is pruned at the end of its retention, or when its conversation is erased.
        hold_lane: bool,
        /// The reason.
        end: DeadEnd,
    },
    /// Not attempted (shutting down, paused, breaker open): spends no attempt; due again at this time.
    Unattempted(Timestamp),
}

/// The reason for giving a delivery up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadEnd {
    /// The schedule is exhausted.
    Exhausted,
    /// It exceeded the maximum age.
    Expired,
    /// The bridge itself could not build or send it.
    BridgeFailed,
}

impl DeadEnd {
    /// Returns the name it is stored and shown under.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Expired => "expired",
            Self::BridgeFailed => "bridge_failed",
        }
    }
}

/// The end of an attempt, to be recorded.
#[derive(Clone, Debug)]
pub struct FinishDelivery {
    /// Id of the delivery that was attempted.
    pub id: DeliveryId,
    /// Its lane.
    pub lane: Lane,
    /// The proof of holding the lane.
    pub token: Token,
    /// Time at which the attempt ended.
    pub now: Timestamp,
    /// The attempt's result.
    pub outcome: DeliveryOutcome,
    /// The receiver's status, when it answered.
    pub status: Option<u16>,
    /// The error, in words.
    pub error: Option<String>,
    /// The beginning of the receiver's answer, for the operator.
    pub response: Option<String>,
    /// Set if the lane may be kept for its next head, should that be due (there is a permit for it).
    pub keep_lane: Option<Lease>,
}

/// The result of finishing a delivery.
#[derive(Clone, Debug, Default)]
pub struct Finished {
    /// True if the lease still held; otherwise another process has the lane, and at most the attempt was noted.
    pub counted: bool,
    /// The next head of the lane, still leased, if it was due and the lane may be kept.
    pub next: Option<ClaimedDelivery>,
    /// True if the lane owes nothing any more.
    pub lane_is_closed: bool,
}

/// A delivery as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Id of the delivery (`dlv_…`).
    pub id: DeliveryId,
    /// Id of the event, sent as `webhook-id`.
    pub event_id: EventId,
    /// The destination that it is owed to.
    pub destination: Destination,
    /// The frontend's id of the conversation.
    pub conversation_id: ConversationId,
    /// The event's number in the feed.
    pub sequence: i64,
    /// The event's type, such as `message.created`.
    pub kind: String,
    /// Pending, delivered or dead.
    pub state: DeliveryState,
    /// Attempts so far, over replays.
    pub attempts: u32,
    /// Its due time.
    pub next_attempt_at: Option<Timestamp>,
    /// The receiver's last status.
    pub last_status: Option<u16>,
    /// The error of its last failed attempt.
    pub last_error: Option<String>,
    /// The beginning of the receiver's last answer.
    pub last_response: Option<String>,
    /// The reason for giving it up.
    pub dead_end: Option<String>,
    /// Number of replays by operators.
    pub replays: u32,
    /// Time at which the event was recorded.
    pub created_at: Timestamp,
    /// Time at which the receiver took it.
    pub delivered_at: Option<Timestamp>,
}

/// The state of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// Owed.
    Pending,
    /// Taken.
    Delivered,
    /// Given up; kept for replay.
    Dead,
}

impl DeliveryState {
    /// Returns the name it is stored and shown under.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    /// Returns the state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Pending, Self::Delivered, Self::Dead].into_iter().find(|state| state.as_str() == name)
    }
}

/// A selection of deliveries: every field that is set must match.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    /// Only those of this state.
    pub state: Option<DeliveryState>,
    /// Only those of this frontend.
    pub frontend: Option<FrontendName>,
    /// Only those to destinations of this name.
    pub destination: Option<String>,
    /// Only those of this conversation.
    pub conversation: Option<ConversationId>,
    /// Only those of this event.
    pub event: Option<EventId>,
    /// Only those recorded at or after this time.
    pub since: Option<Timestamp>,
    /// Only those recorded before this time.
    pub until: Option<Timestamp>,
}

/// A page of deliveries, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryPage {
    /// The deliveries.
    pub deliveries: Vec<Delivery>,
    /// Cursor of the next page, if there is one; opaque.
    pub next_cursor: Option<String>,
}

/// A hold on the callbacks to a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationHold {
    /// The destination whose callbacks are held.
    pub destination: Destination,
    /// The reason: `operator`, or `gone` (the receiver answered 410).
    pub reason: String,
    /// Start of the hold.
    pub since: Timestamp,
}

/// Claims, finishes and administers deliveries.
#[async_trait::async_trait]
pub trait DeliveryStore: Send + Sync {
    /// Leases lanes whose heads are due and hands out the heads, earliest due first; in-flight lanes are left alone. Lanes
    /// whose lease has ended are free again.
    async fn claim_deliveries(&self, claim: ClaimDeliveries) -> Result<Vec<ClaimedDelivery>>;

    /// Returns when the earliest head of these destinations may be claimed, if any. A leased lane counts from the end of its
    /// lease, so that the lane of a dead holder is claimed in time.
    async fn next_delivery_at(&self, destinations: &[Destination]) -> Result<Option<Timestamp>>;

    /// Records the end of an attempt and frees the lane, or hands out its next head.
    async fn finish_delivery(&self, finish: FinishDelivery) -> Result<Finished>;

    /// Frees lanes that are leased under this token without their holder's knowledge: all those of a claim whose answer
    /// was lost, or the one that a completion kept whose answer was lost. Returns their number.
    async fn void_lanes(&self, token: &Token, lane: Option<&Lane>) -> Result<usize>;

    /// Frees the lanes of dead processes at start-up (a store that is not shared: all of them).
    async fn recover_lanes(&self, lease: &Lease) -> Result<usize>;

    /// Reads a page of deliveries. A cursor that the store never gave out leads to an empty page.
    async fn deliveries(&self, filter: &DeliveryFilter, cursor: Option<&str>, limit: usize) -> Result<DeliveryPage>;

    /// Reads one delivery.
    async fn delivery(&self, id: &DeliveryId) -> Result<Option<Delivery>>;

    /// Makes a delivery due at once with a fresh schedule: a dead one is replayed, a pending one is hurried, a delivered one
    /// is sent again under the same event id (the operator asked for it). Returns it, or `None` if there is none.
    async fn retry_delivery(&self, id: &DeliveryId, now: Timestamp) -> Result<Option<Delivery>>;

    /// Does so for every dead delivery that matches; returns their number. Works in batches, each a transaction of its own, so
    /// that many dead letters do not keep other work waiting.
    async fn retry_deliveries(&self, filter: &DeliveryFilter, now: Timestamp) -> Result<u64>;

    /// Holds callbacks to a destination. An operator's hold outranks any other reason; a repeat changes nothing.
    async fn hold_destination(&self, hold: &DestinationHold) -> Result<()>;

    /// Lets callbacks to a destination go again; returns false if they were not held.
    async fn release_destination(&self, destination: &Destination) -> Result<bool>;

    /// Defers a destination until then, over all processes and restarts, as its receiver asked. Never shortens; an
    /// operator's release ends it.
    async fn defer_destination(&self, destination: &Destination, until: Timestamp) -> Result<()>;

    /// Gives up a batch of deliveries that could not be attempted for longer than `max_age`, whatever holds them back: a pause,
    /// a dead letter in front of them, a destination that is no longer configured. Returns their number per destination;
    /// an empty list when none are left.
    async fn expire_deliveries(
        &self,
        now: Timestamp,
        max_age: Duration,
        hold_lane: bool,
    ) -> Result<Vec<(Destination, u64)>>;

    /// Lists the holds.
    async fn held_destinations(&self) -> Result<Vec<DestinationHold>>;
}
