//! Decides which requests faults strike, and how often. Their effects are in `effect`.
//!
//! Rules are tried in the order they were set; the first that strikes is the only one. The dice are seeded, so a run
//! repeats when the requests do.

use serde::Serialize;

use super::SandboxError;
use super::audit::Route;
use super::rule::{Fault, FaultKind, FaultParams, Within};
use super::world::millis;

/// A rule with its record.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultState {
    /// Its number.
    pub id: u64,
    /// The rule.
    #[serde(flatten)]
    pub fault: Fault,
    /// Number of requests it struck.
    pub struck: u32,
    /// Matching requests seen.
    pub seen: u32,
    /// Number of times it began to strike, which `times` limits.
    #[serde(skip)]
    begun: u32,
    /// The things it goes on striking, each until a time.
    #[serde(skip)]
    outages: Vec<(String, i64)>,
}

/// The subject of a request.
pub struct Subject<'a> {
    /// All texts in which `content` is looked for.
    pub parts: &'a [&'a [u8]],
    /// The conversation it names.
    pub conversation: Option<&'a str>,
    /// The bot it is for, if there are several.
    pub bot: Option<&'a str>,
    /// The text of a message.
    pub text: Option<&'a str>,
}

impl Subject<'_> {
    /// Returns the thing that an outage of this kind would be about.
    fn thing(&self, within: Option<Within>) -> Option<&str> {
        match within {
            None => Some(""),
            Some(Within::Conversation) => self.conversation,
            Some(Within::Bot) => self.bot,
            Some(Within::Text) => self.text,
        }
    }
}

/// All rules.
pub struct Faults {
    rules: Vec<FaultState>,
    last_id: u64,
    dice: fastrand::Rng,
}

impl Faults {
    /// Creates an empty set of rules, with dice that repeat with their seed.
    pub fn new(seed: u64) -> Self {
        Self { rules: Vec::new(), last_id: 0, dice: fastrand::Rng::with_seed(seed) }
    }

    /// Adds a rule and returns its number.
    pub fn add(&mut self, fault: Fault) -> Result<u64, SandboxError> {
        if fault.probability.is_some_and(|chance| !(0.0..=1.0).contains(&chance)) {
            return Err(SandboxError::Invalid("probability is 0 to 1".into()));
        }
        if fault.params.status.is_some_and(|status| !(200..=599).contains(&status)) {
            return Err(SandboxError::Invalid("params.status is 200 to 599".into()));
        }
        self.last_id += 1;
        self.rules.push(FaultState { id: self.last_id, fault, struck: 0, seen: 0, begun: 0, outages: Vec::new() });
        Ok(self.last_id)
    }

    /// Returns true if there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Returns all rules, spent ones included.
    pub fn list(&self) -> Vec<FaultState> {
        self.rules.clone()
    }

    /// Removes a rule; `false` if there is none.
    pub fn remove(&mut self, id: u64) -> bool {
        let before = self.rules.len();
        self.rules.retain(|rule| rule.id != id);
        self.rules.len() < before
    }

    /// Removes every rule.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// Returns the fault that strikes a request at this time.
    pub fn strike(&mut self, route: Route, subject: &Subject<'_>, now: i64) -> Option<(FaultKind, FaultParams)> {
        for rule in &mut self.rules {
            let fault = &rule.fault;
            let Some(thing) = subject.thing(fault.within).filter(|_| fault.route.covers(route)) else { continue };
            if !fault.content.as_ref().is_none_or(|text| subject.parts.iter().any(|part| contains(part, text))) {
                continue;
            }
            rule.outages.retain(|(_, until)| *until > now);
            if rule.outages.iter().any(|(about, _)| about == thing) {
                rule.seen += 1;
                rule.struck += 1;
                return Some((fault.kind, fault.params.clone()));
            }
            let limit = fault.times.or(fault.probability.is_none().then_some(1));
            if limit.is_some_and(|times| rule.begun >= times) {
                continue;
            }
            rule.seen += 1;
            if rule.seen > fault.skip && fault.probability.is_none_or(|chance| self.dice.f64() < chance) {
                rule.begun += 1;
                rule.struck += 1;
                if fault.for_ms.is_some() || fault.within.is_some() {
                    let until = fault.for_ms.map_or(i64::MAX, |ms| now.saturating_add(millis(ms)));
                    rule.outages.push((thing.to_owned(), until));
                }
                return Some((fault.kind, fault.params.clone()));
            }
        }
        None
    }
}

