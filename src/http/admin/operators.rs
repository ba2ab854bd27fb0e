//! Identifies the operator, checks the role that a route needs, and writes the row in the audit.
//!
//! One table names for each route the role it needs and its act; a route that is not in it needs the highest role. An act
//! is on record before it is done: without that row it is not done.

use axum::{
    body::{Body, Bytes},
    extract::{MatchedPath, RawPathParams, Request, State},
    http::{Method, header},
    middleware::Next,
    response::Response,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use subtle::ConstantTimeEq as _;

use super::{Admin, is_local, wants_texts};
use crate::{
    domain::{
        ids::{ConversationId, FrontendName},
        operator::{Operator, Role},
    },
    http::{
        auth::digest,
        context,
        problem::{Code, Problem},
    },
    store::Act,
};

/// The longest body of an act, in bytes.
const MAX_BODY: usize = 256 * 1024;
/// The longest reason that is kept, in characters.
const MAX_REASON: usize = 1_000;

/// A route, the role it needs, and the name of its act; reads have no name.
type Rule = (&'static str, &'static str, Role, Option<&'static str>);

/// Every route of the operators' API.
pub(super) const RULES: [Rule; 27] = [
    ("GET", "/admin/v1/deliveries", Role::Read, None),
    ("POST", "/admin/v1/deliveries/retry", Role::Operate, Some("deliveries.retry")),
    ("GET", "/admin/v1/deliveries/{id}", Role::Read, None),
    ("POST", "/admin/v1/deliveries/{id}/retry", Role::Operate, Some("delivery.retry")),
    ("POST", "/admin/v1/deliveries/replay", Role::Operate, Some("replay.begin")),
    ("GET", "/admin/v1/deliveries/replay/{id}", Role::Read, None),
    ("POST", "/admin/v1/deliveries/replay/{id}/pause", Role::Operate, Some("replay.pause")),
    ("POST", "/admin/v1/deliveries/replay/{id}/resume", Role::Operate, Some("replay.resume")),
    ("POST", "/admin/v1/deliveries/replay/{id}/cancel", Role::Operate, Some("replay.cancel")),
    ("GET", "/admin/v1/frontends", Role::Read, None),
    ("POST", "/admin/v1/frontends/{name}/pause", Role::Operate, Some("frontend.pause")),
    ("POST", "/admin/v1/frontends/{name}/resume", Role::Operate, Some("frontend.resume")),
    ("POST", "/admin/v1/frontends/{name}/ping", Role::Operate, Some("frontend.ping")),
    ("GET", "/admin/v1/conversations", Role::Read, None),
    ("GET", "/admin/v1/conversations/{frontend}/{id}", Role::Read, None),
    ("DELETE", "/admin/v1/conversations/{frontend}/{id}", Role::Erase, Some("conversation.erase")),
    ("POST", "/admin/v1/conversations/{frontend}/{id}/bind", Role::Operate, Some("conversation.bind")),
    ("GET", "/admin/v1/handoffs", Role::Read, None),
    ("GET", "/admin/v1/quarantines", Role::Read, None),
    ("GET", "/admin/v1/lanes", Role::Read, None),
    ("GET", "/admin/v1/figures", Role::Read, None),
    ("GET", "/admin/v1/configuration", Role::Read, None),
    ("GET", "/admin/v1/budget", Role::Read, None),
    // A machine asks this for an export, many times a minute: it changes nothing that an audit would ask about.
    ("POST", "/admin/v1/budget/permits", Role::Operate, None),
    ("GET", "/admin/v1/report", Role::Read, None),
    ("GET", "/admin/v1/audit", Role::Read, None),
    ("GET", "/admin/v1/operators/me", Role::Read, None),
];

/// The operators and their tokens.
pub struct Operators {
    /// The token that may do everything.
    admin: Option<[u8; 32]>,
    named: Vec<([u8; 32], Operator)>,
}

impl Operators {
    /// Takes `admin.token`, and the named operators with theirs.
    pub fn new(admin: Option<&SecretString>, named: impl IntoIterator<Item = (Operator, SecretString)>) -> Self {
        let named = named.into_iter().map(|(operator, token)| (digest(token.expose_secret()), operator));
        Self { admin: admin.map(|token| digest(token.expose_secret())), named: named.collect() }
    }

    /// Returns true if no token is needed.
    fn are_open(&self) -> bool {
        self.admin.is_none() && self.named.is_empty()
    }

    /// Finds the operator of a token. Takes the same time for every operator.
    fn by_token(&self, token: &str) -> Option<Operator> {
        let given = digest(token);
        let mut found = None;
        if self.admin.is_some_and(|admin| bool::from(admin.ct_eq(&given))) {
            found = Some(Operator::almighty("admin"));
        }
        for (known, operator) in &self.named {
            if bool::from(known.ct_eq(&given)) {
                found = Some(operator.clone());
            }
        }
        found
    }
}

/// Admits those who may, and records acts and reads.
pub(super) async fn authorize(
    State(admin): State<Admin>,
    parameters: RawPathParams,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let operator = who(&admin, &request)?;
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
    let method = if request.method() == Method::HEAD { "GET" } else { request.method().as_str() };
    let rule = RULES.iter().find(|(of, path, ..)| *of == method && *path == route);
    let (role, act) = rule.map_or((Role::Erase, Some("unknown")), |(_, _, role, act)| (*role, *act));
    let with_texts = wants_texts(request.uri().query());
    let refusal = operator.refusal(role, with_texts);
    let (request, asked) = match act {
        Some(_) if request.method() == Method::POST => with_body(request).await?,
        _ => {
            let reason = in_query(request.uri().query());
            (request, Asked { reason, is_dry: false })
        }
    };
    let act = act.map(|act| if asked.is_dry { format!("{act}.dry_run") } else { act.to_owned() });
    let look = with_texts.then_some("texts.read").or_else(|| (refusal.is_some() && act.is_none()).then_some("look"));
    for act in act.into_iter().chain(look.map(str::to_owned)) {
        let row = Act {
            at: admin.wall.now(),
            operator: operator.name.clone(),
            act,
            object: object(&route, &parameters, request.uri().query()),
            conversation: conversation(&route, &parameters),
            reason: asked.reason.as_ref().map(|reason| reason.chars().take(MAX_REASON).collect()),
            is_refused: refusal.is_some(),
        };
        admin.store.add_act(&row).await?;
        tracing::info!(operator = row.operator, act = row.act, refused = row.is_refused, "act of an operator");
    }
    if let Some(detail) = refusal {
        return Err(Problem::new(Code::Forbidden).detail(detail));
    }
    let mut request = request;
    request.extensions_mut().insert(operator);
    Ok(next.run(request).await)
}

fn who(admin: &Admin, request: &Request) -> Result<Operator, Problem> {
    let operators = admin.operators.borrow().clone();
    if operators.are_open() {
        if !is_local(request.headers()) {
            let detail = "without an admin token only requests to a loopback name, from no other origin, are answered";
            return Err(Problem::new(Code::Forbidden).detail(detail));
        }
        return Ok(Operator::almighty("local"));
    }
    // Of two headers, it is undefined which one is meant.
    let given = context::only(request.headers(), &header::AUTHORIZATION);
    let given =
        given.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let found = given.and_then(|(_, given)| operators.by_token(given.trim()));
    found.ok_or_else(|| Problem::new(Code::Unauthorized).detail("the admin token, or an operator's own, is required"))
}

/// The audit's details of a request.
struct Asked {
    reason: Option<String>,
    /// True if nothing is to be done except to report what would be.
    is_dry: bool,
}

/// Reads the audit's details from the body of an act; the body goes on as it came.
async fn with_body(request: Request) -> Result<(Request, Asked), Problem> {
    let (parts, body) = request.into_parts();
    let bytes: Bytes = axum::body::to_bytes(body, MAX_BODY).await.map_err(|_| Problem::new(Code::TooLarge))?;
    let fields: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let reason = fields["reason"].as_str().map(str::to_owned).or_else(|| in_query(parts.uri.query()));
    let is_dry = fields["dry_run"] == true;
    Ok((Request::from_parts(parts, Body::from(bytes)), Asked { reason, is_dry }))
}

fn in_query(query: Option<&str>) -> Option<String> {
    let mut members = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    members.find(|(name, _)| name == "reason").map(|(_, value)| value.into_owned())
}

/// Returns the conversation of a route.
fn conversation(route: &str, parameters: &RawPathParams) -> Option<(FrontendName, ConversationId)> {
    if !route.starts_with("/admin/v1/conversations/") {
        return None;
    }
    let named = |wanted: &str| parameters.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned());
    Some((FrontendName::trusted(named("frontend")?), ConversationId::trusted(named("id")?)))
}

/// Returns the object of an act: the path with its parameters, except a conversation's id; and the destination, if one is
/// named.
fn object(route: &str, parameters: &RawPathParams, query: Option<&str>) -> String {
    let keeps_id = !route.starts_with("/admin/v1/conversations/");
    let mut object = route.trim_start_matches("/admin/v1/").to_owned();
    for (name, value) in parameters {
        if name != "id" || keeps_id {
            object = object.replace(&format!("{{{name}}}"), value);
        }
    }
    let mut members = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    if let Some((_, destination)) = members.find(|(name, _)| name == "destination") {
        object = format!("{object}?destination={destination}");
    }
    object
}
