//! The request budget: never more than the limit in any window, however takes and departures fall.

use super::*;

suite!(
    no_window_ever_holds_more_than_the_limit,
    a_denial_names_the_exact_time,
    reading_leaves_room_for_sends,
    sends_leave_room_for_reading,
    nothing_is_granted_where_nothing_is_allowed,
    a_departure_only_moves_forward,
    use_is_told_by_class,
    racing_takers_never_share_a_permit,
    what_is_too_old_is_dropped_in_passing,
);

const WINDOW: Duration = Duration::from_mins(1);

fn terms(limit: u32, share: u32) -> BudgetTerms {
    BudgetTerms { limit, window: WINDOW, share, ..BudgetTerms::default() }
}

impl Fixture {
    async fn take(&self, class: RequestClass, terms: BudgetTerms, now: Timestamp) -> Grant {
        self.store.take_permit(class, terms, now).await.expect("answers")
    }

    async fn granted(&self, class: RequestClass, terms: BudgetTerms, now: Timestamp) -> PermitId {
        match self.take(class, terms, now).await {
            Grant::Now(permit) => permit,
            Grant::NotBefore(at) => panic!("denied until {at}"),
        }
    }
}

/// An entry of the log, as the test expects it.
#[derive(Clone, Copy)]
struct Entry {
    permit: PermitId,
    class: RequestClass,
    at: i64,
}

/// Returns true if every window that ends at one of the entries (the fullest ones do) keeps to `most`.
fn keeps_to(entries: &[Entry], most: u32, window: i64, counts: impl Fn(&Entry) -> bool) -> bool {
    let times: Vec<i64> = entries.iter().filter(|entry| counts(entry)).map(|entry| entry.at).collect();
    times.iter().all(|end| times.iter().filter(|at| **at > end - window && *at <= end).count() <= most as usize)
}

/// Random takes of all classes and departures at non-decreasing times, in many rounds; each round is far enough from the
/// one before for their windows not to meet.
async fn no_window_ever_holds_more_than_the_limit(fixture: Fixture) {
    const ROUNDS: i64 = 30;
    const STEPS: usize = 60;
    for round in 0..ROUNDS {
        let mut random = fastrand::Rng::with_seed(round.unsigned_abs());
        let (limit, window) = (random.u32(1..12), random.i64(5..400));
        let share = random.u32(0..=limit);
        let terms = BudgetTerms {
            limit,
            share,
            window: Duration::from_millis(window.unsigned_abs()),
            ..BudgetTerms::default()
        };
        let mut now = at(round * 1_000_000).as_millis();
        let mut log: Vec<Entry> = Vec::new();
        for _ in 0..STEPS {
            now += random.i64(0..=window / 3);
            if random.u8(..4) == 0 && !log.is_empty() {
                // A permit is good for one window: no request departs with an older one.
                let entry = random.choice(log.iter_mut()).expect("is not empty");
                if entry.at > now - window {
                    let departed = random.i64(entry.at..=now.max(entry.at));
                    fixture
                        .store
                        .permits_departed(&[entry.permit], Timestamp::from_millis(departed))
                        .await
                        .expect("moves");
                    entry.at = departed;
                }
            } else {
                let class = *random.choice(&RequestClass::ALL).expect("is not empty");
                match fixture.take(class, terms, Timestamp::from_millis(now)).await {
                    Grant::Now(permit) => log.push(Entry { permit, class, at: now }),
                    Grant::NotBefore(then) => {
                        assert!(then.as_millis() > now);
                        let reads = |entry: &Entry| entry.class != RequestClass::Send;
                        let used = log.iter().filter(|entry| entry.at > now - window).count();
                        let reading = log.iter().filter(|entry| entry.at > now - window && reads(entry)).count();
                        let by_share = class != RequestClass::Send && reading >= share as usize;
                        assert!(used >= limit as usize || by_share, "round {round}: denied although there was room");
                    }
                }
            }
            assert!(keeps_to(&log, limit, window, |_| true), "round {round}: more than {limit} in a window");
            let reads = |entry: &Entry| entry.class != RequestClass::Send;
            assert!(keeps_to(&log, share, window, reads), "round {round}: reading took more than {share}");
        }
    }
}

async fn a_denial_names_the_exact_time(fixture: Fixture) {
    for taken in [0, 10, 25] {
        fixture.granted(RequestClass::Send, terms(3, 3), at(taken)).await;
    }
    let free = at(60_000);
    assert_eq!(fixture.take(RequestClass::Send, terms(3, 3), at(30)).await, Grant::NotBefore(free));
    // With a lower limit, more has to leave first.
    assert_eq!(fixture.take(RequestClass::Send, terms(2, 2), at(30)).await, Grant::NotBefore(at(60_010)));
    let just_before = free.minus(Duration::from_millis(1));
    assert_eq!(fixture.take(RequestClass::Send, terms(3, 3), just_before).await, Grant::NotBefore(free));
    fixture.granted(RequestClass::Send, terms(3, 3), free).await;
    assert_eq!(fixture.take(RequestClass::Send, terms(3, 3), free).await, Grant::NotBefore(at(60_010)));
}

