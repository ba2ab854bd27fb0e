//! Tells who calls: a frontend's server by bearer token or by signature, or a browser by a token for one conversation or
//! one user.
//!
//! Secrets are compared in constant time, and every known token is compared, so that an answer's timing does not say which
//! one was nearly right.

use std::{collections::HashMap, sync::Arc};

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use tokio::sync::watch;

use super::{
    asked::Asked,
    problem::{Code, Problem},
};
use crate::{
    domain::{
        WallTime,
        ids::{ConversationId, FrontendName},
    },
    signature::{
        SignedHeaders, Verifier,
        token::{self, Claims, TokenError, TokenSecret},
    },
};

/// The credentials of one frontend.
#[derive(Debug)]
pub struct Credentials {
    /// The frontend.
    pub frontend: FrontendName,
    /// Digests of its bearer tokens.
    pub tokens: Vec<[u8; 32]>,
    /// Verifies its signed requests; `None` if it signs none.
    pub verifier: Option<Verifier>,
    /// Verify its browser tokens; the first mints them. Empty if it has none.
    pub token_secrets: Vec<TokenSecret>,
    /// The names of user attributes that a browser may set itself.
    pub browser_attributes: Vec<String>,
}

impl Credentials {
    /// Returns the claims of a browser token, whichever of the secrets signed it.
    fn claims(&self, text: &str, now: WallTime) -> Result<Claims, TokenError> {
        let mut verified = self.token_secrets.iter().map(|secret| token::verify(text, secret, now.as_secs()));
        let judged = verified.find(|verified| !matches!(verified, Err(TokenError::Signature)));
        judged.unwrap_or(Err(TokenError::Signature))
    }
}

/// The present credentials: they may change while the bridge runs.
#[derive(Clone, Debug)]
pub struct Known(watch::Receiver<Arc<Frontends>>);

impl Known {
    /// Takes the credentials that `changes` brings.
    pub const fn new(changes: watch::Receiver<Arc<Frontends>>) -> Self {
        Self(changes)
    }

    /// Returns the present credentials. One request is judged by one snapshot of them.
    pub fn current(&self) -> Arc<Frontends> {
        Arc::clone(&self.0.borrow())
    }
}

/// Every frontend's credentials.
#[derive(Debug, Default)]
pub struct Frontends {
    all: Vec<Credentials>,
    by_name: HashMap<String, usize>,
}

/// The caller of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A frontend's server: everything of its frontend.
    Server(FrontendName),
    /// A browser: one conversation, or those of one user.
    Browser {
        /// The frontend.
        frontend: FrontendName,
        /// The claims of its token.
        claims: Claims,
    },
}

