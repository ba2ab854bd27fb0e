//! Carries out the effect of a fault on the request it strikes.
//!
//! The kinds that "serve" carry the operation out first: if it is refused, the answer is that refusal and not the fault,
//! since nothing is stored of which the outcome could be unclear.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use futures_util::stream;
use serde_json::Value;
use tokio::time::sleep;

use super::Sandbox;
use super::audit::Route;
use super::error::VendorError;
use super::exchange::{Ingest, Reply};
use super::operate::{Answer, Manner};
use super::present::json_response;
use super::rule::{FaultKind, FaultParams};
use super::server::Connection;
use super::turn::Turn;
use super::vendor::Call;

const HUGE: usize = 64 * 1024 * 1024;

/// Answers the request as the fault demands, or never.
pub async fn strike(
    sandbox: &Sandbox,
    call: &Call,
    kind: FaultKind,
    params: &FaultParams,
) -> Result<Response, VendorError> {
    match kind {
        FaultKind::Status => Ok(status(params)),
        FaultKind::RateLimited => {
            let retry_after = params.retry_after.as_ref().and_then(header_text);
            Err(VendorError { retry_after, ..VendorError::new(429, "Too Many Requests") })
        }
        FaultKind::Unauthorised => Err(VendorError::unauthorised()),
        FaultKind::Forbidden => Err(VendorError::forbidden("such")),
        FaultKind::ResetBefore => Ok(reset(call.connection.as_ref()).await),
        FaultKind::HangBefore => Ok(hang(params).await),
        FaultKind::ResetThenStore => {
            let turn = if call.route == Route::GenerateAnswer { Some(Turn::parse(&call.body)?) } else { None };
            if let Some(turn) = turn {
                let mut world = sandbox.world();
                let latency_ms = world.settings.reply_latency_ms;
                let ingest = Ingest { turn, reply: Reply::Normal, received_at: None, latency_ms };
                world.schedule_ingest(ingest, params.ms.unwrap_or(3_000));
            }
            Ok(reset(call.connection.as_ref()).await)
        }
        FaultKind::Delay => {
            sleep(Duration::from_millis(params.ms.unwrap_or(1_000))).await;
            serve(sandbox, call, params).await.map(|answer| sandbox.respond(&answer))
        }
        FaultKind::MergeThen500 => {
            if call.route == Route::GenerateAnswer {
                sandbox.world().ingest_metadata(&Turn::parse(&call.body)?)?;
            }
            Ok(status(params))
        }
        FaultKind::StoreThen500 => serve(sandbox, call, params).await.map(|_| status(params)),
        FaultKind::StoreThenHang => {
            serve(sandbox, call, params).await?;
            Ok(hang(params).await)
        }
        FaultKind::StoreThenReset => {
            serve(sandbox, call, params).await?;
            Ok(reset(call.connection.as_ref()).await)
        }
        FaultKind::EventsOnlyUser => {
            let late = params.ms.unwrap_or_else(|| sandbox.world().settings.late_reply_ms);
            let manner = Manner { reply: Reply::Late(late), wait: true };
            sandbox.perform(call, manner).await.map(|answer| sandbox.respond(&answer))
        }
        FaultKind::EmptyArray => {
            let answer = serve(sandbox, call, params).await?;
            Ok(sandbox.respond(&answer.emptied(params.has_more)))
        }
        FaultKind::FromTheTop => {
            let from_the_top = Call { query: without_cursor(&call.query), ..call.clone() };
            serve(sandbox, &from_the_top, params).await.map(|answer| sandbox.respond(&answer))
        }
        FaultKind::TruncatedJson => written(sandbox, call, params).await.map(|text| truncated(text, params.cut)),
        FaultKind::Garbage => serve(sandbox, call, params).await.map(|_| garbage()),
        FaultKind::Drip => written(sandbox, call, params).await.map(|text| drip(text, params)),
        FaultKind::HugeBody => written(sandbox, call, params).await.map(|text| huge(&text, params)),
    }
}

