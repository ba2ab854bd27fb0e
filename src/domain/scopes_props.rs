//! Tests whom trouble with Fini holds back, and whom never.

use proptest::prelude::*;

use super::*;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A world whose time goes on with every request.
struct World {
    scopes: Scopes,
    now: i64,
}

impl World {
    fn new(bots: usize, is_one_key: bool) -> Self {
        Self { scopes: Scopes::new(bots, is_one_key), now: 1_000 }
    }

    fn ends(&mut self, about: About, outcome: Outcome) -> Vec<Change> {
        let began_at = at(self.now);
        self.now += 10;
        self.scopes.learn(about, outcome, began_at, at(self.now), 1.0)
    }

    fn send(&mut self, bot: usize, conversation: i64, outcome: Outcome) -> Vec<Change> {
        self.ends(About::Message(bot, ConversationKey(conversation)), outcome)
    }

    fn sends(&self, bot: usize) -> State<Trouble> {
        self.scopes.sends(bot, at(self.now))
    }

    /// Returns the stricter of what the two ways of reading meet.
    fn reads(&self) -> State<Trouble> {
        widest([Way::List, Way::Get].map(|way| self.scopes.reads(way, at(self.now))))
    }

    fn passes(&self, bot: usize) -> bool {
        self.sends(bot) == State::Closed
    }

    fn wait(&mut self, millis: i64) {
        self.now += millis;
    }
}

const FAILED: Outcome = Outcome::Failed(None);
const REFUSED: Outcome = Outcome::Refused(403);

#[test]
fn a_conversation_that_fails_for_ever_holds_back_nobody() {
    let mut world = World::new(1, true);
    for _ in 0..50 {
        world.send(0, 1, FAILED);
        assert!(world.passes(0));
    }
}

#[test]
fn a_bot_that_only_fails_is_left_alone_and_no_other() {
    let mut world = World::new(2, true);
    for conversation in 0..3 {
        assert!(world.passes(0));
        world.send(0, conversation, FAILED);
    }
    assert!(matches!(world.sends(0), State::Open { reason: Trouble::Failing, .. }));
    assert!(world.passes(1));
    world.wait(1_000);
    assert!(matches!(world.sends(0), State::HalfOpen { .. }));
    world.scopes.probe_send(0, at(world.now + 60_000));
    assert!(matches!(world.sends(0), State::Open { .. }), "one goes to find out");
    // One of those that failed before: another one is to find out.
    world.send(0, 2, FAILED);
    assert!(matches!(world.sends(0), State::HalfOpen { .. }));
    world.send(0, 3, FAILED);
    let State::Open { until, .. } = world.sends(0) else { panic!("the probe failed") };
    assert_eq!(until.since(at(world.now)), Duration::from_secs(2), "for longer");
    world.wait(2_000);
    world.send(0, 4, Outcome::Answered);
    assert!(world.passes(0));
    assert_eq!(world.scopes.succeeded_at(0), Some(at(world.now)));
}

#[test]
fn a_bot_that_asks_for_a_pause_gets_it() {
    let mut world = World::new(1, true);
    for conversation in 0..3 {
        world.send(0, conversation, Outcome::Failed(Some(Duration::from_secs(45))));
    }
    let State::Open { until, .. } = world.sends(0) else { panic!("open") };
    assert_eq!(until.since(at(world.now)), Duration::from_secs(45));
}

#[test]
fn a_refused_bot_says_nothing_of_the_key_and_two_do() {
    for is_one_key in [true, false] {
        let mut world = World::new(3, is_one_key);
        world.send(0, 1, REFUSED);
        assert!(!world.passes(0) && world.passes(1) && world.passes(2));
        assert_eq!(world.scopes.key_trouble(Side::Write), None);
        world.send(1, 2, REFUSED);
        assert_eq!(world.scopes.key_trouble(Side::Write), Some(Trouble::Refused(403)));
        assert_eq!(world.scopes.key_trouble(Side::Read), None);
        assert!(!world.passes(2));
        // Reading goes on, so the key lacks a scope: only a send finds out.
        world.wait(2_000);
        assert!(matches!(world.sends(2), State::HalfOpen { .. }));
        world.send(2, 3, Outcome::Answered);
        assert_eq!(world.scopes.key_trouble(Side::Write), None);
        assert!(world.passes(2) && world.scopes.was_accepted(Side::Write));
        assert!(matches!(world.sends(0), State::HalfOpen { .. }), "it may have been the key's fault");
    }
}