/// Returns the digest under which a bearer token is kept and compared.
pub fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl Frontends {
    /// Takes the configured credentials.
    pub fn new(all: Vec<Credentials>) -> Self {
        let by_name = all.iter().enumerate().map(|(index, one)| (one.frontend.as_str().to_owned(), index)).collect();
        Self { all, by_name }
    }

    /// Returns the secret that mints browser tokens of a frontend.
    pub fn token_secret(&self, frontend: &FrontendName) -> Option<&TokenSecret> {
        self.named(frontend.as_str())?.token_secrets.first()
    }

    /// Returns the names of user attributes that a browser of a frontend may set itself.
    pub fn browser_attributes(&self, frontend: &FrontendName) -> &[String] {
        self.named(frontend.as_str()).map_or(&[], |one| &one.browser_attributes)
    }

    /// Finds the caller by the token in the headers. A signature does not identify it: it proves the message that it was
    /// made for, and covers neither method nor path.
    pub fn by_headers(&self, asked: &Asked, now: WallTime) -> Result<Caller, Problem> {
        let headers = &asked.headers;
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = values.next() else {
            let detail = if signed(headers).is_ok_and(|signed| signed.any()) {
                "a signature is taken for messages only: send a token"
            } else {
                "no credentials were sent"
            };
            return Err(unauthorized(detail));
        };
        if values.next().is_some() {
            return Err(unauthorized("more than one Authorization was sent"));
        }
        let token = value.to_str().ok().and_then(bearer).ok_or_else(|| unauthorized("not a bearer token"))?;
        self.by_token(token, asked, now)
    }

    /// As [`Self::by_headers`], for the route that takes signed messages: `Ok(None)` if the request is signed, so that its
    /// body has to be read first. If no frontend signs, nothing is read.
    pub fn by_token_or_signature(&self, asked: &Asked, now: WallTime) -> Result<Option<Caller>, Problem> {
        if asked.headers.contains_key(header::AUTHORIZATION) || !signed(&asked.headers)?.any() {
            return self.by_headers(asked, now).map(Some);
        }
        let verifier = self.all.iter().find_map(|one| one.verifier.as_ref());
        let verifier = verifier.ok_or_else(|| unauthorized("no frontend takes signed requests"))?;
        // The headers alone refuse most forgeries, before any of the body is kept.
        verifier.look_at(signed(&asked.headers)?, now.as_secs()).map_err(|error| unauthorized(&error.to_string()))?;
        Ok(None)
    }

    /// Returns true if a token may stand in the query: only if the headers hold no credentials of the scheme Bearer, valid
    /// or not. Browsers add other schemes by themselves behind a password.
    pub fn takes_query_token(headers: &HeaderMap) -> bool {
        let is_bearer = |value: &axum::http::HeaderValue| {
            let scheme = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
            scheme.eq_ignore_ascii_case(b"bearer")
        };
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        values.next().is_none_or(|value| !is_bearer(value) && values.next().is_none())
    }

    /// Finds the sender of a signed message by the headers and the raw body; also returns the id that was signed with it.
    pub fn by_signature(&self, headers: &HeaderMap, body: &[u8], now: WallTime) -> Result<(Caller, String), Problem> {
        let signed = signed(headers)?;
        let mut reason = "no frontend takes signed requests".to_owned();
        for one in &self.all {
            let Some(verifier) = &one.verifier else { continue };
            match verifier.verify(signed, body, now.as_secs()) {
                Ok(verified) => return Ok((Caller::Server(one.frontend.clone()), verified.id.to_owned())),
                Err(error) => reason = error.to_string(),
            }
        }
        Err(unauthorized(&reason))
    }

    /// Finds the caller of this token: a frontend's bearer token or a browser token.
    pub fn by_token(&self, token: &str, asked: &Asked, now: WallTime) -> Result<Caller, Problem> {
        let given = digest(token);
        let mut found = None;
        for one in &self.all {
            let matches = one.tokens.iter().fold(Choice::from(0), |any, known| any | known.ct_eq(&given));
            if bool::from(matches) {
                found = Some(&one.frontend);
            }
        }
        if let Some(frontend) = found {
            return Ok(Caller::Server(frontend.clone()));
        }
        if token.matches('.').count() != 2 {
            return Err(unauthorized("the token is not known"));
        }
        self.by_browser_token(token, asked, now)
    }

    /// Finds the browser that calls with this token.
    pub fn by_browser_token(&self, text: &str, asked: &Asked, now: WallTime) -> Result<Caller, Problem> {
        let frontend = token::peek_frontend(text).map_err(|error| unauthorized(&error.to_string()))?;
        // A caller that cannot sign for a frontend does not learn that it exists.
        let unknown = || unauthorized(&TokenError::Signature.to_string());
        let one = self.named(&frontend).filter(|one| !one.token_secrets.is_empty()).ok_or_else(unknown)?;
        let claims = one.claims(text, now).map_err(|error| unauthorized(&error.to_string()))?;
        let page = asked.page();
        if !claims.allows(page) {
            let detail = match page.origin {
                Some(_) => "the token is not for this origin",
                None => {
                    "the token is for pages of certain origins, and the request does not say that it comes from one"
                }
            };
            return Err(Problem::new(Code::Forbidden).detail(detail));
        }
        Ok(Caller::Browser { frontend: one.frontend.clone(), claims })
    }

    fn named(&self, name: &str) -> Option<&Credentials> {
        self.by_name.get(name).map(|index| &self.all[*index])
    }
}

impl Caller {
    /// Returns the frontend for which the caller speaks.
    pub const fn frontend(&self) -> &FrontendName {
        match self {
            Self::Server(frontend) | Self::Browser { frontend, .. } => frontend,
        }
    }

    /// Returns the conversations of the frontend that the caller may touch.
    pub fn reach(&self) -> Reach<'_> {
        match self {
            Self::Server(_) => Reach::All,
            Self::Browser { claims: Claims { conversation_id: Some(id), .. }, .. } => Reach::Conversation(id),
            Self::Browser { claims: Claims { sub, .. }, .. } => Reach::User(sub.as_deref().unwrap_or_default()),
        }
    }

    /// Returns true if a browser calls, which sees less of what it may read.
    pub const fn is_browser(&self) -> bool {
        matches!(self, Self::Browser { .. })
    }

    /// Returns the frontend if its server calls: browsers may not do everything.
    pub fn server_only(self) -> Result<FrontendName, Problem> {
        match self {
            Self::Server(frontend) => Ok(frontend),
            Self::Browser { .. } => Err(Problem::new(Code::Forbidden).detail("a browser token does not allow this")),
        }
    }
}

/// The conversations that a caller may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach<'a> {
    /// All of its frontend.
    All,
    /// This one.
    Conversation(&'a str),
    /// Those of this user, and new ones.
    User(&'a str),
}

impl Reach<'_> {
    /// Accepts a message to this conversation, as far as that can be decided without knowing its owner.
    pub fn may_write(self, conversation: &ConversationId) -> Result<(), Problem> {
        match self {
            Self::All | Self::User(_) => Ok(()),
            Self::Conversation(own) if own == conversation.as_str() => Ok(()),
            Self::Conversation(_) => Err(not_theirs()),
        }
    }
}

/// Refuses a conversation. The answer is the same whether or not it exists, so that nobody learns which ids there are.
pub(super) fn not_theirs() -> Problem {
    Problem::new(Code::Forbidden).detail("the token is for another conversation")
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn signed(headers: &HeaderMap) -> Result<SignedHeaders<'_>, Problem> {
    SignedHeaders::pick(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
        .map_err(|error| unauthorized(&error.to_string()))
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(Code::Unauthorized).detail(detail)
}
