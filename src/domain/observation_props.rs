//! Property tests over histories, lag and lost responses: a conversation reads the same in whatever order looks come in.
//!
//! The model: a Fini conversation is a list of events that only grows. A response shows the events of its turn (or part of
//! them, or is lost); a sweep or a single read shows any prefix of the list, later ones not necessarily longer.

use std::collections::HashMap;

use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    Timestamp,
    conversation::{Standing, StatusPolicy},
    event::{FeedEvent, Origin, TextFormat},
    ids::{FiniEventId, MessageId, TurnKey},
    message::Role,
    observation::{Observation, OpenTurn, OpenTurns, Progress, SeenEvent, SnapshotFields, TurnResult, UnseenMessage},
    vendor::{FiniEvent, FiniKind, FiniRole},
};

/// One turn of the customer, and what happens around it.
#[derive(Clone, Debug)]
struct Scripted {
    text: &'static str,
    /// The kinds of events that Fini adds to it.
    replies: Vec<FiniKind>,
    /// The fate of its response.
    response: Response,
    /// The share (in eighths) of the conversation that each observation before the response shows, and each after it.
    before: Vec<usize>,
    after: Vec<usize>,
    /// Messages of a human agent after it.
    agents: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Response {
    Whole,
    OnlyTheMessage,
    WithoutTheMessage,
    Lost,
}

fn kinds() -> impl Strategy<Value = FiniKind> {
    select(vec![
        FiniKind::Message,
        FiniKind::Message,
        FiniKind::InternalNote,
        FiniKind::Debounce,
        FiniKind::NoReply,
        FiniKind::SilentEscalation,
        FiniKind::WidgetForm,
        FiniKind::Unknown("carousel".to_owned()),
    ])
}

fn turns() -> impl Strategy<Value = Vec<Scripted>> {
    let response = select(vec![
        Response::Whole,
        Response::Whole,
        Response::OnlyTheMessage,
        Response::WithoutTheMessage,
        Response::Lost,
    ]);
    let turn = (
        select(vec!["ok", "ok", "where is it?", "thanks"]),
        vec(kinds(), 0..4),
        response,
        vec(0..=8_usize, 0..3),
        vec(0..=8_usize, 0..3),
        0..2_usize,
    );
    let turn = turn.prop_map(|(text, replies, response, before, after, agents)| {
        // Every turn of the model ends by an event of Fini's; an observation does not decide that a reply is awaited in vain.
        let replies = if replies.iter().all(|kind| matches!(kind, FiniKind::InternalNote | FiniKind::Debounce)) {
            [replies, vec![FiniKind::Message]].concat()
        } else {
            replies
        };
        Scripted { text, replies, response, before, after, agents }
    });
    vec(turn, 1..6)
}

/// The bridge's side of the model: the record, which only looks change.
#[derive(Default)]
struct Recorded {
    policy: StatusPolicy,
    standing: Standing,
    open: Option<OpenTurn>,
    late: Vec<OpenTurn>,
    unseen_messages: Vec<UnseenMessage>,
    seen: HashMap<FiniEventId, SeenEvent>,
    feed: Vec<FeedEvent>,
    settled: Vec<TurnKey>,
}

impl Recorded {
    fn observe(&mut self, events: &[FiniEvent], snapshot: Option<&SnapshotFields>) {
        let observation =
            Observation { policy: &self.policy, snapshot, events, format: TextFormat::Plain, now: Timestamp::ZERO };
        let turns = OpenTurns { current: self.open.as_ref(), late: &self.late };
        let applied = observation.apply(&self.standing, turns, &self.unseen_messages, &self.seen);
        for (id, turn, mark) in applied.seen_events {
            self.unseen_messages.retain(|earlier| Some(earlier.key) != turn);
            self.seen.insert(id, mark);
        }
        self.standing = applied.standing;
        self.feed.extend(applied.feed.into_iter().map(|(event, _)| event));
        for (turn, (progress, result)) in self.late.iter_mut().zip(applied.late) {
            turn.progress = progress;
            if let TurnResult::Over(_) = result {
                self.settled.push(turn.key);
            }
        }
        self.late.retain(|turn| !self.settled.contains(&turn.key));
        if let Some(turn) = &mut self.open {
            turn.progress = applied.progress;
        }
        if let (TurnResult::Over(_), Some(turn)) = (applied.turn, &self.open) {
            self.settled.push(turn.key);
            if turn.progress.own_event.is_none() {
                self.unseen_messages.push(UnseenMessage {
                    key: turn.key,
                    role: turn.role,
                    text: turn.text.clone(),
                    sent_at: turn.sent_at,
                    arrived: true,
                });
            }
            self.open = None;
        }
    }

