//! The way to the vendor, who lives in the same process: what gets lost on it, what is slow, and what goes through.
//!
//! Everything above the bytes is the bridge's own code. What has arrived is served to its end whether or not the bridge still waits.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use axum::{Router, body::Body};
use fini_bridge::{
    fini::{SendError, Transport},
    sandbox::{Sandbox, SandboxConfig, Settings},
};
use http_body_util::BodyExt as _;
use tokio::{sync::oneshot, task::JoinSet, time::sleep};
use tower::ServiceExt as _;

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
    router: Router,
    weather: Mutex<Weather>,
    chance: Arc<Chance>,
    served: Mutex<JoinSet<()>>,
}

impl Vendor {
    pub fn new(settings: Settings, seed: u64, time: &Arc<Time>) -> Arc<Self> {
        let clock = Arc::clone(time);
        let config = SandboxConfig {
            settings,
            seed: Some(seed),
            clock: Arc::new(move || clock.truth()),
            ..SandboxConfig::default()
        };
        let sandbox = Sandbox::new(config);
        Arc::new(Self {
            router: sandbox.router(),
            sandbox,
            weather: Mutex::default(),
            chance: Chance::new(seed ^ 0x7765_6174),
            served: Mutex::default(),
        })
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
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let mut arriving = http::Request::builder().method(head.method).uri(path);
        if let Some(headers) = arriving.headers_mut() {
            *headers = head.headers;
        }
        let arriving = arriving.body(Body::from(body)).map_err(|error| failed(error.to_string()))?;
        let (answer, answered) = oneshot::channel();
        let router = vendor.router.clone();
        let serve = async move {
            let Ok(response) = router.oneshot(arriving).await;
            // A bridge that is gone hears nothing.
            let _ = answer.send(response);
        };
        vendor.served.lock().unwrap_or_else(PoisonError::into_inner).spawn(serve);
        let response = answered.await.map_err(|_| failed("the vendor is gone".to_owned()))?;
        sleep(delay).await;
        if fate == Fate::Unheard {
            return Err(failed("connection reset".to_owned()));
        }
        Ok(reqwest::Response::from(response.map(|body| reqwest::Body::wrap_stream(body.into_data_stream()))))
    }
}
