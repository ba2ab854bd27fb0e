//! Requests that cannot be read as HTTP.
//!
//! The HTTP library answers them by itself, with a bare head. That is kept from the wire, and the router answers in its
//! place: so such an answer has the shape, the headers, the id and the count of every other.

use std::net::SocketAddr;

use axum::{
    body::{self, Body},
    extract::{ConnectInfo, Request},
    http::{Method, StatusCode, Uri, Version, header},
    response::Response,
};

/// Marks a request of which nothing is known but that it could not be read: the status of its answer. The router finds it
/// among the extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable(pub StatusCode);

impl Unreadable {
    /// Makes the request that stands for the unreadable one. Its method is none of HTTP's, its path that of no route.
    pub(super) fn request(self, peer: SocketAddr) -> Request {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = Method::from_bytes(b"-").unwrap_or_default();
        *request.uri_mut() = Uri::from_static("*");
        *request.version_mut() = Version::HTTP_11;
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(self);
        request
    }
}

/// An answer of the library's own that was kept from the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BareAnswer {
    pub(super) status: StatusCode,
    /// The time in its `date`.
    date: Option<String>,
}

/// The beginning of every answer of the library's own.
const LINE: &[u8] = b"HTTP/1.1 4";
/// Its length at most.
const MOST: usize = 256;

/// Finds the library's own answer at the end of what it writes: where it begins, and what it is. It has no body and no
/// headers but these three; an answer of a router that knows [`Unreadable`] has more.
pub(super) fn bare_answer(bytes: &[u8]) -> Option<(usize, BareAnswer)> {
    let from = bytes.len().saturating_sub(MOST);
    let begin = from + bytes[from..].windows(LINE.len()).rposition(|window| window == LINE)?;
    let head = std::str::from_utf8(&bytes[begin..]).ok()?.strip_suffix("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let (mut is_empty, mut date) = (false, None);
    for line in lines {
        match line.split_once(": ")? {
            ("connection", "close") => {}
            ("content-length", "0") => is_empty = true,
            ("date", value) => date = Some(value.to_owned()),
            _ => return None,
        }
    }
    is_empty.then_some((begin, BareAnswer { status, date }))
}

impl BareAnswer {
    /// Writes the router's answer down in place of the library's. It is the last on its connection.
    pub(super) async fn replaced_by(self, response: Response) -> Vec<u8> {
        let (parts, body) = response.into_parts();
        let body = body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        let reason = parts.status.canonical_reason().unwrap_or_default();
        let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", parts.status.as_u16()).into_bytes();
        let framing = [header::CONNECTION, header::CONTENT_LENGTH, header::DATE];
        for (name, value) in parts.headers.iter().filter(|(name, _)| !framing.contains(name)) {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        if let Some(date) = self.date {
            bytes.extend_from_slice(format!("date: {date}\r\n").as_bytes());
        }
        bytes.extend_from_slice(format!("connection: close\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: Tue, 1 Dec\r\n\r\n";

    #[test]
    fn the_librarys_own_answer_is_told_from_every_other() {
        let found =
            |text: &str| bare_answer(text.as_bytes()).map(|(begin, bare_answer)| (begin, bare_answer.status.as_u16()));
        assert_eq!(found(OWN), Some((0, 431)));
        let before = "HTTP/1.1 204 No Content\r\nx-request-id: a\r\n\r\n";
        assert_eq!(found(&format!("{before}{OWN}")), Some((before.len(), 431)), "behind an earlier answer");
        assert_eq!(found(&OWN[..OWN.len() - 1]), None);
        assert_eq!(found("HTTP/1.1 400 Bad Request\r\nx-request-id: a\r\ncontent-length: 0\r\n\r\n"), None);
        assert_eq!(found("HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\n\r\n"), None);
        assert_eq!(found(""), None);
    }

    #[tokio::test]
    async fn the_routers_answer_takes_its_place_and_ends_the_connection() {
        let (_, bare_answer) = bare_answer(OWN.as_bytes()).expect("the library's own");
        let mut response = Response::new(Body::from("{}"));
        *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        response.headers_mut().insert("x-request-id", "a".parse().expect("valid"));
        let bytes = bare_answer.replaced_by(response).await;
        assert_eq!(
            String::from_utf8_lossy(&bytes),
            "HTTP/1.1 431 Request Header Fields Too Large\r\nx-request-id: a\r\ndate: Tue, 1 Dec\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"
        );
    }
}
