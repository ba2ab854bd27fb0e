//! The way to Fini: a proxy, certificates, and connections that do not outlive a move of its address.
//!
//! The pool of connections is replaced by a new one every minute ([`Renewed`]). The files of certificates are read again each
//! time: what a rotation put there is in force within a minute, and what cannot be read leaves the old pool in use.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use reqwest::{Certificate, ClientBuilder, Identity, NoProxy, Proxy, Request, Response};
use secrecy::{ExposeSecret, SecretString};

use super::{ClientError, SendError, Transport};
use crate::outbound::Renewed;

/// What stands between this machine and Fini, and how both prove who they are.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// `http`, `https`, `socks5` or `socks5h`; it may hold a user and a password.
    pub proxy: Option<SecretString>,
    /// Hosts and networks that are asked without the proxy.
    pub no_proxy: Vec<String>,
    /// Certificates (PEM) that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// The client's own certificates (PEM).
    pub client_cert_file: Option<PathBuf>,
    /// The key to the first of them (PEM).
    pub client_key_file: Option<PathBuf>,
}

impl Network {
    /// The builder with all that in it.
    pub(super) fn apply(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, ClientError> {
        if let Some(address) = &self.proxy {
            // The library's error may repeat the address, and a password with it.
            let proxy = Proxy::all(address.expose_secret()).map_err(|_| ClientError::Proxy)?;
            builder = builder.proxy(proxy.no_proxy(NoProxy::from_string(&self.no_proxy.join(","))));
        }
        if let Some(path) = &self.ca_file {
            let file = |error: String| ClientError::File { key: "ca_file", path: path.clone(), error };
            let certificates = Certificate::from_pem_bundle(&read(path).map_err(&file)?);
            let certificates = certificates.map_err(|_| file("no certificates in PEM form".to_owned()))?;
            if certificates.is_empty() {
                return Err(file("no certificate in it".to_owned()));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        match (&self.client_cert_file, &self.client_key_file) {
            (Some(certificate), Some(key)) => {
                let file = |name, path: &Path, error| ClientError::File { key: name, path: path.to_owned(), error };
                let mut pem = read(certificate).map_err(|error| file("client_cert_file", certificate, error))?;
                pem.push(b'\n');
                pem.extend(read(key).map_err(|error| file("client_key_file", key, error))?);
                let identity = Identity::from_pem(&pem).map_err(|_| {
                    file("client_cert_file", certificate, "no certificate and key in PEM form".to_owned())
                })?;
                Ok(builder.identity(identity))
            }
            (None, None) => Ok(builder),
            _ => Err(ClientError::HalfIdentity),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| error.to_string())
}

#[async_trait]
impl Transport for Renewed<ClientError> {
    async fn send(&self, request: Request) -> Result<Response, SendError> {
        let client =
            self.get(|error| tracing::warn!(%error, "the way to Fini could not be set up anew, the old one stays"));
        client.send(request).await
    }
}