    /// Reads a share of the conversation, as a lagging List or a Get does.
    fn read(&mut self, history: &[FiniEvent], share: usize, merges: bool, newest: &str) {
        let events = &history[..history.len() * share / 8];
        let latest = events.iter().rfind(|event| event.role == FiniRole::User);
        let names_open_turn = merges && self.open.is_some() && latest.is_some_and(|event| event.id.as_str() == newest);
        self.observe(events, Some(&snapshot_fields(names_open_turn)));
    }
}

fn snapshot_fields(names_open_turn: bool) -> SnapshotFields {
    SnapshotFields { status: None, resolved: None, names_open_turn, as_of: Timestamp::ZERO, is_behind: false }
}

fn event(history: &[FiniEvent], role: FiniRole, kind: FiniKind, text: &str) -> FiniEvent {
    let number = history.len();
    let created_at = Timestamp::from_millis(i64::try_from(number).unwrap_or_default());
    FiniEvent { kind, ..FiniEvent::message(format!("e{number}"), created_at, role, text) }
}

/// Plays the script; returns the whole history, the ids of the customer's own messages, and the record in the end.
fn play(script: &[Scripted], merges: bool) -> (Vec<FiniEvent>, Vec<String>, Recorded) {
    let mut history: Vec<FiniEvent> = Vec::new();
    let mut own = Vec::new();
    let mut bridge = Recorded::default();
    for (number, turn) in (1..).zip(script) {
        let begins = history.len();
        bridge.open = Some(OpenTurn {
            key: TurnKey(number),
            message_id: MessageId::trusted(format!("m{number}")),
            role: Role::User,
            text: turn.text.to_owned(),
            sent_at: Timestamp::ZERO,
            is_answering: true,
            progress: Progress::default(),
        });
        history.push(event(&history, FiniRole::User, FiniKind::Message, turn.text));
        let newest = history[begins].id.to_string();
        own.push(newest.clone());
        for kind in &turn.replies {
            let secret = matches!(kind, FiniKind::InternalNote | FiniKind::Debounce);
            let text = if secret { "secret" } else { "reply" };
            history.push(event(&history, FiniRole::Bot, kind.clone(), text));
        }
        let ends = history.len();
        for share in &turn.before {
            bridge.read(&history, *share, merges, &newest);
        }
        // While its sender waits, a turn that is found by reading is settled by reading.
        if bridge.open.is_some() {
            match turn.response {
                Response::Whole => bridge.observe(&history[begins..ends], None),
                Response::OnlyTheMessage => bridge.observe(&history[begins..=begins], None),
                Response::WithoutTheMessage => bridge.observe(&history[begins + 1..ends], None),
                Response::Lost => {}
            }
        }
        for _ in 0..turn.agents {
            history.push(event(&history, FiniRole::Agent, FiniKind::Message, "a person"));
        }
        for share in &turn.after {
            bridge.read(&history, *share, merges, &newest);
        }
        // Nothing else is sent before the turn is settled; a read without lag ends that wait.
        if bridge.open.is_some() {
            bridge.read(&history, 8, merges, &newest);
        }
    }
    bridge.read(&history, 8, merges, "");
    (history, own, bridge)
}

fn shown(feed: &[FeedEvent]) -> Vec<String> {
    let id = |event: &FeedEvent| match event {
        FeedEvent::MessageCreated { message, origin: Origin::Fini, .. } => Some(message.id.clone()),
        FeedEvent::FormPresented { event_id, .. } | FeedEvent::Unrecognized { event_id, .. } => Some(event_id.clone()),
        _ => None,
    };
    feed.iter().filter_map(id).collect()
}

#[test]
fn an_attribute_without_an_event_settles_nothing() {
    let before = event(&[], FiniRole::User, FiniKind::Message, "an earlier one");
    let sent_at = before.created_at.plus(std::time::Duration::from_mins(10));
    let turn = OpenTurn {
        key: TurnKey(1),
        message_id: MessageId::trusted("m1"),
        role: Role::User,
        text: "where is it?".to_owned(),
        sent_at,
        is_answering: false,
        progress: Progress::default(),
    };
    let result = |events: &[FiniEvent]| {
        let (policy, snapshot) = (StatusPolicy::default(), snapshot_fields(true));
        let observation =
            Observation { policy: &policy, snapshot: Some(&snapshot), events, format: TextFormat::Plain, now: sent_at };
        let turns = OpenTurns { current: Some(&turn), late: &[] };
        observation.apply(&Standing::default(), turns, &[], &HashMap::new()).turn
    };
    assert_eq!(result(&[]), TurnResult::Nothing);
    assert_eq!(result(std::slice::from_ref(&before)), TurnResult::Nothing, "it was there before the send");
    let altered = event(std::slice::from_ref(&before), FiniRole::User, FiniKind::Message, "it?");
    let altered = FiniEvent { created_at: sent_at, ..altered };
    assert_eq!(result(&[before, altered]), TurnResult::Stored, "an altered text is told by key, role and time");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_event_is_shown_once_and_nothing_internal_whatever_the_looks(script in turns(), merges: bool) {
        let (history, own, bridge) = play(&script, merges);
        let hidden = |event: &FiniEvent| {
            let silent = [FiniKind::InternalNote, FiniKind::Debounce, FiniKind::NoReply, FiniKind::SilentEscalation];
            silent.contains(&event.kind) || own.contains(&event.id.to_string())
        };
        let due: Vec<String> =
            history.iter().filter(|event| !hidden(event)).map(|event| event.id.to_string()).collect();
        let mut found = shown(&bridge.feed);
        found.sort_by_key(|id| due.iter().position(|due| due == id));
        prop_assert_eq!(found, due);
    }

    #[test]
    fn every_turn_is_settled_once(script in turns(), merges: bool) {
        let (_, _, bridge) = play(&script, merges);
        let all: Vec<TurnKey> = (1..).zip(&script).map(|(number, _)| TurnKey(number)).collect();
        prop_assert_eq!(bridge.settled, all);
    }

    #[test]
    fn an_escalation_is_told_once_until_the_bot_has_it_back(script in turns(), merges: bool) {
        let (history, _, bridge) = play(&script, merges);
        let told = bridge.feed.iter().filter(|event| matches!(event, FeedEvent::Escalated { .. })).count();
        let silent = history.iter().filter(|event| event.kind == FiniKind::SilentEscalation).count();
        let human = history.iter().filter(|event| event.role == FiniRole::Agent).count();
        prop_assert!(told >= usize::from(silent > 0), "none told");
        prop_assert!(told <= silent + human, "{told} told of {silent} and {human}");
        // Only a word of the bot separates escalations: without one between them, all signs are one escalation.
        let bot = history.iter().filter(|event| event.role == FiniRole::Bot && event.kind != FiniKind::SilentEscalation);
        if bot.count() == 0 {
            prop_assert_eq!(told, usize::from(silent + human > 0));
        }
    }

    #[test]
    fn a_reply_is_never_ascribed_to_another_message(script in turns(), merges: bool) {
        let (history, own, bridge) = play(&script, merges);
        for event in &bridge.feed {
            let FeedEvent::MessageCreated { message, in_reply_to: Some(of), .. } = event else { continue };
            let at = history.iter().position(|event| event.id.as_str() == message.id);
            let asked = history[..at.unwrap_or_default()].iter().rfind(|event| event.role == FiniRole::User);
            let number = asked.and_then(|asked| own.iter().position(|id| *id == asked.id.to_string()));
            prop_assert_eq!(Some(of.to_string()), number.map(|number| format!("m{}", number + 1)));
        }
    }

    #[test]
    fn looking_again_changes_nothing(script in turns(), merges: bool) {
        let (history, _, mut bridge) = play(&script, merges);
        let before = bridge.feed.clone();
        for share in (0..=8).rev() {
            bridge.read(&history, share, merges, "");
        }
        prop_assert_eq!(bridge.feed, before);
    }
}

mod late {
    //! Messages whose replies come after later messages were sent.

