//! The request budget's log: every request to Fini of the running window, over all processes and restarts.

use std::time::Duration;

use super::Result;
use crate::domain::Timestamp;

/// What a request is for, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestClass {
    /// A customer's message.
    Send,
    /// Finding the Fini conversation of a new conversation, or the fate of an unclear turn.
    Bind,
    /// A List sweep.
    Sweep,
    /// A single read.
    Get,
}

impl RequestClass {
    /// Every class, most urgent first.
    pub const ALL: [Self; 4] = [Self::Send, Self::Bind, Self::Sweep, Self::Get];

    /// The name it is stored and shown under.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Bind => "bind",
            Self::Sweep => "sweep",
            Self::Get => "get",
        }
    }
}

/// How much may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetTerms {
    /// Requests in any window.
    pub limit: u32,
    /// The window, any margin included.
    pub window: Duration,
    /// At most so many of them by reading, that is by all classes but [`RequestClass::Send`] together: whatever reads, the
    /// rest is left to sends. A send itself is bound by `limit` alone.
    pub share: u32,
}

/// One entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PermitId(pub i64);

/// Whether a request may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// It may, and is in the log.
    Now(PermitId),
    /// Not before this time.
    NotBefore(Timestamp),
}

/// What was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetUse {
    /// Requests in the window, by class in the order of [`RequestClass::ALL`].
    pub by_class: [u32; 4],
    /// When the oldest of them leaves the window.
    pub frees_at: Option<Timestamp>,
}

impl BudgetUse {
    /// Requests in the window.
    pub fn used(&self) -> u32 {
        self.by_class.iter().sum()
    }

    /// Those of them that sent a customer's message.
    pub const fn sends(&self) -> u32 {
        self.by_class[RequestClass::Send as usize]
    }

    /// Those of them that read.
    pub fn reads(&self) -> u32 {
        self.used() - self.sends()
    }
}

/// The budget's log.
#[async_trait::async_trait]
pub trait BudgetStore: Send + Sync {
    /// Takes one request out of the budget, if there is room in the window that ends now; durable before it returns.
    async fn take_permit(&self, class: RequestClass, terms: BudgetTerms, now: Timestamp) -> Result<Grant>;

    /// Moves an entry to the time at which its request can have reached Fini at the latest: a request that left late must
    /// not leave the window early. Never moves it to an earlier time.
    ///
    /// A permit is good for one window: an entry that has left the window may have been replaced by another request, so
    /// whoever still holds its permit then takes a new one instead of sending.
    async fn permit_departed(&self, permit: PermitId, at: Timestamp) -> Result<()>;

    /// What was used in the window that ends now.
    async fn budget_use(&self, window: Duration, now: Timestamp) -> Result<BudgetUse>;
}