fn contains(body: &[u8], text: &str) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::rule::FaultRoute;
    use super::*;

    fn made_of<'a>(parts: &'a [&'a [u8]]) -> Subject<'a> {
        Subject { parts, conversation: None, bot: None, text: None }
    }

    fn struck(faults: &mut Faults, n: usize) -> usize {
        (0..n).filter(|_| faults.strike(Route::List, &made_of(&[b"{}"]), 0).is_some()).count()
    }

    #[test]
    fn an_outage_lasts_and_stays_with_what_it_is_about() {
        let mut faults = Faults::new(1);
        let rule = Fault::new(FaultRoute::Get, FaultKind::Status).lasting(100).within(Within::Conversation);
        faults.add(rule).unwrap();
        let mut at = |conversation, now| {
            let subject = Subject { conversation, ..made_of(&[]) };
            faults.strike(Route::Get, &subject, now).is_some()
        };
        let struck = [at(None, 0), at(Some("a"), 10), at(Some("b"), 20), at(Some("a"), 109), at(Some("a"), 110)];
        assert_eq!(struck, [false, true, false, true, false]);

        let mut faults = Faults::new(1);
        faults.add(Fault::new(FaultRoute::Any, FaultKind::Status).within(Within::Text)).unwrap();
        let mut says = |text, now| {
            let subject = Subject { text, ..made_of(&[]) };
            faults.strike(Route::GenerateAnswer, &subject, now).is_some()
        };
        assert_eq!([says(Some("x"), 0), says(Some("y"), 1), says(Some("x"), i64::MAX - 1)], [true, false, true]);
    }

    #[test]
    fn a_fault_strikes_once_unless_told_otherwise() {
        let mut faults = Faults::new(1);
        faults.add(Fault::new(FaultRoute::Any, FaultKind::Garbage)).unwrap();
        assert_eq!(struck(&mut faults, 10), 1);
        faults.add(Fault::new(FaultRoute::List, FaultKind::Garbage).times(3).skip(2)).unwrap();
        assert_eq!(struck(&mut faults, 2), 0);
        assert_eq!(struck(&mut faults, 10), 3);
    }

    #[test]
    fn dice_repeat_with_their_seed() {
        let run = |seed| {
            let mut faults = Faults::new(seed);
            faults.add(Fault::new(FaultRoute::Any, FaultKind::Drip).probability(0.5)).unwrap();
            (0..64).map(|_| faults.strike(Route::Get, &made_of(&[]), 0).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }

    #[test]
    fn only_the_named_route_and_content_are_struck() {
        let mut faults = Faults::new(1);
        faults.add(Fault::new(FaultRoute::Delete, FaultKind::Status).containing("m-17").times(9)).unwrap();
        assert!(faults.strike(Route::Get, &made_of(&[b"m-17"]), 0).is_none());
        assert!(faults.strike(Route::Delete, &made_of(&[b"m-18"]), 0).is_none());
        assert!(faults.strike(Route::BulkDelete, &made_of(&[b"id", b"..m-17.."]), 0).is_some());
        assert_eq!(faults.list()[0].struck, 1);
        assert!(faults.remove(1) && faults.list().is_empty());
    }

    #[test]
    fn impossible_rules_are_refused() {
        let mut faults = Faults::new(1);
        assert!(faults.add(Fault::new(FaultRoute::Any, FaultKind::Drip).probability(1.5)).is_err());
        let params = FaultParams { status: Some(99), ..FaultParams::default() };
        assert!(faults.add(Fault::new(FaultRoute::Any, FaultKind::Status).with(params)).is_err());
    }
}