#[test]
fn a_single_bot_is_doubted_before_the_key_that_reads_accept() {
    let mut world = World::new(1, true);
    world.ends(About::Workspace, Outcome::Answered);
    world.send(0, 1, REFUSED);
    assert_eq!(world.scopes.key_trouble(Side::Write), None);
    world.ends(About::Workspace, Outcome::Refused(401));
    assert_eq!(world.scopes.key_trouble(Side::Write), Some(Trouble::Refused(401)));
    assert_eq!(world.scopes.key_trouble(Side::Read), Some(Trouble::Refused(401)));

    let mut two_keys = World::new(1, false);
    two_keys.send(0, 1, REFUSED);
    assert_eq!(two_keys.scopes.key_trouble(Side::Write), Some(Trouble::Refused(403)), "nothing else can be asked");
}

#[test]
fn a_refused_key_is_asked_about_by_a_read_and_all_go_on_at_once() {
    let mut world = World::new(2, true);
    world.send(0, 1, REFUSED);
    world.ends(About::Workspace, REFUSED);
    assert!(!world.passes(0) && !world.passes(1));
    let probe_at = world.scopes.next_probe_at().expect("it is asked about");
    world.now = probe_at.as_millis();
    assert!(matches!(world.sends(1), State::Open { .. }), "sends wait for what the read tells");
    world.scopes.probe(at(world.now + 30_000), at(world.now));
    assert!(world.scopes.next_probe_at().expect("still open") > at(world.now), "once");
    world.ends(About::Workspace, Outcome::Answered);
    assert!(world.passes(1));
    assert!(matches!(world.sends(0), State::HalfOpen { .. }));
    assert_eq!(world.scopes.next_probe_at(), None);
}

#[test]
fn the_key_is_asked_about_at_the_start_until_something_is_known() {
    let mut world = World::new(1, true);
    assert_eq!(world.scopes.next_probe_at(), Some(Timestamp::ZERO));
    world.scopes.probe(at(world.now + 30_000), at(world.now));
    world.ends(About::Workspace, FAILED);
    assert_eq!(world.scopes.next_probe_at(), Some(at(31_000)));
    world.ends(About::Workspace, Outcome::Answered);
    assert_eq!(world.scopes.next_probe_at(), None);
    assert!(world.scopes.was_accepted(Side::Read));
}

#[test]
fn each_way_of_reading_fails_for_itself() {
    for (about, fails, works) in [(About::Workspace, Way::List, Way::Get), (About::Conversation, Way::Get, Way::List)] {
        let mut world = World::new(1, true);
        for _ in 0..5 {
            world.ends(about, FAILED);
        }
        let [failing, working] = [fails, works].map(|way| world.scopes.reads(way, at(world.now)));
        assert!(matches!(failing, State::Open { .. }), "{about:?}");
        assert_eq!(working, State::Closed, "{about:?}");
        assert_eq!(world.scopes.unread_since(works), None);
    }
}

#[test]
fn a_pause_for_the_limit_ends_by_time() {
    let mut world = World::new(1, true);
    world.send(0, 1, Outcome::Throttled(None));
    assert!(!world.passes(0) && world.reads() != State::Closed);
    world.wait(8_000);
    assert!(world.passes(0), "nobody waits for one slow reply");
    assert_eq!(world.reads(), State::Closed);
    world.send(0, 1, Outcome::Throttled(None));
    world.wait(15_900);
    assert!(!world.passes(0), "for longer each time");
    world.wait(100);
    assert!(world.passes(0));
    world.send(0, 1, Outcome::Throttled(Some(Duration::from_hours(9))));
    world.wait(300_000);
    assert!(world.passes(0), "nobody can ask for more than five minutes");
}

