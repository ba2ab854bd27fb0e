//! Who calls: a frontend's server by bearer token or by signature, or a browser by a token for one conversation.
//!
//! Secrets are compared in constant time, and every known token is compared, so that an answer's timing says nothing about
//! which one was nearly right.

use std::collections::HashMap;

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::problem::{Code, Problem};
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

/// One frontend, as far as its credentials go.
#[derive(Debug)]
pub struct Credentials {
    /// The frontend.
    pub frontend: FrontendName,
    /// Digests of its bearer tokens.
    pub tokens: Vec<[u8; 32]>,
    /// Verifies its signed requests, where it signs.
    pub verifier: Option<Verifier>,
    /// Verifies and mints its browser tokens, where it has any.
    pub token_secret: Option<TokenSecret>,
}

/// Every frontend's credentials.
#[derive(Debug, Default)]
pub struct Frontends {
    all: Vec<Credentials>,
    by_name: HashMap<String, usize>,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A frontend's server: everything of its frontend.
    Server(FrontendName),
    /// A browser: one conversation.
    Browser {
        /// The frontend.
        frontend: FrontendName,
        /// What its token says.
        claims: Claims,
    },
}

/// The digest under which a bearer token is kept and compared.
pub fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl Frontends {
    /// From the configured credentials.
    pub fn new(all: Vec<Credentials>) -> Self {
        let by_name = all.iter().enumerate().map(|(index, one)| (one.frontend.as_str().to_owned(), index)).collect();
        Self { all, by_name }
    }

    /// The secret that mints browser tokens of a frontend.
    pub fn token_secret(&self, frontend: &FrontendName) -> Option<&TokenSecret> {
        self.named(frontend.as_str())?.token_secret.as_ref()
    }

    /// Who calls, by the token in the headers. A signature is no answer: it proves the message that it was made for, and
    /// covers neither method nor path.
    pub fn by_headers(&self, headers: &HeaderMap, now: WallTime) -> Result<Caller, Problem> {
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
        self.by_token(token, headers, now)
    }

    /// As [`Self::by_headers`], for the route that takes signed messages: `Ok(None)` where the request is signed, so that its
    /// body has to be read first. Where no frontend signs, nothing is read.
    pub fn by_token_or_signature(&self, headers: &HeaderMap, now: WallTime) -> Result<Option<Caller>, Problem> {
        if headers.contains_key(header::AUTHORIZATION) || !signed(headers)?.any() {
            return self.by_headers(headers, now).map(Some);
        }
        let verifier = self.all.iter().find_map(|one| one.verifier.as_ref());
        let verifier = verifier.ok_or_else(|| unauthorized("no frontend takes signed requests"))?;
        // The headers alone refuse most forgeries, before anything of the body is kept.
        verifier.look_at(signed(headers)?, now.as_secs()).map_err(|error| unauthorized(&error.to_string()))?;
        Ok(None)
    }

    /// Whether a token may stand in the query: only where no bearer token stands in the headers. Other schemes are what
    /// browsers add by themselves behind a password.
    pub fn takes_query_token(headers: &HeaderMap) -> bool {
        let is_bearer = |value: &axum::http::HeaderValue| value.to_str().is_ok_and(|value| bearer(value).is_some());
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        values.next().is_none_or(|value| !is_bearer(value) && values.next().is_none())
    }

    /// Who sent a signed message, by the headers and the raw body, and the id that was signed with it.
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

    /// Who calls with this token: a frontend's bearer token or a browser token.
    pub fn by_token(&self, token: &str, headers: &HeaderMap, now: WallTime) -> Result<Caller, Problem> {
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
        self.by_browser_token(token, headers, now)
    }

    /// Which browser calls with this token.
    pub fn by_browser_token(&self, text: &str, headers: &HeaderMap, now: WallTime) -> Result<Caller, Problem> {
        let origin = headers.get(header::ORIGIN).and_then(|value| value.to_str().ok());
        let frontend = token::peek_frontend(text).map_err(|error| unauthorized(&error.to_string()))?;
        // A caller that cannot sign for a frontend does not learn that it exists.
        let unknown = || unauthorized(&TokenError::Signature.to_string());
        let one = self.named(&frontend).ok_or_else(unknown)?;
        let secret = one.token_secret.as_ref().ok_or_else(unknown)?;
        let claims = token::verify(text, secret, now.as_secs()).map_err(|error| unauthorized(&error.to_string()))?;
        if !claims.allows_origin(origin) {
            return Err(Problem::new(Code::Forbidden).detail("the token is not for this origin"));
        }
        Ok(Caller::Browser { frontend: one.frontend.clone(), claims })
    }

    fn named(&self, name: &str) -> Option<&Credentials> {
        self.by_name.get(name).map(|index| &self.all[*index])
    }
}

impl Caller {
    /// The frontend that is spoken for.
    pub const fn frontend(&self) -> &FrontendName {
        match self {
            Self::Server(frontend) | Self::Browser { frontend, .. } => frontend,
        }
    }

    /// Whether the caller may do something to this conversation at all.
    pub fn may_touch(&self, conversation: &ConversationId) -> Result<(), Problem> {
        match self {
            Self::Server(_) => Ok(()),
            Self::Browser { claims, .. } if claims.conversation_id == conversation.as_str() => Ok(()),
            Self::Browser { .. } => Err(Problem::new(Code::Forbidden).detail("the token is for another conversation")),
        }
    }

    /// The frontend, where its server calls: browsers may not do everything.
    pub fn server_only(self) -> Result<FrontendName, Problem> {
        match self {
            Self::Server(frontend) => Ok(frontend),
            Self::Browser { .. } => Err(Problem::new(Code::Forbidden).detail("a browser token does not allow this")),
        }
    }
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
