//! Name resolution for callbacks: only vetted addresses come out.
//!
//! The addresses judged here are the ones the connection is made to, so a name cannot change its mind between the check
//! and the use (DNS rebinding). One bad address refuses the whole answer: a name that mixes public and internal addresses
//! is either a mistake or an attempt. Hosts that are written as addresses never come here; [`Guard::check_url`] judges them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::guard::{Guard, Refused};

/// The reason why a name gave nothing to connect to.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The system's resolver failed.
    #[error("the name cannot be resolved: {0}")]
    Lookup(#[source] io::Error),
    /// The name exists and has no address.
    #[error("the name has no address")]
    Empty,
    /// At least one of the name's addresses is refused.
    #[error("the name resolves to an address that is refused: {0}")]
    Refused(#[source] Refused),
}

/// The system's resolver behind the guard.
#[derive(Debug, Clone)]
pub struct VettedResolver {
    guard: Arc<Guard>,
    transport: Transport,
}

/// The encryption of the connection; plain ones may go to listed networks only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `https`
    Tls,
    /// `http`
    Plain,
}

impl VettedResolver {
    /// Resolves for connections of one kind.
    pub fn new(guard: Arc<Guard>, transport: Transport) -> Self {
        Self { guard, transport }
    }

    /// Passes the addresses on if there are any and every one of them is acceptable.
    fn vet(&self, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, ResolveError> {
        if addresses.is_empty() {
            return Err(ResolveError::Empty);
        }
        for address in &addresses {
            self.check(address.ip()).map_err(ResolveError::Refused)?;
        }
        Ok(addresses)
    }

    fn check(&self, address: IpAddr) -> Result<(), Refused> {
        match self.transport {
            Transport::Tls => self.guard.check_ip(address),
            Transport::Plain => self.guard.check_plain_ip(address),
        }
    }
}

impl Resolve for VettedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            // Port 0 is replaced by the URL's port when the connection is made.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(ResolveError::Lookup)?;
            let vetted = this.vet(found.collect())?;
            Ok(Box::new(vetted.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 0)).collect()
    }

    fn resolver(networks: &[&str], transport: Transport) -> VettedResolver {
        let allow_networks = networks.iter().map(|text| text.parse().unwrap()).collect();
        VettedResolver::new(Arc::new(Guard { allow_networks, allow_http: true }), transport)
    }

    #[test]
    fn one_bad_address_refuses_the_whole_answer() {
        let tls = resolver(&[], Transport::Tls);
        assert_eq!(tls.vet(addresses(&["8.8.8.8", "2606:4700::1"])).unwrap().len(), 2);
        for bad in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "fe80::1"] {
            for list in [[bad, "8.8.8.8"], ["8.8.8.8", bad]] {
                assert!(matches!(tls.vet(addresses(&list)), Err(ResolveError::Refused(_))), "{list:?}");
            }
        }
        assert!(matches!(tls.vet(Vec::new()), Err(ResolveError::Empty)));
    }

    #[test]
    fn plain_connections_go_to_listed_networks_only() {
        let plain = resolver(&["10.0.0.0/8"], Transport::Plain);
        assert!(plain.vet(addresses(&["10.0.0.1"])).is_ok());
        assert!(plain.vet(addresses(&["8.8.8.8"])).is_err());
        assert!(plain.vet(addresses(&["10.0.0.1", "8.8.8.8"])).is_err());
    }

    #[tokio::test]
    async fn the_name_of_this_machine_is_refused_unless_listed() {
        let name = || "localhost".parse::<Name>().unwrap();
        let Err(refused) = resolver(&[], Transport::Tls).resolve(name()).await else { panic!("resolved") };
        assert!(matches!(refused.downcast_ref(), Some(ResolveError::Refused(_))));
        let found = resolver(&["127.0.0.0/8"], Transport::Tls).resolve(name()).await.unwrap_or_else(|e| panic!("{e}"));
        assert!(found.map(|address| address.ip()).all(|ip| ip.is_loopback()));
    }
}
