//! Limits the connections that an address has open.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use ipnet::IpNet;

use crate::http::address::network_of;

/// The connections that are open, by address.
#[derive(Debug, Default)]
pub struct Addresses {
    /// At most so many per address; 0 is no limit.
    most: usize,
    /// Addresses behind which others stand: a limit on them would be one on all of them together.
    exempt: Vec<IpNet>,
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl Addresses {
    /// Allows at most so many per address but for these networks; 0 is no limit.
    pub fn new(most: usize, exempt: Vec<IpNet>) -> Self {
        Self { most, exempt, open: Mutex::default() }
    }

    /// Returns a place for one more connection from `address`, until it is dropped; `None` if that address has all it may
    /// have.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        if self.most == 0 || self.exempt.iter().any(|network| network.contains(&address)) {
            return Some(Place(None));
        }
        let network = network_of(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(network).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place(Some((Arc::clone(self), network))))
    }
}

/// The place of one connection.
#[derive(Debug)]
pub(super) struct Place(Option<(Arc<Addresses>, IpAddr)>);

impl Drop for Place {
    fn drop(&mut self) {
        let Some((addresses, network)) = &self.0 else { return };
        let mut open = addresses.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(network) {
            *count -= 1;
            if *count == 0 {
                open.remove(network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_places_and_proxies_have_no_limit() {
        let addresses = Arc::new(Addresses::new(2, vec!["10.0.0.0/8".parse().expect("valid")]));
        let admit = |address: &str| addresses.admit(address.parse().expect("valid"));
        let (first, second) = (admit("2001:db8::1"), admit("2001:db8::2"));
        assert!(first.is_some() && second.is_some());
        assert!(admit("2001:db8:0:0:ffff::3").is_none(), "one network of 64 bits is one address");
        assert!(admit("2001:db8:0:1::1").is_some() && admit("192.0.2.1").is_some());
        drop(first);
        assert!(admit("2001:db8::4").is_some());
        let proxied: Vec<_> = (0..5).map(|_| admit("::ffff:10.1.2.3")).collect();
        assert!(proxied.iter().all(Option::is_some));
        let unlimited = Arc::new(Addresses::new(0, Vec::new()));
        let all: Vec<_> = (0..5).map(|_| unlimited.admit("192.0.2.1".parse().expect("valid"))).collect();
        assert!(all.iter().all(Option::is_some));
    }
}
