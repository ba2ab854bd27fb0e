//! The address of the database, which may carry a password.
//!
//! Neither `Debug` nor `Display` ever shows the password or the query, where drivers also accept one.

use std::{fmt, path::PathBuf};

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::postgres_url::{self, PostgresUrlError};

/// The place of the store.
#[derive(Clone)]
pub enum StoreUrl {
    /// The embedded database in one file; relative to the working directory.
    Sqlite {
        /// The file. Its folder is made when it is missing.
        path: PathBuf,
    },
    /// A PostgreSQL database, for several replicas.
    Postgres {
        /// The whole address of each server that may have it, as the driver takes them; one at least.
        urls: Vec<SecretString>,
    },
}

/// The reason why a text is not the address of a store. Never repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreUrlError {
    /// Neither of the two schemes.
    #[error("is neither a sqlite nor a postgres address")]
    Scheme,
    /// `sqlite://` and nothing more.
    #[error("names no file")]
    NoFile,
    /// `:memory:` would break the promise that an accepted message is never lost.
    #[error("names a database in memory, which would lose accepted messages at every restart")]
    InMemory,
    /// Options after `?`.
    #[error("has options after `?`, which are not taken for sqlite")]
    Options,
    /// Something is wrong with the address of the server.
    #[error(transparent)]
    Postgres(#[from] PostgresUrlError),
}

impl StoreUrl {
    /// Reads `sqlite://relative/path`, `sqlite:///absolute/path` or `postgres://user:password@host/database`, which may name
    /// several hosts.
    pub fn parse(text: &str) -> Result<Self, StoreUrlError> {
        if let Some(rest) = text.strip_prefix("sqlite:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            return match path {
                "" | "/" => Err(StoreUrlError::NoFile),
                _ if path.starts_with(":memory:") => Err(StoreUrlError::InMemory),
                _ if path.contains('?') => Err(StoreUrlError::Options),
                _ => Ok(Self::Sqlite { path: PathBuf::from(path) }),
            };
        }
        if !(text.starts_with("postgres://") || text.starts_with("postgresql://")) {
            return Err(StoreUrlError::Scheme);
        }
        Ok(Self::Postgres { urls: postgres_url::parse(text)?.into_iter().map(SecretString::from).collect() })
    }

    /// Returns true if certificates are compared and names are not: with the driver any server that has a public certificate is
    /// believed then, since it trusts the system's certificates besides those that are named.
    pub(super) fn trusts_any_name(&self) -> bool {
        let Self::Postgres { urls } = self else { return false };
        let value = |url: &Url, name: &str| {
            url.query_pairs().filter(|(key, _)| key == name).last().map(|(_, value)| value.into_owned())
        };
        urls.iter().filter_map(|url| Url::parse(url.expose_secret()).ok()).any(|url| {
            value(&url, "sslrootcert").is_some() && value(&url, "sslmode").is_some_and(|mode| mode != "verify-full")
        })
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { path } => write!(f, "sqlite://{}", path.display()),
            Self::Postgres { urls } => {
                let shown: Vec<String> = urls.iter().map(|url| without_secrets(url.expose_secret())).collect();
                f.write_str(&shown.join(", "))
            }
        }
    }
}

fn without_secrets(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return "postgres://[malformed]".to_owned() };
    if url.password().is_some() && url.set_password(Some("***")).is_err() {
        return "postgres://[hidden]".to_owned();
    }
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_paths_are_relative_with_two_slashes_and_absolute_with_three() {
        for (text, shown) in [
            ("sqlite://data/bridge.db", "data/bridge.db"),
            ("sqlite:///var/lib/bridge.db", "/var/lib/bridge.db"),
            ("sqlite:bridge.db", "bridge.db"),
        ] {
            match StoreUrl::parse(text) {
                Ok(StoreUrl::Sqlite { path }) => assert_eq!(path, PathBuf::from(shown), "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_no_store_is_refused_with_its_reason() {
        for (text, error) in [
            ("", StoreUrlError::Scheme),
            ("mysql://host/db", StoreUrlError::Scheme),
            ("postgres:host", StoreUrlError::Scheme),
            ("sqlite://", StoreUrlError::NoFile),
            ("sqlite::memory:", StoreUrlError::InMemory),
            ("sqlite://:memory:", StoreUrlError::InMemory),
            ("sqlite://a.db?mode=ro", StoreUrlError::Options),
            ("postgres://host:port/db", StoreUrlError::Postgres(PostgresUrlError::Malformed)),
        ] {
            assert_eq!(StoreUrl::parse(text).expect_err(text), error, "{text}");
        }
    }

    #[test]
    fn neither_debug_nor_display_shows_a_password() {
        let url = StoreUrl::parse("postgres://bridge:hunter2@db:5432/bridge?password=hunter2&sslmode=require")
            .expect("well formed");
        assert_eq!(url.to_string(), "postgres://bridge:***@db:5432/bridge");
        assert!(!format!("{url:?}").contains("hunter2"));
    }
}
