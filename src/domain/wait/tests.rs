use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;
use crate::domain::fair;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn room(limit: u32, sends: &[i64], reads: &[i64]) -> Room {
    Room {
        limit,
        window: Duration::from_secs(60),
        floor: limit / 10,
        sends: sends.iter().copied().map(at).collect(),
        reads: reads.iter().copied().map(at).collect(),
    }
}

fn alone(room: &Room, line: Line, now: i64) -> Option<i64> {
    expected_send(room, &Backlog::default(), line, at(now)).map(Timestamp::as_millis)
}

#[test]
fn where_there_is_room_a_message_is_sent_at_once() {
    assert_eq!(alone(&room(100, &[], &[]), Line::default(), 1_000), None);
    assert_eq!(alone(&room(10, &[1, 2, 3, 4, 5, 6, 7, 8], &[]), Line::default(), 1_000), None);
}

#[test]
fn a_full_window_lets_the_next_through_when_its_oldest_request_leaves() {
    let full = room(10, &[0, 100, 200, 300, 400, 500, 600, 700, 800], &[]);
    assert_eq!(alone(&full, Line::default(), 1_000), Some(60_000));
    // Reads beyond the floor take room until they leave the window.
    let read = room(10, &[500, 600, 700], &[0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(alone(&read, Line::default(), 1_000), Some(60_000));
    assert_eq!(alone(&room(1, &[0], &[]), Line::default(), 1_000), Some(60_000));
}

#[test]
fn the_next_message_of_a_conversation_goes_when_the_reply_is_there() {
    let wide = room(100, &[0], &[]);
    let line = Line { busy_since: Some(at(1_000)), before: 0, reply: Duration::from_secs(6) };
    assert_eq!(alone(&wide, line, 2_000), Some(7_000));
    assert_eq!(alone(&wide, Line { before: 2, ..line }, 2_000), Some(19_000));
    assert_eq!(alone(&wide, line, 11_000), Some(16_000), "a reply that is late takes half as long again");
}

#[test]
fn each_other_person_comes_once_before_each_message() {
    let backlog = Backlog { same_person: 0, people: vec![50, 1, 2], frontends: vec![] };
    assert_eq!([0, 1, 2, 9].map(|own| backlog.ahead(own)), [3, 6, 8, 22]);
    let shared = Backlog { frontends: vec![100], ..backlog };
    assert_eq!(shared.ahead(0), 3 + 4);
}

proptest! {
    #[test]
    fn more_before_it_never_brings_it_forward(
        sends in prop::collection::vec(0_i64..60_000, 0..30), reads in prop::collection::vec(0_i64..60_000, 0..30),
        limit in 1_u32..40, ahead in 0_u64..500,
    ) {
        let (mut sends, mut reads) = (sends, reads);
        sends.sort_unstable();
        reads.sort_unstable();
        let room = room(limit, &sends, &reads);
        let (one, next) = (room.sends_at(ahead, at(60_000)), room.sends_at(ahead + 1, at(60_000)));
        prop_assert!(one >= at(60_000) && next >= one);
        // No more than the limit leaves any window.
        let far = room.sends_at(ahead + u64::from(limit), at(60_000));
        prop_assert!(far.since(one) >= Duration::from_secs(60));
        // And the budget is used: a window lets its sends through.
        let most = u64::try_from(room.sends_of_a_window()).expect("small");
        let windows = u32::try_from(ahead / most).expect("small") + 2;
        prop_assert!(one.since(at(60_000)) <= Duration::from_secs(60) * windows);
    }
}

/// One message of the rush.
struct Message {
    person: u32,
    written: i64,
}

/// The times of a message: its expected send, and its writing.
#[derive(Clone, Copy)]
struct Told {
    expected: Option<i64>,
    written: i64,
}

/// Runs a small bridge in virtual time: the budget of a frontend, its people in their round, one message under way in each
/// conversation, and reading that keeps its floor. Returns for each message the times of its expected send, of its writing
/// and of its send.
fn rush(mut messages: Vec<Message>, reply: impl Fn(usize) -> i64) -> Vec<(Told, i64)> {
    const LIMIT: u32 = 100;
    const WINDOW: i64 = 60_400;
    const USUAL: Duration = Duration::from_secs(6);
    messages.sort_by_key(|message| message.written);
    let (mut sends, mut reads): (Vec<i64>, Vec<i64>) = (Vec::new(), Vec::new());
    let mut queues: BTreeMap<u32, VecDeque<Told>> = BTreeMap::new();
    let mut busy: HashMap<u32, (i64, i64)> = HashMap::new();
    let (mut served, mut done) = (HashMap::new(), Vec::new());
    let (mut next, mut now) = (0, 0);
    while done.len() < messages.len() {
        // Reading has its floor, evenly.
        if reads.last().is_none_or(|read| now - read >= WINDOW / i64::from(LIMIT / 10)) {
            reads.push(now);
        }
        sends.retain(|sent| sent + WINDOW > now);
        reads.retain(|read| read + WINDOW > now);
        busy.retain(|_, (_, until)| *until > now);
        while let Some(message) = messages.get(next).filter(|message| message.written <= now) {
            let room = Room {
                limit: LIMIT,
                window: Duration::from_millis(60_400),
                floor: LIMIT / 10,
                sends: sends.iter().copied().map(at).collect(),
                reads: reads.iter().copied().map(at).collect(),
            };
            let others = queues.iter().filter(|(person, _)| **person != message.person);
            let people = others.map(|(_, queue)| u64::try_from(queue.len()).expect("small")).collect();
            let own = queues.entry(message.person).or_default();
            let line = Line {
                busy_since: busy.get(&message.person).map(|(since, _)| at(*since)),
                before: u64::try_from(own.len()).expect("small"),
                reply: USUAL,
            };
            let backlog = Backlog { people, ..Backlog::default() };
            let expected = expected_send(&room, &backlog, line, at(now)).map(Timestamp::as_millis);
            own.push_back(Told { expected, written: message.written });
            next += 1;
        }
        let free: Vec<(u32, Timestamp)> = queues
            .iter()
            .filter(|(person, _)| !busy.contains_key(*person))
            .filter_map(|(person, queue)| Some((*person, at(queue.front()?.written))))
            .collect();
        let kept = reads.len().max(usize::try_from(LIMIT / 10).expect("small"));
        if let Some((number, _)) = fair::order(&free, &served, at(now)).first()
            && sends.len() + kept < usize::try_from(LIMIT).expect("small")
        {
            let person = free[*number].0;
            let told = queues.get_mut(&person).and_then(VecDeque::pop_front).expect("it waits");
            sends.push(now);
            served.insert(person, at(now));
            busy.insert(person, (now, now + reply(done.len())));
            done.push((told, now));
        } else {
            now += 50;
        }
    }
    done
}

/// Checks the error of the estimates for 150 messages of 50 people in twenty seconds, against Fini's documented limit.
#[test]
fn in_a_rush_the_estimates_are_good() {
    let mut seed = 17_u64;
    let mut chance = move |most: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from((seed >> 33) % most).expect("small")
    };
    let messages = (0..150).map(|number| Message { person: number % 50, written: chance(20_000) }).collect();
    let replies: Vec<i64> = (0..150).map(|_| 3_000 + chance(6_000)).collect();
    let done = rush(messages, |number| replies[number]);
    let mut errors: Vec<f64> = Vec::new();
    let mut surprised = 0;
    for (told, sent) in &done {
        let waited = f64::from(i32::try_from(sent - told.written).expect("small"));
        match told.expected {
            Some(expected) => {
                let expected = f64::from(i32::try_from(expected - told.written).expect("small"));
                errors.push((expected - waited).abs() / waited.max(1.0));
            }
            None => surprised += i32::from(waited > 2_000.0),
        }
    }
    errors.sort_by(f64::total_cmp);
    let median = errors[errors.len() / 2];
    let p90 = errors[errors.len() * 9 / 10];
    assert!(errors.len() >= 50, "{} messages waited", errors.len());
    assert!(median <= 0.2, "median error {:.0} %, p90 {:.0} % of {}", median * 100.0, p90 * 100.0, errors.len());
    assert!(surprised <= 5, "{surprised} were told nothing and waited");
}