#[test]
fn a_vendor_that_cannot_be_reached_is_left_alone_and_found_by_a_read() {
    let mut world = World::new(2, true);
    for conversation in 0..5 {
        assert!(world.passes(1));
        world.send(0, conversation, Outcome::NotSent);
    }
    assert!(!world.passes(1) && world.reads() != State::Closed);
    world.wait(1_000);
    assert_eq!(world.scopes.next_probe_at().map(|probe_at| probe_at <= at(world.now)), Some(true));
    world.ends(About::Workspace, FAILED);
    assert!(world.passes(0) && world.passes(1), "somebody is there");
}

#[test]
fn a_refused_read_of_one_conversation_says_nothing_of_the_key() {
    let mut world = World::new(1, true);
    for _ in 0..20 {
        world.ends(About::Conversation, REFUSED);
        world.ends(About::Deletion, REFUSED);
    }
    assert!(world.scopes.open(at(world.now)).is_empty());
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(FAILED),
        1 => (0_u64..1_000).prop_map(|secs| Outcome::Failed(Some(Duration::from_secs(secs)))),
        2 => Just(REFUSED),
        2 => Just(Outcome::Answered),
        1 => Just(Outcome::Own),
    ]
}

fn any_trouble() -> impl Strategy<Value = Outcome> {
    prop_oneof![5 => any_outcome(), 1 => Just(Outcome::NotSent), 1 => Just(Outcome::Throttled(None))]
}

proptest! {
    /// Checks that no answers of Fini's about one bot, for however long, delay the others for a moment.
    #[test]
    fn trouble_of_one_bot_never_holds_back_another(
        steps in prop::collection::vec((any_outcome(), 0_i64..6, 0_i64..5_000), 0..80), is_one_key in any::<bool>()
    ) {
        let mut world = World::new(3, is_one_key);
        for (outcome, conversation, wait) in steps {
            world.send(0, conversation, outcome);
            prop_assert!(world.passes(1) && world.passes(2));
            prop_assert_eq!(world.scopes.key_trouble(Side::Write), None);
            prop_assert_eq!(world.reads(), State::Closed);
            world.wait(wait);
        }
    }

    /// Checks that five minutes later, whatever happened, everything passes or one request may go to find out.
    #[test]
    fn every_pause_has_an_end(
        steps in prop::collection::vec((any_trouble(), 0_usize..6, 0_i64..6, 0_i64..5_000), 0..80), is_one_key in any::<bool>()
    ) {
        let mut world = World::new(2, is_one_key);
        for (outcome, about, conversation, wait) in steps {
            let about = match about {
                0 | 1 => About::Message(about, ConversationKey(conversation)),
                2 => About::Conversation,
                3 => About::Deletion,
                _ => About::Workspace,
            };
            world.ends(about, outcome);
            world.wait(wait);
        }
        world.wait(300_000);
        let now = at(world.now);
        let probed = world.scopes.next_probe_at().is_some_and(|at| at <= now);
        for state in [world.sends(0), world.sends(1), world.reads(), world.scopes.deletions(now)] {
            prop_assert!(probed || !matches!(state, State::Open { .. }), "{:?}", state);
        }
        // And when all goes well again, all is well after a probe each.
        for _ in 0..3 {
            world.ends(About::Workspace, Outcome::Answered);
            world.ends(About::Conversation, Outcome::Answered);
            world.send(0, 1, Outcome::Answered);
            world.send(1, 2, Outcome::Answered);
        }
        prop_assert!(world.scopes.open(at(world.now)).is_empty(), "{:?}", world.scopes.open(at(world.now)));
    }
}
