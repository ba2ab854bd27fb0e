//! One request and its answer: one deadline from the call to the last byte, a cap on what is read, and the decision whether
//! the request left.
//!
//! A request with a body is `NeverLeft` exactly if its [`DepartingBody`] was never taken and is withheld from now on;
//! no error of the HTTP library is interpreted for that, and none of its own retries can lead to a second copy, since the
//! body exists once. A request without a body is `NeverLeft` if the library says that there was no connection.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use reqwest::{
    Method, Request, Response,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::{
    FiniClient, Keys, RequestFacts, Route,
    body::DepartingBody,
    transport::{SendError, chain},
    verdict,
};
use crate::{
    domain::Timestamp,
    fini::{Departure, Failure, redact},
};

/// Bytes of an error's body that are read, and the time for that: an explanation is nice to have, the status is known.
const EXPLANATION_CAP: usize = 16 * 1024;
const EXPLANATION_TIME: Duration = Duration::from_secs(5);

/// One request, ready to be sent.
pub(super) struct Call<'a> {
    pub(super) route: Route,
    pub(super) method: Method,
    pub(super) url: Url,
    /// The keys at the beginning of the call.
    pub(super) keys: Arc<Keys>,
    /// The key that it carries.
    pub(super) side: Side,
    pub(super) body: Option<Bytes>,
    /// Time from the call to the last byte of the answer.
    pub(super) time: Duration,
    /// The largest answer, in bytes.
    pub(super) cap: usize,
    /// Texts of the request that no detail may repeat.
    pub(super) said: Vec<&'a str>,
}

/// The key that a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The one for reading.
    Read,
    /// The one for writing.
    Write,
}

/// A 2xx and its whole body.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// Decides the departure when the call ends in any way, a dropped future included.
struct Decided<'a> {
    departure: &'a Departure,
    has_body: bool,
}

impl Decided<'_> {
    /// Returns true if the request never left, and now never will.
    fn never_left(&self, connected: bool) -> bool {
        if self.has_body || !connected {
            self.departure.withhold()
        } else {
            self.departure.mark();
            false
        }
    }
}

impl Drop for Decided<'_> {
    fn drop(&mut self) {
        self.never_left(true);
    }
}

impl FiniClient {
    /// Sends one request, waits for its whole answer, decodes it, and reports it to the observer.
    pub(super) async fn exchange<T>(
        &self,
        call: Call<'_>,
        departure: &Departure,
        decode: impl FnOnce(&[u8]) -> Result<T, crate::fini::Malformed> + Send,
    ) -> Result<T, Failure> {
        let started = Instant::now();
        let route = call.route;
        let (mut status, mut date) = (None, None);
        let result = self.attempt(call, departure, &mut status, &mut date).await.and_then(|answer| {
            decode(&answer.body).map_err(|malformed| unclear(Some(answer.status), malformed.reason))
        });
        let facts = RequestFacts {
            route,
            status,
            date,
            duration: started.elapsed(),
            span: departure.onward().span(),
            failure: result.as_ref().err(),
        };
        tracing::debug!(
            route = facts.route.as_str(),
            status = facts.status,
            duration_ms = u64::try_from(facts.duration.as_millis()).unwrap_or(u64::MAX),
            failure = facts.failure.map(Failure::class),
            "fini request"
        );
        (self.observer)(&facts);
        result
    }

    async fn attempt(
        &self,
        mut call: Call<'_>,
        departure: &Departure,
        status: &mut Option<u16>,
        date: &mut Option<Timestamp>,
    ) -> Result<Answer, Failure> {
        let decided = Decided { departure, has_body: call.body.is_some() };
        if !departure.may_leave() {
            return Err(Failure::NeverLeft { detail: "held up for too long before it could leave".to_owned() });
        }
        let mut request = Request::new(call.method.clone(), call.url.clone());
        let headers = request.headers_mut();
        let key = match call.side {
            Side::Read => &call.keys.read,
            Side::Write => &call.keys.write,
        };
        headers.insert(AUTHORIZATION, key.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        for (name, value) in departure.onward().headers() {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        if let Some(body) = call.body.take() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = Some(reqwest::Body::wrap(DepartingBody::new(body, departure.clone())));
        }

        let deadline = Instant::now() + call.time;
        let work = async {
            let response = self.transport.send(request).await.map_err(Fault::Send)?;
            departure.mark();
            *status = Some(response.status().as_u16());
            *date = verdict::date(response.headers());
            if response.status().is_success() {
                read(response, call.cap).await.map(Outcome::Success)
            } else {
                Ok(Outcome::Refusal(response))
            }
        };
        let fault = match timeout_at(deadline, work).await {
            Ok(Ok(Outcome::Success(body))) => return Ok(Answer { status: status.unwrap_or_default(), body }),
            Ok(Ok(Outcome::Refusal(response))) => return Err(Self::explain(&call, response, deadline).await),
            Ok(Err(fault)) => fault,
            Err(_) => Fault::Deadline,
        };
        let detail = Self::describe(&fault, &call);
        if decided.never_left(fault.connected()) {
            Err(Failure::NeverLeft { detail })
        } else {
            Err(unclear(*status, detail))
        }
    }

    /// Judges a refusal. The head of an answer decides its class; a body that breaks off or stalls changes nothing.
    async fn explain(call: &Call<'_>, mut response: Response, deadline: Instant) -> Failure {
        let mut body = BytesMut::new();
        let reading = async {
            while let Ok(Some(chunk)) = response.chunk().await {
                let room = EXPLANATION_CAP - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if body.len() == EXPLANATION_CAP {
                    break;
                }
            }
        };
        // The part that was read by then is explanation enough.
        let _ = timeout_at(deadline.min(Instant::now() + EXPLANATION_TIME), reading).await;
        let status = response.status().as_u16();
        verdict::judge(call.route, status, response.headers(), &body, &call.keys.texts(), &call.said)
    }

    fn describe(fault: &Fault, call: &Call<'_>) -> String {
        let explanation = match fault {
            Fault::Deadline => format!("no complete answer within {:?}", call.time),
            Fault::TooLarge => format!("an answer of more than {} bytes", call.cap),
            Fault::Send(error) => error.detail.clone(),
            Fault::Receive(error) => chain(error),
        };
        redact::presentable(&explanation, &call.keys.texts(), &call.said)
    }
}

enum Outcome {
    Success(Bytes),
    Refusal(Response),
}

/// The reason why an exchange ended before its answer was complete.
enum Fault {
    Send(SendError),
    Receive(reqwest::Error),
    TooLarge,
    Deadline,
}

impl Fault {
    /// Returns true if a connection may have carried the request.
    fn connected(&self) -> bool {
        !matches!(self, Self::Send(SendError { connected: false, .. }))
    }
}

async fn read(mut response: Response, cap: usize) -> Result<Bytes, Fault> {
    let announced = response.content_length().unwrap_or_default();
    if announced > cap as u64 {
        return Err(Fault::TooLarge);
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(Fault::Receive)? {
        if chunk.len() > cap - body.len() {
            return Err(Fault::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn unclear(status: Option<u16>, detail: String) -> Failure {
    Failure::Unclear { status, retry_after: None, by_fini: false, detail }
}
