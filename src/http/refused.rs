//! Logs refusals of the same address once a second: a stranger that tries tokens, or sends noise, must not write the log.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Time in which an address gets one log line.
const EVERY: Duration = Duration::from_secs(1);
/// Number of addresses that are told apart; further ones count as one.
const ADDRESSES: usize = 4096;

/// The addresses that were refused recently.
#[derive(Debug, Default)]
pub struct Refused(Mutex<HashMap<(IpAddr, u16), Recent>>);

#[derive(Debug)]
struct Recent {
    told_at: Instant,
    since: u64,
}

/// Refusals of one address that had no line of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Untold {
    pub(super) address: IpAddr,
    pub(super) status: u16,
    pub(super) count: u64,
}

impl Refused {
    /// Counts a refusal. Returns true if it gets a log line of its own.
    pub(super) fn is_told(&self, address: Option<IpAddr>, status: u16, now: Instant) -> bool {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        if recent.len() >= ADDRESSES && !recent.contains_key(&(address, status)) {
            address = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        }
        if let Some(known) = recent.get_mut(&(address, status)) {
            known.since += 1;
            return false;
        }
        recent.insert((address, status), Recent { told_at: now, since: 0 });
        true
    }

    /// Takes the refusals without a line of their own that are due for one.
    pub(super) fn due(&self, now: Instant) -> Vec<Untold> {
        let mut due = Vec::new();
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|(address, status), known| {
            if now.saturating_duration_since(known.told_at) < EVERY {
                return true;
            }
            if known.since == 0 {
                return false;
            }
            due.push(Untold { address: *address, status: *status, count: std::mem::take(&mut known.since) });
            known.told_at = now;
            true
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_has_one_line_a_second_and_no_refusal_is_lost() {
        let refused = Refused::default();
        let one: IpAddr = "192.0.2.1".parse().expect("valid");
        let (mut lines, mut counted) = (0, 0);
        for _ in 0..500 {
            let told = refused.is_told(Some(one), 401, Instant::now());
            (lines, counted) = (lines + u64::from(told), counted + u64::from(told));
            tokio::time::advance(Duration::from_millis(10)).await;
            for untold in refused.due(Instant::now()) {
                (lines, counted) = (lines + 1, counted + untold.count);
            }
        }
        assert!(refused.is_told(Some("192.0.2.2".parse().expect("valid")), 401, Instant::now()));
        assert!((5..=7).contains(&lines), "{lines} lines in five seconds");
        tokio::time::advance(EVERY).await;
        counted += refused.due(Instant::now()).iter().map(|untold| untold.count).sum::<u64>();
        assert_eq!(counted, 500);
    }
}