    use super::*;

    /// One message: the number of later ones before its reply comes, true if replies of earlier ones come before it, and the
    /// shares of the conversation that are read before and after its response.
    type Sent = (usize, bool, Vec<usize>, Vec<usize>);

    fn sent() -> impl Strategy<Value = Vec<Sent>> {
        vec((0..3_usize, any::<bool>(), vec(0..=8_usize, 0..3), vec(0..=8_usize, 0..3)), 1..7)
    }

    fn turn(number: i64) -> OpenTurn {
        OpenTurn {
            key: TurnKey(number),
            message_id: MessageId::trusted(format!("m{number}")),
            role: Role::User,
            text: format!("message {number}"),
            sent_at: Timestamp::ZERO,
            is_answering: true,
            progress: Progress::default(),
        }
    }

    fn reply(history: &mut Vec<FiniEvent>, number: usize) {
        history.push(event(history, FiniRole::Bot, FiniKind::Message, &format!("reply {number}")));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        /// Lets Fini answer in the order in which it was asked, except for messages that it answers at once.
        #[test]
        fn each_reply_is_told_of_its_own_message(script in sent()) {
            let mut bridge = Recorded::default();
            let mut history: Vec<FiniEvent> = Vec::new();
            let mut owed: Vec<(usize, usize)> = Vec::new();
            for (number, (delay, older_first, before, after)) in script.iter().enumerate() {
                if let Some(open) = bridge.open.take() {
                    bridge.late.push(open);
                }
                bridge.open = Some(turn(i64::try_from(number).unwrap_or_default()));
                let begins = history.len();
                history.push(event(&history, FiniRole::User, FiniKind::Message, &format!("message {number}")));
                let mut named = vec![history[begins].clone()];
                let due = owed.iter().take_while(|(_, due)| *due <= number).count();
                let due: Vec<_> = owed.drain(..due).collect();
                if *older_first {
                    for (number, _) in &due {
                        reply(&mut history, *number);
                    }
                }
                if *delay == 0 {
                    reply(&mut history, number);
                    named.extend(history.last().cloned());
                } else {
                    owed.push((number, number + delay));
                }
                if !older_first {
                    for (number, _) in &due {
                        reply(&mut history, *number);
                    }
                }
                for share in before {
                    bridge.read(&history, *share, false, "");
                }
                bridge.observe(&named, None);
                if let Some(open) = &mut bridge.open {
                    open.is_answering = false;
                }
                for share in after {
                    bridge.read(&history, *share, false, "");
                }
            }
            for (number, _) in &owed {
                reply(&mut history, *number);
            }
            bridge.read(&history, 8, false, "");
            for number in 0..script.len() {
                let text = format!("reply {number}");
                let told: Vec<_> = bridge.feed.iter().filter_map(|event| match event {
                    FeedEvent::MessageCreated { message, in_reply_to, .. } if message.text == text => {
                        Some(in_reply_to.as_ref().map(ToString::to_string))
                    }
                    _ => None,
                }).collect();
                prop_assert_eq!(told, [Some(format!("m{number}"))]);
            }
            bridge.settled.sort();
            let all: Vec<TurnKey> = (0..script.len()).map(|number| TurnKey(i64::try_from(number).unwrap_or_default())).collect();
            prop_assert_eq!(bridge.settled, all);
        }
    }

