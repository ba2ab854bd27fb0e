//! Claims whose answer was lost.
//!
//! A database over a network may be cut off in the commit of a claim: then the call fails, and what it claimed may be in this
//! process's hands all the same. Nobody works on it, so it is given back by its token instead of waiting for the end of its
//! lease. The commit may come into effect a little later, so a claim is looked for a few times.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::Token;
use crate::domain::Timestamp;

/// How long a claim that failed is looked for, and how often.
const FOR: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_secs(1);

/// Claims that failed, and when: each may have come into effect all the same.
#[derive(Debug, Default)]
pub struct LostClaims(Mutex<Vec<(Token, Timestamp)>>);

impl LostClaims {
    /// Remembers a claim that failed.
    pub fn add(&self, token: Token, now: Timestamp) {
        self.inner().push((token, now));
    }

    /// The claims to look for.
    pub fn all(&self) -> Vec<Token> {
        self.inner().iter().map(|(token, _)| token.clone()).collect()
    }

    /// Forgets a claim that was looked for, if it was found or cannot come any more.
    pub fn looked(&self, token: &Token, found: bool, now: Timestamp) {
        self.inner().retain(|(lost, since)| lost != token || !found && now.since(*since) < FOR);
    }

    /// When to look again; `None` where nothing is lost.
    pub fn look_at(&self, now: Timestamp) -> Option<Timestamp> {
        (!self.inner().is_empty()).then(|| now.plus(LOOK))
    }

    fn inner(&self) -> MutexGuard<'_, Vec<(Token, Timestamp)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_looked_for_until_it_is_found_or_cannot_come_any_more() {
        let at = Timestamp::from_millis;
        let claims = LostClaims::default();
        assert_eq!((claims.all(), claims.look_at(at(0))), (vec![], None));
        let [first, second] = ["first", "second"].map(|token| Token(token.into()));
        claims.add(first.clone(), at(0));
        claims.add(second.clone(), at(5_000));
        assert_eq!(claims.all(), [first.clone(), second.clone()]);
        assert_eq!(claims.look_at(at(5_000)), Some(at(6_000)));
        claims.looked(&first, false, at(19_999));
        claims.looked(&second, true, at(19_999));
        assert_eq!(claims.all(), std::slice::from_ref(&first));
        claims.looked(&first, false, at(20_000));
        assert_eq!((claims.all(), claims.look_at(at(20_000))), (vec![], None));
    }
}
