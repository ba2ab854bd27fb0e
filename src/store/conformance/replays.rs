//! Replays by range: delivered callbacks are made due again, once, at a pace, whatever happens in between.

use super::*;
use crate::domain::{
    ids::ReplayId,
    job::{Act, JobState},
    log::TypeFilter,
};

suite!(
    a_range_is_sent_again_in_order_and_counted,
    what_is_delivered_later_and_what_does_not_match_is_left_alone,
    a_replay_goes_on_where_it_was_after_a_crash_and_repeats_nothing,
    a_replay_is_held_goes_on_and_is_ended,
    a_replay_keeps_its_pace,
);

impl Fixture {
    /// Makes a conversation with so many delivered callbacks.
    async fn told(&self, conversation: &str, callbacks: usize) -> ConversationKey {
        let key = self.owing(conversation, callbacks).await;
        self.take_all(at(1)).await;
        key
    }

    /// Delivers all that is owed; returns the sequences.
    async fn take_all(&self, now: Timestamp) -> Vec<i64> {
        let mut sequences = Vec::new();
        for head in self.claim(now, 100).await {
            sequences.extend(self.drain(head, now).await);
        }
        sequences
    }

    async fn begin(&self, until: Timestamp, per_second: u32) -> ReplayId {
        let id = ReplayId::trusted(format!("rpl_{}", until.as_millis()));
        let range = range(until);
        let replay = Replay {
            id: id.clone(),
            matched: self.store.replay_matches(&range).await.expect("counts"),
            range,
            per_second,
            state: JobState::Running,
            due: 0,
            sent: 0,
            failed: 0,
            created_at: at(10),
            ended_at: None,
        };
        self.store.begin_replay(&replay).await.expect("begins");
        id
    }

    async fn replay(&self, id: &ReplayId) -> Replay {
        self.store.replay(id).await.expect("reads").expect("is there")
    }

    /// Does due pieces until nothing is due at that time.
    async fn step_at(&self, now: Timestamp) {
        while self.store.step_replays(now).await.expect("does a piece").is_some_and(|due| due <= now) {}
    }
}

fn range(until: Timestamp) -> ReplayRange {
    ReplayRange { frontend: web(), destination: None, since: at(0), until, types: TypeFilter::default() }
}

async fn a_range_is_sent_again_in_order_and_counted(fixture: Fixture) {
    fixture.told("c-1", 3).await;
    let before: Vec<_> = fixture.all(DeliveryState::Delivered).await.into_iter().map(|one| one.event_id).collect();
    let id = fixture.begin(at(9), 1_000).await;
    assert_eq!(fixture.replay(&id).await.matched, 3);
    fixture.step_at(at(20)).await;
    let under_way = fixture.replay(&id).await;
    assert_eq!((under_way.state, under_way.due, under_way.sent), (JobState::Draining, 3, 0));
    assert_eq!(fixture.take_all(at(21)).await, [2, 3, 4]);
    let after: Vec<_> = fixture.all(DeliveryState::Delivered).await.into_iter().map(|one| one.event_id).collect();
    assert_eq!(before, after, "the old ids");
    fixture.step_at(at(5_000)).await;
    let over = fixture.replay(&id).await;
    assert_eq!((over.state, over.sent, over.failed), (JobState::Done, 3, 0));
    assert_eq!(fixture.store.step_replays(at(6_000)).await.expect("answers"), None);
}

