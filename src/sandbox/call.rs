//! A request to the vendor without a socket: a simulation in virtual time uses it in place of a client.
//!
//! The same path as over a connection, throttle, faults and audit included. It waits with `tokio::time` only and starts no
//! task; dropping the call is a client that hangs up: whatever it has stored stays stored, and its reply still comes.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use http_body_util::BodyExt;

use super::Sandbox;
use super::server::Connection;

/// A complete answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// HTTP status.
    pub status: u16,
    /// Response headers.
    pub headers: HeaderMap,
    /// The body as sent; compressed when `content-encoding` says so.
    pub body: Bytes,
}

/// The connection ended before the answer did.
#[derive(Clone, Debug, PartialEq)]
pub enum Broken {
    /// Without an answer.
    NoAnswer,
    /// Inside the body; this much of it came.
    InBody(Answered),
    /// The request itself is invalid: its method, path or key cannot be written in HTTP.
    NoRequest,
}

impl Sandbox {
    /// Sends one request: `method`, path with query, the text after `Bearer `, and the body.
    pub async fn call(
        &self,
        method: &str,
        path_and_query: &str,
        bearer: Option<&str>,
        body: impl Into<Bytes>,
    ) -> Result<Answered, Broken> {
        let method: Method = method.parse().map_err(|_| Broken::NoRequest)?;
        let uri: Uri = path_and_query.parse().map_err(|_| Broken::NoRequest)?;
        let mut headers = HeaderMap::new();
        if let Some(key) = bearer {
            let value = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| Broken::NoRequest)?;
            headers.insert(header::AUTHORIZATION, value);
        }
        let connection = Connection::default();
        let response = tokio::select! {
            biased;
            response = self.answer(&method, &uri, &headers, body.into(), Some(connection.clone())) => response,
            () = connection.ended() => return Err(Broken::NoAnswer),
        };
        let (parts, mut body) = response.into_parts();
        let mut read = Vec::new();
        let mut whole = true;
        while let Some(frame) = body.frame().await {
            match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => read.extend_from_slice(&data),
                Ok(Err(_)) => {}
                Err(_) => whole = false,
            }
        }
        let answered = Answered { status: parts.status.as_u16(), headers: parts.headers, body: read.into() };
        if whole { Ok(answered) } else { Err(Broken::InBody(answered)) }
    }
}
