//! A configured way over the network: a proxy, certificates of an own authority, a client's own certificate.

use std::path::{Path, PathBuf};

use reqwest::{Certificate, ClientBuilder, Identity, NoProxy, Proxy};
use secrecy::{ExposeSecret, SecretString};

/// The proxy between this machine and another, and the certificates by which both prove who they are.
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

/// The reason why a way over the network cannot be used. Repeats no address of a proxy, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The proxy's address is not one.
    #[error("proxy must be an address such as http://proxy.example:3128 or socks5://proxy.example:1080")]
    Proxy,
    /// A certificate without its key, or a key without its certificate.
    #[error("client_cert_file and client_key_file must be given together")]
    HalfIdentity,
    /// A file of certificates cannot be used.
    #[error("{key}: {}: {error}", path.display())]
    File {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        error: String,
    },
}

impl Network {
    /// Returns true if a proxy or certificates are configured.
    pub fn is_special(&self) -> bool {
        self.proxy.is_some() || self.ca_file.is_some() || self.client_cert_file.is_some()
    }

    /// Applies all that to the builder. Reads the files.
    pub fn apply(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, NetworkError> {
        if let Some(address) = &self.proxy {
            // The library's error may repeat the address with its password.
            let proxy = Proxy::all(address.expose_secret()).map_err(|_| NetworkError::Proxy)?;
            builder = builder.proxy(proxy.no_proxy(NoProxy::from_string(&self.no_proxy.join(","))));
        }
        if let Some(path) = &self.ca_file {
            let file = |error: String| NetworkError::File { key: "ca_file", path: path.clone(), error };
            let certificates = Certificate::from_pem_bundle(&read(path).map_err(&file)?);
            let certificates = certificates.map_err(|_| file("no certificates in PEM form".to_owned()))?;
            if certificates.is_empty() {
                return Err(file("no certificate in it".to_owned()));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        match (&self.client_cert_file, &self.client_key_file) {
            (Some(certificate), Some(key)) => {
                let file = |name, path: &Path, error| NetworkError::File { key: name, path: path.to_owned(), error };
                let mut pem = read(certificate).map_err(|error| file("client_cert_file", certificate, error))?;
                pem.push(b'\n');
                pem.extend(read(key).map_err(|error| file("client_key_file", key, error))?);
                let identity = Identity::from_pem(&pem).map_err(|_| {
                    file("client_cert_file", certificate, "no certificate and key in PEM form".to_owned())
                })?;
                Ok(builder.identity(identity))
            }
            (None, None) => Ok(builder),
            _ => Err(NetworkError::HalfIdentity),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| error.to_string())
}
