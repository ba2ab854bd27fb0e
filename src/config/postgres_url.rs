//! The address of a PostgreSQL server as people write it, checked before the driver sees it.
//!
//! The driver would print a parameter that it does not know together with its value, which may be a secret, and take a password
//! with a `/` in it for a host and a path. It knows one server only, where people write several of which one takes writes
//! (`host1,host2`). Settings that look like a comparison of certificates, and are none, are refused. Nothing here ever repeats a
//! value; a parameter's name only where it can be no part of a password.

use url::Url;

/// The parameters behind the `?`.
const PARAMETERS: [&str; 10] =
    ["application_name", "dbname", "host", "hostaddr", "options", "password", "port", "sslmode", TARGET, "user"];
/// The same for TLS, beside `sslmode`.
const TLS_FILES: [&str; 3] = [ROOTS, "sslcert", "sslkey"];
const TLS_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
/// The kind of server that is wanted of several. The store always wants the one that takes writes.
const TARGET: &str = "target_session_attrs";
const WRITABLE: [&str; 3] = ["any", "read-write", "primary"];
/// The trusted certificates, and the word for those of the system.
const ROOTS: &str = "sslrootcert";
const SYSTEM: &str = "system";
/// Parameters that may list one value per server.
const LISTED: [&str; 3] = ["host", "hostaddr", "port"];

/// The reason why a text is no address of a PostgreSQL server.
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
    /// A file of trusted certificates that nothing would be compared with, or not always.
    #[error(
        "names an sslrootcert, but with its sslmode the connection may be made without TLS; write sslmode=verify-full or verify-ca"
    )]
    Unverified,
    /// The certificates of the system, which vouch for anybody's name.
    #[error(
        "trusts the certificates of the system (sslrootcert=system or none), which only says something with sslmode=verify-full"
    )]
    AnyName,
    /// A server that takes no writes.
    #[error(
        "asks for a server that takes no writes; target_session_attrs may be read-write, primary or any, and the bridge needs one that writes"
    )]
    ReadOnly,
    /// Lists that do not fit together.
    #[error("lists hosts and ports of different numbers; write one port, or one for each host")]
    Uneven,
}

fn known() -> String {
    let mut known: Vec<&str> = PARAMETERS.iter().chain(&TLS_FILES).copied().collect();
    known.sort_unstable();
    known.join(", ")
}

/// The addresses as the driver takes them: one of each server, in the order in which they are named.
pub(super) fn parse(text: &str) -> Result<Vec<String>, PostgresUrlError> {
    let texts = by_authority(&with_host(text));
    let count = texts.len();
    let mut servers = Vec::with_capacity(count);
    for (place, text) in texts.into_iter().enumerate() {
        let url = checked(&text)?;
        servers.extend(by_parameters(text, &url, (place, count))?);
    }
    Ok(servers)
}

