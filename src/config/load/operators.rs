//! The operators by name, entry by entry.

use std::collections::BTreeMap;

use super::{
    finding::{Wrong, quote},
    forms,
    frontends::name,
    reader::Scope,
    secret_forms,
};
use crate::{
    config::NamedOperator,
    domain::operator::{Operator, Role},
};

/// Names that the audit uses for those who have none.
const RESERVED: [&str; 2] = ["admin", "local"];

pub(super) fn read(s: &mut Scope<'_>) -> Vec<NamedOperator> {
    let mut names = BTreeMap::new();
    let mut operators = Vec::new();
    for (path, node) in s.entries("operators").unwrap_or_default() {
        let help = "begin every operator with a line [[admin.operators]]";
        let operator = s.entry(path, node, help, |s| operator(s, &mut names));
        operators.extend(operator.flatten());
    }
    operators
}

fn operator(s: &mut Scope<'_>, names: &mut BTreeMap<String, String>) -> Option<NamedOperator> {
    let found = s.required("name", "give the operator a name, such as name = \"ada\"", name);
    if let Some(name) = &found {
        let path = s.path("name");
        if RESERVED.contains(&name.as_str()) {
            let what = format!("is {}, by which the audit calls those without a name", quote(name));
            s.cx.error(path.clone(), Wrong::new(what, "use another one"));
        }
        if let Some(first) = names.insert(name.clone(), path.clone()) {
            let what = format!("is {} like `{first}`", quote(name));
            s.cx.error(path, Wrong::new(what, "give every operator its own name"));
        }
    }
    let roles = Role::ALL.map(|role| (role.as_str(), role));
    let role = s.required("role", "write \"read\", \"operate\" or \"erase\"", forms::one_of(&roles));
    let texts = s.value("texts", false, forms::boolean);
    let token = s.secret("token", "token_file", secret_forms::token);
    let (key, file_key) = (s.path("token"), s.path("token_file"));
    if token.is_none() && !s.cx.has_error(&key) && !s.cx.has_error(&file_key) {
        s.cx.error(
            key,
            Wrong::new("is missing", "give the operator a token of at least 24 characters, or a `token_file`"),
        );
    }
    Some(NamedOperator { operator: Operator { name: found?, role: role?, texts }, token: token? })
}