/// Serves, and returns the JSON text that would have been the answer.
async fn written(sandbox: &Sandbox, call: &Call, params: &FaultParams) -> Result<Vec<u8>, VendorError> {
    let answer = serve(sandbox, call, params).await?;
    Ok(answer.to_bytes(&sandbox.settings()))
}

fn without_cursor(query: &str) -> String {
    let kept = query.split('&').filter(|pair| !pair.starts_with("cursor="));
    kept.collect::<Vec<_>>().join("&")
}

async fn serve(sandbox: &Sandbox, call: &Call, params: &FaultParams) -> Result<Answer, VendorError> {
    let reply = if params.reply == Some(false) { Reply::Never } else { Reply::Normal };
    sandbox.perform(call, Manner { reply, wait: !params.at_once }).await
}

fn status(params: &FaultParams) -> Response {
    let number = params.status.unwrap_or(500);
    let status = StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let retry_after = params.retry_after.as_ref().and_then(header_text);
    if let Some(body) = params.body.clone().filter(|_| !params.html) {
        let mut response = (status, [(header::CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response();
        if let Some(value) = retry_after.and_then(|text| HeaderValue::from_str(&text).ok()) {
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        return response;
    }
    let reason = status.canonical_reason().unwrap_or("Error");
    let message = params.message.clone().unwrap_or_else(|| Value::String(reason.to_owned()));
    VendorError { status: number, message, retry_after, in_front: params.html }.into_response()
}

fn header_text(value: &Value) -> Option<String> {
    super::book::scalar(value)
}

async fn hang(params: &FaultParams) -> Response {
    match params.ms {
        Some(ms) => sleep(Duration::from_millis(ms)).await,
        None => std::future::pending().await,
    }
    VendorError::new(504, "Gateway Timeout").into_response()
}

/// Ends the connection without an answer. Behind a foreign server, which cannot be reached, the next best thing is an
/// answer whose body breaks off before its first byte.
async fn reset(connection: Option<&Connection>) -> Response {
    if let Some(connection) = connection {
        connection.reset();
        return std::future::pending().await;
    }
    Response::new(broken_body(Vec::new()))
}

fn broken_body(start: Vec<u8>) -> Body {
    let error = io::Error::new(io::ErrorKind::ConnectionReset, "the sandbox breaks the connection off");
    let end = stream::once(async {
        // The yield lets the server write out what it has before it learns of the end.
        tokio::task::yield_now().await;
        Err(error)
    });
    Body::from_stream(stream::iter([Ok(Bytes::from(start))]).chain(end))
}

fn truncated(mut bytes: Vec<u8>, cut: bool) -> Response {
    bytes.truncate(bytes.len() / 2);
    json_response(if cut { broken_body(bytes) } else { Body::from(bytes) })
}

fn garbage() -> Response {
    let noise: Vec<u8> = (0..512_u32).map(|n| u8::try_from(n * 167 % 251).unwrap_or_default() | 0x80).collect();
    json_response(Body::from(noise))
}

fn drip(bytes: Vec<u8>, params: &FaultParams) -> Response {
    let pause = Duration::from_millis(params.interval_ms.unwrap_or(20));
    let drops = stream::iter(bytes).then(move |byte| async move {
        sleep(pause).await;
        Ok::<_, Infallible>(Bytes::from(vec![byte]))
    });
    json_response(Body::from_stream(drops))
}

/// Puts blank space after the first character: still JSON of the same meaning, to a client that reads to the end.
fn huge(bytes: &[u8], params: &FaultParams) -> Response {
    const CHUNK: usize = 64 * 1024;
    let (head, tail) = bytes.split_at(bytes.len().min(1));
    let blank = Bytes::from(vec![b' '; CHUNK]);
    let blanks = params.bytes.unwrap_or(HUGE).div_ceil(CHUNK);
    let chunks = stream::iter([Bytes::copy_from_slice(head)])
        .chain(stream::iter(std::iter::repeat_n(blank, blanks)))
        .chain(stream::iter([Bytes::copy_from_slice(tail)]));
    json_response(Body::from_stream(chunks.map(Ok::<_, Infallible>)))
}