/// The address of each of `user:password@host1:5432,host2:5433/database`, which URL parsers do not take.
fn by_authority(text: &str) -> Vec<String> {
    let whole = || vec![text.to_owned()];
    let Some((scheme, rest)) = text.split_once("://") else { return whole() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
    if !hosts.contains(',') {
        return whole();
    }
    let at = if authority.contains('@') { "@" } else { "" };
    hosts.split(',').map(|host| format!("{scheme}://{user}{at}{host}{tail}")).collect()
}

/// The parsed address, where all of it is known and fits together.
fn checked(text: &str) -> Result<Url, PostgresUrlError> {
    let url = Url::parse(text).map_err(|_| PostgresUrlError::Malformed)?;
    // A password that was not encoded ends where a path, a query or a fragment seems to begin; what remains shows it.
    let path = url.path().trim_start_matches('/');
    let is_torn =
        path.contains(['/', '@']) || url.fragment().is_some() || url.query().is_some_and(|query| query.contains('@'));
    if is_torn {
        return Err(PostgresUrlError::Malformed);
    }
    let (mut mode, mut roots) = (None, None);
    for (name, value) in url.query_pairs() {
        match &*name {
            "sslmode" if TLS_MODES.contains(&&*value) => mode = Some(value.into_owned()),
            "sslmode" => return Err(PostgresUrlError::Value("sslmode")),
            "port" if value.split(',').any(|port| port.parse::<u16>().is_err()) => {
                return Err(PostgresUrlError::Value("port"));
            }
            "hostaddr" if value.split(',').any(|address| address.parse::<std::net::IpAddr>().is_err()) => {
                return Err(PostgresUrlError::Value("hostaddr"));
            }
            TARGET if WRITABLE.contains(&&*value) => {}
            TARGET if ["read-only", "standby", "prefer-standby"].contains(&&*value) => {
                return Err(PostgresUrlError::ReadOnly);
            }
            TARGET => return Err(PostgresUrlError::Value(TARGET)),
            ROOTS => roots = Some(value.into_owned()),
            name if PARAMETERS.contains(&name) || TLS_FILES.contains(&name) => {}
            name if is_word(name) => return Err(PostgresUrlError::Unknown(name.to_owned())),
            _ => return Err(PostgresUrlError::Malformed),
        }
    }
    match (roots.as_deref(), mode.as_deref()) {
        (_, Some("verify-full")) => Ok(url),
        (Some(SYSTEM), _) | (None, Some("verify-ca")) => Err(PostgresUrlError::AnyName),
        // As in libpq: `require` beside trusted certificates compares with them.
        (None, _) | (Some(_), Some("verify-ca" | "require")) => Ok(url),
        (Some(_), _) => Err(PostgresUrlError::Unverified),
    }
}

/// The addresses that one text names by lists in its parameters; `place` is that of the text among others that the same
/// parameters are for. What the driver does not know is left out: it trusts the system's certificates by itself.
fn by_parameters(text: String, url: &Url, place: (usize, usize)) -> Result<Vec<String>, PostgresUrlError> {
    let listed = |name: &str| LISTED.contains(&name);
    let lengths = url.query_pairs().filter(|(name, _)| listed(name)).map(|(_, value)| value.split(',').count());
    let longest = lengths.max().unwrap_or(1);
    let is_ours = |name: &str, value: &str| name == TARGET || (name == ROOTS && value == SYSTEM);
    if longest == 1 && !url.query_pairs().any(|(name, value)| is_ours(&name, &value)) {
        return Ok(vec![text]);
    }
    let places = if place.1 > 1 { place.0..place.0 + 1 } else { 0..longest };
    let count = place.1.max(longest);
    let mut servers = Vec::with_capacity(places.len());
    for place in places {
        let mut kept = Vec::new();
        for (name, value) in url.query_pairs().filter(|(name, value)| !is_ours(name, value)) {
            let values: Vec<&str> = if listed(&name) { value.split(',').collect() } else { vec![&value] };
            if values.len() > 1 && values.len() != count {
                return Err(PostgresUrlError::Uneven);
            }
            let value = values.get(place).or(values.first()).copied().unwrap_or_default();
            kept.push((name.into_owned(), value.to_owned()));
        }
        let mut server = url.clone();
        server.set_query(None);
        if !kept.is_empty() {
            server.query_pairs_mut().extend_pairs(kept);
        }
        servers.push(server.into());
    }
    Ok(servers)
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
            "postgres://bridge@db/bridge?sslmode=allow",
            "postgres://bridge@db/bridge?sslmode=require&sslrootcert=/etc/ca.pem",
        ] {
            assert_eq!(parse(text), Ok(vec![text.to_owned()]));
        }
        assert_eq!(
            parse("postgres://bridge:pw@/bridge?host=/run/postgresql"),
            Ok(vec!["postgres://bridge:pw@localhost/bridge?host=/run/postgresql".to_owned()])
        );
    }

    #[test]
    fn several_servers_are_one_address_each() {
        for (text, servers) in [
            ("postgres://u:p@a:5432,b:5433/d", &["postgres://u:p@a:5432/d", "postgres://u:p@b:5433/d"][..]),
            ("postgres://u:p,q@a,[::1]:5433/d", &["postgres://u:p,q@a/d", "postgres://u:p,q@[::1]:5433/d"]),
            ("postgres://a,b/d?port=1,2", &["postgres://a/d?port=1", "postgres://b/d?port=2"]),
            (
                "postgres://u@x/d?host=a,b&port=5432&target_session_attrs=read-write",
                &["postgres://u@x/d?host=a&port=5432", "postgres://u@x/d?host=b&port=5432"],
            ),
            ("postgres://u@a/d?target_session_attrs=primary", &["postgres://u@a/d"]),
            ("postgres://u@a/d?sslmode=verify-full&sslrootcert=system", &["postgres://u@a/d?sslmode=verify-full"]),
        ] {
            assert_eq!(
                parse(text).as_deref(),
                Ok(&servers.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_no_part_of_a_password_is() {
        for (text, expected) in [
            ("postgres://u:p@db/b?sslpassword=hunter2", "`sslpassword`"),
            ("postgres://u:p@db/b?target_session_attrs=hunter2", "target_session_attrs"),
            ("postgres://u:p@db/b?target_session_attrs=standby", "takes no writes"),
            ("postgres://u:p@db/b?connect_timeout=hunter2", "`connect_timeout`"),
            ("postgres://u:p@db/b?sslmode=verify-ca", "verify-full"),
            ("postgres://u:p@db/b?sslmode=verify-ca&sslrootcert=system", "verify-full"),
            ("postgres://u:p@a,b,c/b?port=1,2", "one for each host"),
            ("postgres://u:p@db/b?sslmode=hunter2", "sslmode"),
            ("postgres://u:p@db/b?port=hunter2", "port"),
            ("postgres://u:p@db/b?sslrootcert=/ca.pem", "verify-full"),
            ("postgres://u:p@db/b?sslrootcert=/ca.pem&sslmode=prefer", "verify-full"),
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
