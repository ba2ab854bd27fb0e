//! The way to the vendor, who lives in the same process: what gets lost on it, what is slow, and what goes through.
//!
//! Everything above the bytes is the bridge's own code.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use fini_bridge::{
    fini::{SendError, Transport},
    sandbox::{Answered, Bot, Broken, Personality, Sandbox, SandboxConfig, Settings},
};
use futures_util::stream;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::BodyExt as _;
use tokio::time::sleep;

use crate::time::{Chance, Time};

/// What may happen to a request on its way, in percent each.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Weather {
    /// There is no connection.
    pub refused: u8,
    /// It never arrives, and nobody says so.
    pub lost: u8,
    /// It arrives, and its answer is lost.
    pub unheard: u8,
    /// It takes so long to arrive, in milliseconds at most.
    pub slow_ms: u64,
}

/// The vendor and the way to it.
pub struct Vendor {
    pub sandbox: Sandbox,
    weather: Mutex<Weather>,
    chance: Arc<Chance>,
    time: Arc<Time>,
}

impl Vendor {
    pub fn new(
        settings: Settings,
        bots: impl IntoIterator<Item = String>,
        character: &[Personality],
        seed: u64,
        time: &Arc<Time>,
    ) -> anyhow::Result<Arc<Self>> {
        let clock = Arc::clone(time);
        let config = SandboxConfig {
            settings,
            bots: bots.into_iter().map(|id| Bot { name: format!("Bot {id}"), id }).collect(),
            seed: Some(seed),
            clock: Arc::new(move || clock.truth()),
            ..SandboxConfig::default()
        };
        let sandbox = Sandbox::new(config);
        for answer in character {
            sandbox.apply_personality(answer)?;
        }
        Ok(Arc::new(Self {
            sandbox,
            weather: Mutex::default(),
            chance: Chance::new(seed ^ 0x7765_6174),
            time: Arc::clone(time),
        }))
    }

    /// From now on the vendor has no trouble; its ways stay.
    pub fn heal(&self) {
        self.set_weather(Weather::default());
        self.sandbox.clear_faults();
    }

    /// Changes what happens on the way.
    pub fn set_weather(&self, weather: Weather) {
        *self.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }

    fn fate(&self) -> (Fate, Duration) {
        let weather = *self.weather.lock().unwrap_or_else(PoisonError::into_inner);
        self.chance.draw(|dice| {
            let delay = Duration::from_millis(dice.u64(0..=weather.slow_ms.max(3)));
            let chances = [weather.refused, weather.lost, weather.unheard];
            let mut roll = dice.u8(..100);
            for (chance, fate) in chances.into_iter().zip([Fate::Refused, Fate::Lost, Fate::Unheard]) {
                if roll < chance {
                    return (fate, delay);
                }
                roll -= chance;
            }
            (Fate::Heard, delay)
        })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Heard,
    Refused,
    Lost,
    Unheard,
}

/// The bridge's way to the vendor.
pub struct Line(pub Arc<Vendor>);

#[async_trait]
impl Transport for Line {
    async fn send(&self, request: reqwest::Request) -> Result<reqwest::Response, SendError> {
        let vendor = &self.0;
        vendor.time.asked();
        let (fate, delay) = vendor.fate();
        sleep(delay).await;
        if fate == Fate::Refused {
            return Err(SendError { connected: false, detail: "no connection".to_owned() });
        }
        let failed = |detail: String| SendError { connected: true, detail };
        let mut request: http::Request<reqwest::Body> =
            request.try_into().map_err(|error: reqwest::Error| failed(error.to_string()))?;
        let body = request.body_mut().collect().await.map_err(|error| failed(error.to_string()))?.to_bytes();
        if fate == Fate::Lost {
            return std::future::pending().await;
        }
        let (head, _) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let bearer = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let answered = match vendor.sandbox.call(head.method.as_str(), path, bearer, body).await {
            Ok(answered) => Ok(answered),
            Err(Broken::InBody(answered)) => Err(answered),
            Err(_) => return Err(failed("connection reset".to_owned())),
        };
        sleep(delay).await;
        vendor.time.asked();
        if fate == Fate::Unheard {
            return Err(failed("connection reset".to_owned()));
        }
        Ok(response(answered))
    }
}

/// What a gzip file of stored blocks holds, which is what the sandbox makes. Unpacking is the HTTP client's own affair, and
/// that is left out here.
fn unpacked(file: &[u8]) -> Vec<u8> {
    let mut rest = file.get(10..).unwrap_or_default();
    let mut text = Vec::new();
    while let [is_last, low, high, _, _, blocks @ ..] = rest {
        let (block, others) = blocks.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(blocks.len()));
        text.extend_from_slice(block);
        rest = if *is_last == 1 { &[] } else { others };
    }
    text
}

/// The answer as it comes; the second kind breaks off in its body.
fn response(answered: Result<Answered, Answered>) -> reqwest::Response {
    let is_whole = answered.is_ok();
    let (Ok(mut answered) | Err(mut answered)) = answered;
    if answered.headers.remove(CONTENT_ENCODING).is_some() {
        answered.headers.remove(CONTENT_LENGTH);
        answered.body = unpacked(&answered.body).into();
    }
    let end = (!is_whole).then(|| Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
    let body = stream::iter([Ok(answered.body)].into_iter().chain(end));
    let mut response = http::Response::new(reqwest::Body::wrap_stream(body));
    *response.status_mut() = http::StatusCode::from_u16(answered.status).unwrap_or_default();
    *response.headers_mut() = answered.headers;
    reqwest::Response::from(response)
}
