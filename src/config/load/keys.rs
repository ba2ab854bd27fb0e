//! The API keys: one for both scopes, or one for each.

use secrecy::SecretString;

use super::{Needs, finding::Wrong, reader::Scope, secret_forms};
use crate::config::ApiKeys;

pub(super) fn read(s: &mut Scope<'_>, needs: Needs) -> ApiKeys {
    let both = s.secret("api_key", "api_key_file", secret_forms::visible);
    let read = s.secret("read_api_key", "read_api_key_file", secret_forms::visible);
    let write = s.secret("write_api_key", "write_api_key_file", secret_forms::visible);
    let split = read.is_some() || write.is_some();
    let key = s.path("api_key");
    match both {
        Some(_) if split => {
            s.cx.error(
                key,
                Wrong::new(
                    "is given besides `fini.read_api_key` or `fini.write_api_key`",
                    "keep `api_key` if one key has both scopes, else the other two",
                ),
            );
            ApiKeys::default()
        }
        Some(both) => ApiKeys::single(both),
        None => {
            // A key that was given and refused is not missing as well.
            let faulty = s.cx.has_api_key_error();
            let lacks_read = read.is_none() && needs != Needs::Nothing;
            let lacks_write = write.is_none() && needs == Needs::Serve;
            let lacking = match (split, lacks_read, lacks_write) {
                _ if faulty => None,
                (false, true, _) | (false, _, true) => Some("api_key"),
                (true, true, _) => Some("read_api_key"),
                (true, _, true) => Some("write_api_key"),
                (_, false, false) => None,
            };
            if let Some(lacking) = lacking {
                let variable = format!("FINI_BRIDGE__FINI__{}", lacking.to_ascii_uppercase());
                let scope = match lacking {
                    "api_key" => {
                        "a Fini key with the scopes read and write (or set `read_api_key` and `write_api_key`)"
                    }
                    "read_api_key" => "a Fini key with the scope read; `write_api_key` alone cannot read",
                    _ => "a Fini key with the scope write; `read_api_key` alone cannot send",
                };
                let help = format!("set {variable}, or put into the file named by {variable}_FILE, {scope}");
                let key = s.path(lacking);
                s.cx.error(key, Wrong::new("is missing", help));
            }
            let or_empty = |key: Option<SecretString>| key.unwrap_or_default();
            ApiKeys { read: or_empty(read), write: or_empty(write) }
        }
    }
}
