//! Computes how often each kind of read may happen, given what sending leaves. Pure.
//!
//! Reads are spread evenly over the window instead of being taken as soon as there is room: sweeps at equal distances find
//! a message soonest on average and at the worst, and room that stays free lets a message go out without waiting.

use std::time::Duration;

use crate::{fini::budget::Shares, store::BudgetUse};

/// Sending finds this part of the limit free at once, whatever reading would like.
const HEADROOM: f64 = 0.08;
/// Reading plans with a little less than it may take: reads that drift together would else have to wait for each other.
const PLANNED: f64 = 0.98;
/// The part of reading that looks for changes that move nothing up in List.
const STATUS: f64 = 0.25;
/// The part of it that goes on when the escalated conversations are read singly.
const STATUS_REST: f64 = 0.05;
/// While messages wait, reading is content with its floor, but does not wait longer than this part of its distance.
const PATIENCE: f64 = 0.75;
/// Pages that sweeps have just left take this part from them at most.
const LEFT: f64 = 0.15;
/// Sweeps keep this part of reading, whatever else is to be read.
const SWEEPS_KEEP: f64 = 0.4;
/// Unused budget quickens sweeps up to so many times their wanted pace.
const QUICKEST: u32 = 4;
/// Wanted: every escalated conversation is seen this often, wherever it stands in List.
pub const ESCALATED_CYCLE: Duration = Duration::from_secs(50);
/// Wanted: every other conversation.
pub const OPEN_CYCLE: Duration = Duration::from_mins(2);

/// The demand on reading.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// The wanted pace of sweeps.
    pub sweep_interval: Duration,
    /// Messages that wait for the budget.
    pub sends_waiting: u64,
    /// Single reads of the running window.
    pub singles: u32,
    /// Pages of what sweeps had just left, in the same.
    pub left_pages: u32,
    /// Pages of List below the first that a full pass reads; zero where sweeps see everything.
    pub pages_below: u32,
    /// Escalated conversations.
    pub escalated: u64,
    /// True if sweeps left so much that reading has to catch up.
    pub catches_up: bool,
}

/// The distances between reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paces {
    /// Reads that may happen in a window.
    pub allowed: u32,
    /// While messages wait for the budget, a read still happens this often.
    pub least: Duration,
    /// Between sweeps.
    pub sweep: Duration,
    /// Between pages of what sweeps left.
    pub gap: Duration,
    /// Between pages of the full pass; `None` where there is nothing below the first page.
    pub audit: Option<Duration>,
    /// Between single reads for the status.
    pub status: Duration,
    /// True if single reads see the escalated conversations sooner than the full pass.
    pub escalated_by_get: bool,
}

/// Returns the distances, given the budget's use and the demand.
pub fn paces(shares: &Shares, used: &BudgetUse, demand: &Demand) -> Paces {
    let limit = f64::from(shares.limit);
    let waiting = f64::from(u32::try_from(demand.sends_waiting).unwrap_or(u32::MAX));
    let left = limit - f64::from(used.sends()) - waiting - (limit * HEADROOM).ceil();
    let allowed = left.clamp(f64::from(shares.floor), f64::from(shares.reading));
    let every = |per_window: f64| shares.window.div_f64(per_window.max(0.01));
    let per_window = |cycle: Duration, reads: f64| reads * shares.window.as_secs_f64() / cycle.as_secs_f64();

    let pages = f64::from(demand.pages_below);
    let escalated_by_get = demand.escalated > 0 && demand.escalated <= u64::from(demand.pages_below);
    let (cycle, part) = match (demand.escalated, escalated_by_get) {
        (0, _) => (OPEN_CYCLE, STATUS),
        (_, false) => (ESCALATED_CYCLE, STATUS),
        (_, true) => (OPEN_CYCLE, STATUS_REST),
    };
    let audits = per_window(cycle, pages).min(allowed * part);
    let status = allowed * if escalated_by_get { STATUS - STATUS_REST } else { STATUS_REST };

    let lists = (allowed * PLANNED - audits - f64::from(demand.singles)).max(allowed * SWEEPS_KEEP);
    // The fewer sweeps, the more each of them leaves: what they have left takes little from them.
    let left = f64::from(demand.left_pages).min(lists * LEFT);
    let sweeps = if demand.catches_up { lists / 2.0 } else { lists - left };
    Paces {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the limit")]
        allowed: allowed as u32,
        least: every(f64::from(shares.floor)).mul_f64(PATIENCE),
        sweep: every(sweeps).max(demand.sweep_interval / QUICKEST),
        gap: every(sweeps),
        audit: (demand.pages_below > 0).then(|| every(audits)),
        status: every(status),
        escalated_by_get,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fini::budget::BudgetSettings;

    const DEMAND: Demand = Demand {
        sweep_interval: Duration::from_secs(2),
        sends_waiting: 0,
        singles: 0,
        left_pages: 0,
        pages_below: 0,
        escalated: 0,
        catches_up: false,
    };

    /// 60.4 s for 49 sweeps.
    const PLANNED_PACE: Duration = Duration::from_nanos(1_232_653_061);

    fn shares(limit: u32) -> Shares {
        let settings = BudgetSettings { requests: limit, window: Duration::from_mins(1), send_reserve: 0.5 };
        Shares::new(&settings, limit)
    }

    fn with(sends: u32, demand: &Demand) -> Paces {
        paces(&shares(100), &BudgetUse { by_class: [sends, 0, 0, 0], frees_at: None }, demand)
    }

    #[test]
    fn unused_budget_quickens_sweeps_and_a_busy_one_stretches_them() {
        assert_eq!(with(0, &DEMAND).sweep, PLANNED_PACE, "half of the limit, evenly");
        assert_eq!(with(42, &DEMAND).sweep, PLANNED_PACE);
        assert_eq!(with(66, &DEMAND).allowed, 26);
        assert_eq!(with(95, &DEMAND).sweep.as_millis(), 6163, "the floor: reading never stops");
        assert_eq!(with(30, &Demand { sends_waiting: 40, ..DEMAND }).allowed, 22);
    }

    #[test]
    fn a_large_limit_does_not_make_sweeps_endless() {
        let plenty = paces(&shares(100_000), &BudgetUse::default(), &DEMAND);
        assert_eq!(plenty.sweep, Duration::from_millis(500));
    }

    #[test]
    fn a_full_pass_takes_its_cycle_where_a_quarter_of_reading_allows_it() {
        let thousand = with(0, &Demand { pages_below: 9, escalated: 100, ..DEMAND });
        let pass = thousand.audit.expect("there are pages below") * 9;
        assert_eq!(pass.as_secs(), ESCALATED_CYCLE.as_secs());
        let many = with(0, &Demand { pages_below: 999, escalated: 10_000, ..DEMAND });
        assert_eq!(many.audit, Some(Duration::from_millis(60_400).div_f64(12.5)));
        assert_eq!(many.sweep, Duration::from_millis(60_400).div_f64(36.5));
    }

    #[test]
    fn few_escalated_conversations_among_many_are_cheaper_to_read_singly() {
        let few = with(0, &Demand { pages_below: 99, escalated: 8, ..DEMAND });
        assert!(few.escalated_by_get);
        assert_eq!(few.status, Duration::from_millis(6040));
        assert!(!with(0, &Demand { pages_below: 9, escalated: 100, ..DEMAND }).escalated_by_get);
    }

    #[test]
    fn single_reads_never_take_everything_from_sweeps() {
        assert_eq!(with(0, &Demand { singles: 49, ..DEMAND }).sweep, Duration::from_millis(3020));
    }
}