    #[test]
    fn what_follows_a_message_whose_response_was_lost_is_its_reply_and_later_ones_go_to_those_that_wait() {
        let silent = OpenTurn {
            is_answering: false,
            progress: Progress { own_event: Some(FiniEventId::trusted("e0")), ..Progress::default() },
            ..turn(0)
        };
        let lost = OpenTurn { is_answering: false, ..turn(1) };
        let mut bridge = Recorded { open: Some(lost), late: vec![silent], ..Recorded::default() };
        let mut history: Vec<FiniEvent> = Vec::new();
        for text in ["message 0", "message 1"] {
            history.push(event(&history, FiniRole::User, FiniKind::Message, text));
        }
        bridge.seen.insert(history[0].id.clone(), SeenEvent::default());
        reply(&mut history, 1);
        bridge.read(&history, 8, false, "");
        assert_eq!(bridge.settled, [TurnKey(1)]);
        reply(&mut history, 0);
        bridge.read(&history, 8, false, "");
        assert_eq!(bridge.settled, [TurnKey(1), TurnKey(0)]);
    }

    /// Returns the outcome that a whole reading gives a turn whose message stands among `events`, in order.
    fn outcome(events: &[(FiniRole, FiniKind, i64)]) -> (TurnResult, Option<String>) {
        let mut bridge = Recorded { open: Some(OpenTurn { is_answering: false, ..turn(1) }), ..Recorded::default() };
        let mut history: Vec<FiniEvent> = Vec::new();
        for (role, kind, at) in events {
            let event = event(&history, role.clone(), kind.clone(), "message 1");
            history.push(FiniEvent { created_at: Timestamp::from_millis(*at), ..event });
        }
        bridge.read(&history, 8, false, "");
        let told = bridge.feed.iter().find_map(|event| match event {
            FeedEvent::MessageCreated { in_reply_to, .. } => in_reply_to.as_ref().map(ToString::to_string),
            _ => None,
        });
        let ended = bridge.settled.contains(&TurnKey(1));
        (if ended { TurnResult::Over(super::super::turn::Outcome::Answered) } else { TurnResult::Stored }, told)
    }

