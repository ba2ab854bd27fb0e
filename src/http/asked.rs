//! The circumstances of a request: its headers, and its client's address behind proxies.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, header, request::Parts},
};
use ipnet::IpNet;

use super::{
    Public,
    address::network_of,
    forwarded::{self, Client},
};
use crate::signature::token::Page;

/// The proxies whose word about others is believed.
#[derive(Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    /// True once it was logged that one of them named an address that cannot be read.
    is_told: AtomicBool,
}

impl TrustedProxies {
    /// Trusts these networks.
    pub const fn new(networks: Vec<IpNet>) -> Self {
        Self { networks, is_told: AtomicBool::new(false) }
    }

    /// Returns the client's address for the purpose of limits: see [`Asked::address`].
    pub(super) fn address(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        self.client(peer, None, headers).address.map(network_of)
    }

    fn client(&self, peer: Option<IpAddr>, host: Option<&str>, headers: &HeaderMap) -> Client {
        let client = forwarded::client(peer, host, headers, &self.networks);
        if client.is_unreadable && !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!("a trusted proxy names a client's address that cannot be read: its customers count as one");
        }
        client
    }
}

/// The circumstances of a request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its headers.
    pub headers: HeaderMap,
    /// The client's address: the nearest one that is not a trusted proxy's, and of IPv6 its network of 64 bits.
    pub address: Option<IpAddr>,
    /// The host that was asked, with its port if it has one.
    host: Option<String>,
}

impl Asked {
    /// Reads the head of a request.
    pub(super) fn of(parts: &Parts, public: &Public) -> Self {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        // HTTP/2 names the host in the request's own address.
        let named = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = named.or_else(|| parts.uri.authority().map(axum::http::uri::Authority::as_str));
        let Client { address, host, .. } = public.settings.trusted_proxies.client(peer, host, &parts.headers);
        Self { headers: parts.headers.clone(), address: address.map(network_of), host }
    }

    /// Returns what it tells about the page that asked.
    pub(super) fn page(&self) -> Page<'_> {
        let text = |name: &str| self.headers.get(name).map(|value| value.to_str().unwrap_or_default());
        Page { origin: text("origin"), fetch_site: text("sec-fetch-site"), host: self.host.as_deref() }
    }
}

impl FromRequestParts<Public> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, public: &Public) -> Result<Self, Infallible> {
        Ok(Self::of(parts, public))
    }
}
