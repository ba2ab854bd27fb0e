//! The request budget's log: every request to Fini of the running window, over all processes and restarts.

use std::time::Duration;

use super::Result;
use crate::domain::Timestamp;

/// The purpose of a request, most urgent first.
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

    /// Returns the name it is stored and shown under.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Bind => "bind",
            Self::Sweep => "sweep",
            Self::Get => "get",
        }
    }
}

/// The limits of the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetTerms {
    /// Requests in any window.
    pub limit: u32,
    /// The window, any margin included.
    pub window: Duration,
    /// The most of them that all classes but [`RequestClass::Send`] may use together: whatever reads, the rest is left to sends.
    pub share: u32,
    /// Requests that sends leave to reading, however much is to be sent; those already made by reading count.
    pub floor: u32,
    /// True if sends leave room for a read that may wait no longer, however many reads were made.
    pub read_waits: bool,
}

impl BudgetTerms {
    /// Returns the most requests of all classes together that a window may hold with the next one of `class`, if reading has
    /// made `reads`. A send is never kept out for good.
    pub fn limit_for(&self, class: RequestClass, reads: u32) -> u32 {
        if class != RequestClass::Send {
            return self.limit;
        }
        let kept = self.floor.saturating_sub(reads).max(u32::from(self.read_waits));
        self.limit.saturating_sub(kept).max(self.limit.min(1))
    }
}

/// One entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PermitId(pub i64);

/// The answer to a request for a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The request may go, and is in the log.
    Now(PermitId),
    /// The request may not go before this time.
    NotBefore(Timestamp),
}

/// The requests used in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetUse {
    /// Requests in the window, by class in the order of [`RequestClass::ALL`].
    pub by_class: [u32; 4],
    /// Time at which the oldest of them leaves the window.
    pub frees_at: Option<Timestamp>,
}

impl BudgetUse {
    /// Counts the requests in the window.
    pub fn used(&self) -> u32 {
        self.by_class.iter().sum()
    }

    /// Counts those of them that sent a customer's message.
    pub const fn sends(&self) -> u32 {
        self.by_class[RequestClass::Send as usize]
    }

    /// Counts those of them that read.
    pub fn reads(&self) -> u32 {
        self.used() - self.sends()
    }
}

/// Takes requests out of the budget and counts them.
#[async_trait::async_trait]
pub trait BudgetStore: Send + Sync {
    /// Takes one request out of the budget, if the window that ends now has room; durable before it returns.
    async fn take_permit(&self, class: RequestClass, terms: BudgetTerms, now: Timestamp) -> Result<Grant>;

    /// Moves entries to the latest time at which their requests can have reached Fini: a request that left late must
    /// not leave the window early. Never moves one to an earlier time.
    ///
    /// A permit is good for one window: an entry that has left the window may have been replaced by another request, so
    /// the holder of its permit then takes a new one instead of sending.
    async fn permits_departed(&self, permits: &[PermitId], at: Timestamp) -> Result<()>;

    /// Counts the requests in the window that ends now.
    async fn budget_use(&self, window: Duration, now: Timestamp) -> Result<BudgetUse>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_leave_reading_what_it_has_not_had_of_its_floor() {
        let terms = BudgetTerms { limit: 100, share: 50, floor: 10, ..BudgetTerms::default() };
        let sends = |terms: BudgetTerms, reads| terms.limit_for(RequestClass::Send, reads);
        assert_eq!([0, 4, 10, 30].map(|reads| sends(terms, reads)), [90, 94, 100, 100]);
        let waited_for = BudgetTerms { read_waits: true, ..terms };
        assert_eq!([0, 9, 30].map(|reads| sends(waited_for, reads)), [90, 99, 99]);
        assert_eq!(terms.limit_for(RequestClass::Sweep, 0), 100);
        assert_eq!(sends(BudgetTerms { limit: 1, floor: 1, ..terms }, 0), 1, "sends are never kept out for good");
        assert_eq!(sends(BudgetTerms { limit: 0, ..terms }, 0), 0);
    }
}
