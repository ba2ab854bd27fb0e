//! The ways to a server, by what libpq means with each `sslmode`: which are tried, in which order, and when the next one is.
//!
//! The driver knows one way for each mode, and differs from libpq where a mode has two (`allow` begins without TLS and goes on with
//! it, `prefer` the other way round), where trusted certificates are named beside `require` (then the server's is compared with
//! them), and on a socket of this machine (never TLS). One difference stays, since the driver offers no way around it: with
//! `sslrootcert` it trusts the system's certificates besides those of the file.

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::store::failure;

/// SQLSTATE of a server that lets nobody in who comes this way: no fitting line in `pg_hba.conf`, or no client certificate.
const NOT_THIS_WAY: &str = "28000";

/// Returns the ways to the server of `options`, first first; at least one. `has_roots`: trusted certificates are named.
pub(super) fn of(options: &PgConnectOptions, has_roots: bool) -> Vec<PgConnectOptions> {
    let is_socket = options.get_socket().is_some() || options.get_host().starts_with('/');
    let modes: &[PgSslMode] = match options.get_ssl_mode() {
        _ if is_socket => &[PgSslMode::Disable],
        PgSslMode::Disable => &[PgSslMode::Disable],
        PgSslMode::Allow if has_roots => &[PgSslMode::Disable, PgSslMode::VerifyCa],
        PgSslMode::Allow => &[PgSslMode::Disable, PgSslMode::Require],
        PgSslMode::Prefer if has_roots => &[PgSslMode::VerifyCa, PgSslMode::Disable],
        // Goes on without TLS by itself where the server has none.
        PgSslMode::Prefer => &[PgSslMode::Prefer, PgSslMode::Disable],
        PgSslMode::Require if has_roots => &[PgSslMode::VerifyCa],
        PgSslMode::Require => &[PgSslMode::Require],
        PgSslMode::VerifyCa => &[PgSslMode::VerifyCa],
        PgSslMode::VerifyFull => &[PgSslMode::VerifyFull],
    };
    modes.iter().map(|mode| options.clone().ssl_mode(*mode)).collect()
}

/// Returns true if another way to the same server may do after this error: it is about TLS, or the server let nobody in who came
/// this way. Wrong passwords, and servers that cannot be reached, are the same on every way.
pub(super) fn may_try_another(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(error) => failure::is_handshake(error),
        sqlx::Error::Database(error) => error.code().as_deref() == Some(NOT_THIS_WAY),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modes(address: &str, has_roots: bool) -> String {
        let ways = of(&address.parse().expect("well-formed"), has_roots);
        ways.iter().map(|way| format!("{:?}", way.get_ssl_mode())).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_mode_is_tried_as_libpq_tries_it() {
        for (mode, without, with) in [
            ("disable", "Disable", "Disable"),
            ("allow", "Disable Require", "Disable VerifyCa"),
            ("prefer", "Prefer Disable", "VerifyCa Disable"),
            ("require", "Require", "VerifyCa"),
            ("verify-ca", "VerifyCa", "VerifyCa"),
            ("verify-full", "VerifyFull", "VerifyFull"),
        ] {
            let address = format!("postgres://u@db/b?sslmode={mode}");
            assert_eq!((modes(&address, false).as_str(), modes(&address, true).as_str()), (without, with), "{mode}");
            let socket = format!("postgres://u@localhost/b?host=/run/postgresql&sslmode={mode}");
            assert_eq!(modes(&socket, false), "Disable", "{mode}");
        }
    }
}
