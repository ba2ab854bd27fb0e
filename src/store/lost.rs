//! Claims whose answer was lost.
//!
//! A database over a network may be cut off in the commit of a claim: then the call fails, and the claim may have taken effect
//! all the same. Nobody works on what it claimed, so that is given back by its token instead of waiting for the end of its
//! lease. The commit may come into effect a little later, so a claim is looked for a few times.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Result, Token};
use crate::domain::Timestamp;

/// Time for which a failed claim is looked for, and the pause between two looks.
const FOR: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_secs(1);

/// Failed claims with their times: each may have come into effect all the same.
#[derive(Debug, Default)]
pub struct LostClaims(Mutex<Vec<(Token, Timestamp)>>);

impl LostClaims {
    /// Remembers a claim that failed.
    pub fn add(&self, token: Token, now: Timestamp) {
        self.inner().push((token, now));
    }

    /// Looks for each of them by `void`, which gives back everything held under a token and returns its number. Returns the
    /// sum; forgets claims that were found or cannot come any more.
    pub async fn give_back<F>(&self, now: Timestamp, void: impl Fn(Token) -> F) -> Result<usize>
    where
        F: Future<Output = Result<usize>>,
    {
        let mut given_back = 0;
        let lost = self.inner().clone();
        for (token, since) in lost {
            let found = void(token.clone()).await?;
            if found > 0 || now.since(since) >= FOR {
                self.inner().retain(|(other, _)| *other != token);
            }
            given_back += found;
        }
        Ok(given_back)
    }

    /// Returns the time of the next look; `None` if nothing is lost.
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
    use crate::store::StoreError;

    /// Returns the tokens that are looked for at `now`, where only `held` is held.
    async fn looked_for(claims: &LostClaims, now: Timestamp, held: &str) -> Vec<String> {
        let asked = Mutex::new(Vec::new());
        let void = async |token: Token| {
            asked.lock().expect("nobody panics").push(token.0.to_string());
            Ok(usize::from(&*token.0 == held))
        };
        let given_back = claims.give_back(now, void).await.expect("answers");
        let asked = asked.into_inner().expect("nobody panics");
        assert_eq!(given_back > 0, asked.iter().any(|token| token == held));
        asked
    }

    #[tokio::test]
    async fn a_claim_is_looked_for_until_it_is_found_or_cannot_come_any_more() {
        let at = Timestamp::from_millis;
        let claims = LostClaims::default();
        assert_eq!(claims.look_at(at(0)), None);
        claims.add(Token("first".into()), at(0));
        claims.add(Token("second".into()), at(5_000));
        assert_eq!(claims.look_at(at(5_000)), Some(at(6_000)));
        assert_eq!(looked_for(&claims, at(6_000), "none").await, ["first", "second"]);
        assert_eq!(looked_for(&claims, at(19_999), "second").await, ["first", "second"]);
        claims.give_back(at(20_000), async |_| Err(StoreError::Internal("away".to_owned()))).await.expect_err("fails");
        assert_eq!(looked_for(&claims, at(20_000), "none").await, ["first"]);
        assert_eq!(looked_for(&claims, at(20_001), "none").await, [""; 0]);
        assert_eq!(claims.look_at(at(20_001)), None);
    }
}
