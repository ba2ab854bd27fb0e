//! The address of a PostgreSQL server as people write it, checked before the driver sees it.
//!
//! The driver would print a parameter that it does not know together with its value, which may be a secret, and take a password
//! with a `/` in it for a host and a path. Nothing here ever repeats a value; a parameter's name only where it can be no part of
//! a password.

use url::Url;

/// What the driver takes behind the `?`.
const PARAMETERS: [&str; 9] =
    ["application_name", "dbname", "host", "hostaddr", "options", "password", "port", "sslmode", "user"];
/// The same for TLS, beside `sslmode`.
const TLS_FILES: [&str; 3] = ["sslrootcert", "sslcert", "sslkey"];
const TLS_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Why a text is no address of a PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostgresUrlError {
    /// Not a URL, or one whose password was not percent-encoded.
    #[error(
        "is not a well-formed postgres address; in a user or a password @ is written %40, : %3A, / %2F, ? %3F, # %23 and % %25"
    )]
    Malformed,
    /// A parameter that the driver does not know.
    #[error("has the parameter `{0}`, which is not known; there are {known}", known = known())]
    Unknown(String),
    /// A value that a parameter does not take.
    #[error("has a {0} that it does not take")]
    Value(&'static str),
    /// A file of trusted certificates that nothing would be compared with.
    #[error("names an sslrootcert, but its sslmode compares no certificate; write sslmode=verify-full or verify-ca")]
    Unverified,
}

fn known() -> String {
    let mut known: Vec<&str> = PARAMETERS.iter().chain(&TLS_FILES).copied().collect();
    known.sort_unstable();
    known.join(", ")
}

/// The address as the driver takes it.
pub(super) fn parse(text: &str) -> Result<String, PostgresUrlError> {
    let text = with_host(text);
    let url = Url::parse(&text).map_err(|_| PostgresUrlError::Malformed)?;
    // A password that was not encoded ends where a path, a query or a fragment seems to begin; what remains shows it.
    let path = url.path().trim_start_matches('/');
    let is_torn =
        path.contains(['/', '@']) || url.fragment().is_some() || url.query().is_some_and(|query| query.contains('@'));
    if is_torn {
        return Err(PostgresUrlError::Malformed);
    }
    let (mut mode, mut has_root) = (None, false);
    for (name, value) in url.query_pairs() {
        match &*name {
            "sslmode" if TLS_MODES.contains(&&*value) => mode = Some(value.into_owned()),
            "sslmode" => return Err(PostgresUrlError::Value("sslmode")),
            "port" if value.parse::<u16>().is_err() => return Err(PostgresUrlError::Value("port")),
            "hostaddr" if value.parse::<std::net::IpAddr>().is_err() => {
                return Err(PostgresUrlError::Value("hostaddr"));
            }
            "sslrootcert" => has_root = true,
            name if PARAMETERS.contains(&name) || TLS_FILES.contains(&name) => {}
            name if is_word(name) => return Err(PostgresUrlError::Unknown(name.to_owned())),
            _ => return Err(PostgresUrlError::Malformed),
        }
    }
    if has_root && !matches!(mode.as_deref(), Some("verify-ca" | "verify-full")) {
        return Err(PostgresUrlError::Unverified);
    }
    Ok(text)
}

/// The socket form `postgres://user@/database?host=/run/postgresql`, which libpq takes and URL parsers do not: the host that is
/// missing is any, since the parameter stands above it.
fn with_host(text: &str) -> String {
    match text.split_once("@/") {
        Some((user, rest)) if !user.contains(['?', '#']) && user.matches('/').count() == 2 => {
            format!("{user}@localhost/{rest}")
        }
        _ => text.to_owned(),
    }
}

fn is_word(name: &str) -> bool {
    (1..=40).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        for text in [
            "postgres://bridge:pw@db:5432/bridge",
            "postgresql://bridge@db/bridge?sslmode=verify-full&sslrootcert=/etc/ca.pem",
            "postgres://bridge:p%40ss%2Fword%23%3F@db/bridge",
            "postgres://bridge:p@ss@db/bridge",
            "postgres:///bridge?host=/run/postgresql",
            "postgres://%2Frun%2Fpostgresql/bridge?user=bridge",
            "postgres://bridge@db/bridge?application_name=fini&options=-c%20search_path%3Dfini",
            "postgres://[::1]:5432/bridge?sslmode=disable",
        ] {
            assert_eq!(parse(text).as_deref(), Ok(text));
        }
        assert_eq!(
            parse("postgres://bridge:pw@/bridge?host=/run/postgresql").as_deref(),
            Ok("postgres://bridge:pw@localhost/bridge?host=/run/postgresql")
        );
    }

    #[test]
    fn what_is_wrong_is_named_and_no_part_of_a_password_is() {
        for (text, expected) in [
            ("postgres://u:p@db/b?sslpassword=hunter2", "`sslpassword`"),
            ("postgres://u:p@db/b?target_session_attrs=hunter2", "`target_session_attrs`"),
            ("postgres://u:p@db/b?sslmode=hunter2", "sslmode"),
            ("postgres://u:p@db/b?port=hunter2", "port"),
            ("postgres://u:p@db/b?sslrootcert=/ca.pem", "verify-full"),
            ("postgres://u:p@db/b?sslrootcert=/ca.pem&sslmode=require", "verify-full"),
            ("postgres://u:hunter2/x@db/b", "%2F"),
            ("postgres://u:12/hunter2@db/b", "%2F"),
            ("postgres://u:12#hunter2@db/b", "%23"),
            ("postgres://u:12?hunter@db/b", "%3F"),
            ("postgres://u:12?hunter2=x", "%3F"),
            ("postgres://u:hunter2", "%40"),
            ("postgres://", "well-formed"),
        ] {
            let Err(error) = parse(text) else {
                assert_eq!(text, "postgres://", "accepted");
                continue;
            };
            assert!(error.to_string().contains(expected), "{text}: {error}");
            assert!(!format!("{error} {error:?}").contains("hunter"), "{text}: {error}");
        }
    }
}