async fn what_is_delivered_later_and_what_does_not_match_is_left_alone(fixture: Fixture) {
    fixture.told("c-1", 1).await;
    let late = fixture.post("late", "m", at(50)).await;
    fixture.store.owe(late, at(50)).await.expect("files");
    fixture.take_all(at(50)).await;
    let matches = async |change: fn(&mut ReplayRange)| {
        let mut range = range(at(40));
        change(&mut range);
        fixture.store.replay_matches(&range).await.expect("counts")
    };
    assert_eq!(matches(|_| {}).await, 1);
    assert_eq!(matches(|range| range.until = at(60)).await, 2);
    assert_eq!(matches(|range| range.since = at(1)).await, 0);
    assert_eq!(matches(|range| range.destination = Some("main".to_owned())).await, 1);
    assert_eq!(matches(|range| range.destination = Some("desk".to_owned())).await, 0);
    assert_eq!(matches(|range| range.frontend = FrontendName::trusted("quiet")).await, 0);
    assert_eq!(matches(|range| range.types.add("turn.*").expect("known")).await, 0);
    assert_eq!(matches(|range| range.types.add("message.created").expect("known")).await, 1);
    let id = fixture.begin(at(60), 1_000).await;
    // A callback delivered meanwhile is not sent again.
    let later = fixture.post("later", "m", at(15)).await;
    fixture.store.owe(later, at(15)).await.expect("files");
    fixture.take_all(at(60)).await;
    fixture.step_at(at(70)).await;
    assert_eq!(fixture.take_all(at(70)).await.len(), 2);
    fixture.step_at(at(5_000)).await;
    assert_eq!(fixture.replay(&id).await.sent, 2);
}

async fn a_replay_goes_on_where_it_was_after_a_crash_and_repeats_nothing(fixture: Fixture) {
    fixture.told("c-1", 6).await;
    let id = fixture.begin(at(9), 10).await;
    fixture.store.step_replays(at(20)).await.expect("does a piece");
    let first = fixture.take_all(at(21)).await;
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.replay(&id).await.due, first.len() as u64);
    let mut all = first;
    for second in 1..=9 {
        fixture.step_at(at(second * 1_000)).await;
        all.extend(fixture.take_all(at(second * 1_000)).await);
    }
    assert_eq!(all, [2, 3, 4, 5, 6, 7], "each once, in order");
    assert_eq!(fixture.replay(&id).await.state, JobState::Done);
}

async fn a_replay_is_held_goes_on_and_is_ended(fixture: Fixture) {
    fixture.told("c-1", 8).await;
    let id = fixture.begin(at(9), 5).await;
    let steer =
        async |act, now| fixture.store.steer_replay(&id, act, now).await.expect("steers").expect("is there").state;
    fixture.store.step_replays(at(20)).await.expect("does a piece");
    assert_eq!(steer(Act::Pause, at(21)).await, JobState::Paused);
    assert_eq!(fixture.store.step_replays(at(60_000)).await.expect("answers"), None);
    assert_eq!(fixture.take_all(at(60_000)).await.len(), 1);
    assert_eq!(steer(Act::Resume, at(60_001)).await, JobState::Running);
    fixture.store.step_replays(at(60_001)).await.expect("does a piece");
    assert_eq!(steer(Act::Cancel, at(60_002)).await, JobState::Cancelled);
    assert_eq!(fixture.take_all(at(60_003)).await.len(), 1, "what was made due is still sent");
    assert_eq!(steer(Act::Resume, at(60_004)).await, JobState::Cancelled);
    assert_eq!(fixture.store.step_replays(at(99_999)).await.expect("answers"), None);
    let nobody = ReplayId::trusted("rpl_nobody");
    assert_eq!(fixture.store.steer_replay(&nobody, Act::Pause, at(1)).await.expect("answers"), None);
}

async fn a_replay_keeps_its_pace(fixture: Fixture) {
    fixture.told("c-1", 40).await;
    fixture.begin(at(9), 10).await;
    for second in 1..=3_i64 {
        for millis in (0..1_000).step_by(50) {
            fixture.step_at(at(10 + (second - 1) * 1_000 + millis)).await;
        }
        let due = fixture.all(DeliveryState::Pending).await.len();
        let most = usize::try_from(second).expect("few") * 10;
        assert!((most - 2..=most).contains(&due), "{due} after {second} s");
    }
}