async fn reading_leaves_room_for_sends(fixture: Fixture) {
    let terms = terms(4, 2);
    fixture.granted(RequestClass::Bind, terms, at(0)).await;
    fixture.granted(RequestClass::Sweep, terms, at(10)).await;
    for class in [RequestClass::Bind, RequestClass::Sweep, RequestClass::Get] {
        assert_eq!(fixture.take(class, terms, at(20)).await, Grant::NotBefore(at(60_000)), "{class:?}");
    }
    fixture.granted(RequestClass::Send, terms, at(20)).await;
    fixture.granted(RequestClass::Send, terms, at(30)).await;
    assert_eq!(fixture.take(RequestClass::Send, terms, at(40)).await, Grant::NotBefore(at(60_000)));
    // At that time both the limit and the share have room for one; then the limit comes first again.
    fixture.granted(RequestClass::Get, terms, at(60_000)).await;
    assert_eq!(fixture.take(RequestClass::Get, terms, at(60_000)).await, Grant::NotBefore(at(60_010)));
}

async fn sends_leave_room_for_reading(fixture: Fixture) {
    let terms = BudgetTerms { floor: 2, ..terms(5, 3) };
    for taken in 0..3 {
        fixture.granted(RequestClass::Send, terms, at(taken)).await;
    }
    assert_eq!(fixture.take(RequestClass::Send, terms, at(10)).await, Grant::NotBefore(at(60_000)));
    // Reading has its floor; its earlier requests count toward it, so sends find the same room as before.
    fixture.granted(RequestClass::Sweep, terms, at(10)).await;
    assert_eq!(fixture.take(RequestClass::Send, terms, at(20)).await, Grant::NotBefore(at(60_000)));
    fixture.granted(RequestClass::Sweep, terms, at(20)).await;
    let waited_for = BudgetTerms { read_waits: true, ..terms };
    // Once a send has left, there is room for one; a read that may wait no longer comes first.
    assert_eq!(fixture.take(RequestClass::Send, waited_for, at(60_000)).await, Grant::NotBefore(at(60_001)));
    fixture.granted(RequestClass::Send, terms, at(60_000)).await;
}

async fn nothing_is_granted_where_nothing_is_allowed(fixture: Fixture) {
    let after_a_window = Grant::NotBefore(at(60_000));
    assert_eq!(fixture.take(RequestClass::Send, terms(0, 0), at(0)).await, after_a_window);
    assert_eq!(fixture.take(RequestClass::Get, terms(5, 0), at(0)).await, after_a_window);
}

async fn a_departure_only_moves_forward(fixture: Fixture) {
    let permit = fixture.granted(RequestClass::Send, terms(1, 1), at(100)).await;
    fixture.store.permits_departed(&[permit], at(50)).await.expect("answers");
    assert_eq!(fixture.take(RequestClass::Send, terms(1, 1), at(200)).await, Grant::NotBefore(at(60_100)));
    fixture.store.permits_departed(&[permit], at(300)).await.expect("answers");
    assert_eq!(fixture.take(RequestClass::Send, terms(1, 1), at(200)).await, Grant::NotBefore(at(60_300)));
    fixture.store.permits_departed(&[PermitId(i64::MAX)], at(300)).await.expect("an entry that is gone is no fault");
}

async fn use_is_told_by_class(fixture: Fixture) {
    let used = async |now| fixture.store.budget_use(WINDOW, now).await.expect("answers");
    assert_eq!(used(at(0)).await, BudgetUse::default());
    for (class, times) in [(RequestClass::Send, 3), (RequestClass::Bind, 1), (RequestClass::Get, 2)] {
        for taken in 0..times {
            fixture.granted(class, terms(100, 100), at(taken)).await;
        }
    }
    assert_eq!(used(at(5)).await, BudgetUse { by_class: [3, 1, 0, 2], frees_at: Some(at(60_000)) });
    assert_eq!(used(at(5)).await.used(), 6);
    assert_eq!(used(at(60_001)).await, BudgetUse { by_class: [1, 0, 0, 0], frees_at: Some(at(60_002)) });
}

async fn racing_takers_never_share_a_permit(fixture: Fixture) {
    let takers = (0..40).map(|_| fixture.take(RequestClass::Send, terms(25, 25), at(0)));
    let grants = futures_util::future::join_all(takers).await;
    let granted: std::collections::HashSet<_> =
        grants.iter().filter_map(|grant| if let Grant::Now(permit) = grant { Some(*permit) } else { None }).collect();
    assert_eq!(granted.len(), 25);
    assert_eq!(fixture.store.budget_use(WINDOW, at(0)).await.expect("answers").used(), 25);
}

async fn what_is_too_old_is_dropped_in_passing(fixture: Fixture) {
    for step in 0..10 {
        fixture.granted(RequestClass::Send, terms(1, 1), at(step * 60_000)).await;
    }
    let kept = fixture.store.number("SELECT COUNT(*) FROM budget").await.expect("counts");
    assert!(kept <= 3, "{kept} entries are kept");
}