    #[test]
    fn a_reply_whose_time_is_that_of_its_message_or_just_before_it_ends_the_turn() {
        let user = |at| (FiniRole::User, FiniKind::Message, at);
        let bot = |at| (FiniRole::Bot, FiniKind::Message, at);
        let answered = (TurnResult::Over(super::super::turn::Outcome::Answered), Some("m1".to_owned()));
        for events in [[user(5_000), bot(5_000)], [bot(5_000), user(5_000)], [bot(3_000), user(5_000)]] {
            assert_eq!(outcome(&events), answered, "{events:?}");
        }
        assert_eq!(outcome(&[bot(2_999), user(5_000)]), (TurnResult::Stored, None), "it was there before");
    }
}

mod twins {
    //! Two messages with the same text, of which the earlier one's outcome was never known.

    use super::*;

    fn turn(sent_at: i64) -> OpenTurn {
        OpenTurn {
            key: TurnKey(2),
            message_id: MessageId::trusted("m2"),
            role: Role::User,
            text: "ok".to_owned(),
            sent_at: Timestamp::from_millis(sent_at * 1000),
            is_answering: false,
            progress: Progress::default(),
        }
    }

    fn observe(
        sent_at: i64,
        arrived: bool,
        shown_at: &[i64],
        names_open_turn: bool,
    ) -> (TurnResult, Vec<(String, i64)>) {
        let earlier = UnseenMessage {
            key: TurnKey(1),
            role: Role::User,
            text: "ok".to_owned(),
            sent_at: Timestamp::ZERO,
            arrived,
        };
        let mut events: Vec<FiniEvent> = Vec::new();
        for at in shown_at {
            let event = event(&events, FiniRole::User, FiniKind::Message, "ok");
            events.push(FiniEvent { created_at: Timestamp::from_millis(at * 1000), ..event });
        }
        let snapshot = snapshot_fields(names_open_turn);
        let policy = StatusPolicy::default();
        let observation = Observation {
            policy: &policy,
            snapshot: Some(&snapshot),
            events: &events,
            format: TextFormat::Plain,
            now: Timestamp::ZERO,
        };
        let turn = turn(sent_at);
        let turns = OpenTurns { current: Some(&turn), late: &[] };
        let applied = observation.apply(&Standing::default(), turns, &[earlier], &HashMap::new());
        let seen_events =
            applied.seen_events.iter().map(|(id, turn, _)| (id.to_string(), turn.map_or(0, |turn| turn.0)));
        (applied.turn, seen_events.collect())
    }

    fn mark(id: &str, turn: i64) -> (String, i64) {
        (id.to_owned(), turn)
    }

    #[test]
    fn the_one_in_whose_time_the_event_was_made_owns_it() {
        assert_eq!(observe(600, false, &[5], false), (TurnResult::Nothing, vec![mark("e0", 1)]));
        assert_eq!(observe(600, false, &[597], false), (TurnResult::Stored, vec![mark("e0", 2)]));
        assert_eq!(observe(600, false, &[5, 601], false).1, [mark("e0", 1), mark("e1", 2)]);
    }

    #[test]
    fn what_nobody_can_tell_apart_stays_unseen() {
        assert_eq!(observe(20, false, &[5], false), (TurnResult::Doubtful, vec![]));
        assert_eq!(observe(20, false, &[5, 21], false).1, [mark("e0", 1), mark("e1", 2)], "both are there");
        assert_eq!(observe(20, false, &[5], true), (TurnResult::Stored, vec![mark("e0", 2)]), "Fini says whose it is");
    }

    #[test]
    fn what_certainly_arrived_comes_first() {
        assert_eq!(observe(20, true, &[21], false), (TurnResult::Nothing, vec![mark("e0", 1)]));
    }
}
