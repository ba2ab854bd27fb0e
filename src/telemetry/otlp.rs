//! Exporting spans by OTLP over HTTP (protobuf) to a collector.
//!
//! One task takes what was told, a batch at a time, and sends it. A collector that is slow or gone costs spans, never
//! anything else: they wait in a bounded queue, a batch that could not be sent is given up, and both are said in the log.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind as Kind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks},
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::spans::{Attribute, FinishedSpan, SpanKind, Spans, Told};
use crate::domain::correlation::TraceContext;

/// Spans in one request at most.
const BATCH: usize = 512;
/// Longest time for which the first span of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// The deadline of one request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for a request once everybody waits for the end.
const LAST: Duration = Duration::from_millis(500);

/// Sends spans to a collector.
#[derive(Debug)]
pub struct Exporter {
    spans: SpanExporter,
    scope: InstrumentationScope,
    told: Told,
}

impl Exporter {
    /// An exporter to the collector at `endpoint`, below which `v1/traces` is, and where to tell it spans.
    pub fn new(endpoint: &Url) -> Result<(Spans, Self)> {
        let mut traces = endpoint.clone();
        if let Ok(mut path) = traces.path_segments_mut() {
            path.pop_if_empty().extend(["v1", "traces"]);
        }
        let client = reqwest::Client::builder()
            .user_agent(concat!("fini-bridge/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
            .context("the client of telemetry.otlp_endpoint")?;
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(traces)
            .with_timeout(TIMEOUT)
            .build()
            .context("telemetry.otlp_endpoint")?;
        let version = env!("CARGO_PKG_VERSION");
        let resource = Resource::builder()
            .with_service_name("fini-bridge")
            .with_attribute(KeyValue::new("service.version", version))
            .build();
        exporter.set_resource(&resource);
        let scope = InstrumentationScope::builder("fini-bridge").with_version(version).build();
        let (spans, told) = Spans::exported();
        Ok((spans, Self { spans: exporter, scope, told }))
    }

    /// Exports until `stop`, and then what is left.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::new();
        while let Some(Some(first)) = stop.run_until_cancelled(self.told.spans.recv()).await {
            batch.push(first);
            let gathering = async {
                loop {
                    let room = BATCH - batch.len();
                    if room == 0 || self.told.spans.recv_many(&mut batch, room).await == 0 {
                        return;
                    }
                }
            };
            // A stop ends the gathering too.
            let _ = timeout(GATHER, stop.run_until_cancelled(gathering)).await;
            self.export(std::mem::take(&mut batch), &stop).await;
        }
        while let Ok(span) = self.told.spans.try_recv() {
            batch.push(span);
        }
        if !batch.is_empty() {
            self.export(batch, &stop).await;
        }
    }

    async fn export(&self, batch: Vec<FinishedSpan>, stop: &CancellationToken) {
        let dropped = self.told.dropped();
        if dropped > 0 {
            tracing::warn!(spans = dropped, "spans dropped: the collector does not keep up");
        }
        let spans = batch.len();
        let data = batch.into_iter().map(|span| self.data(span)).collect();
        let at_the_end = async {
            stop.cancelled().await;
            sleep(LAST).await;
        };
        let error = tokio::select! {
            exported = self.spans.export(data) => match exported {
                Ok(()) => return,
                Err(error) => error.to_string(),
            },
            () = sleep(TIMEOUT) => "no answer in time".to_owned(),
            () = at_the_end => "no answer before the end".to_owned(),
        };
        tracing::warn!(spans, error, "spans could not be exported");
    }

    fn data(&self, finished: FinishedSpan) -> SpanData {
        let ended = Duration::from_millis(u64::try_from(finished.ended_at.as_millis()).unwrap_or(0));
        let parent = finished.span.parent;
        let attribute = |(name, value)| match value {
            Attribute::Text(text) => KeyValue::new(name, text),
            Attribute::Number(number) => KeyValue::new(name, number),
        };
        let mut attributes: Vec<KeyValue> = finished.attributes.into_iter().map(attribute).collect();
        attributes.extend(finished.error.map(|error| KeyValue::new("error.type", error)));
        SpanData {
            span_context: context(&finished.span.own),
            parent_span_id: parent.map_or(SpanId::INVALID, |parent| SpanId::from_bytes(parent.span_bytes())),
            // A span's parent is another request's, if not another service's.
            parent_span_is_remote: parent.is_some(),
            span_kind: match finished.kind {
                SpanKind::Server => Kind::Server,
                SpanKind::Client => Kind::Client,
            },
            name: finished.name.into(),
            start_time: SystemTime::UNIX_EPOCH + ended.saturating_sub(finished.duration),
            end_time: SystemTime::UNIX_EPOCH + ended,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: finished.error.map_or(Status::Unset, Status::error),
            instrumentation_scope: self.scope.clone(),
        }
    }
}

fn context(of: &TraceContext) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(of.trace_bytes()),
        SpanId::from_bytes(of.span_bytes()),
        TraceFlags::new(of.flags()),
        false,
        TraceState::NONE,
    )
}
