//! Finished spans on their way to whoever exports them; nowhere unless a build with the feature `otlp` is told where to.
//!
//! Rooms tell what they did once it is over; nobody ever waits. What does not fit into the queue is dropped and counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc;

use crate::domain::{WallTime, correlation::Span};

/// Spans that may wait to be exported.
const CAPACITY: usize = 8192;

/// On which side of a request a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A request that was answered.
    Server,
    /// A request that was made.
    Client,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// A text: ids and names, never what anybody wrote.
    Text(String),
    /// A number.
    Number(i64),
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u16> for Attribute {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<i64> for Attribute {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// A span that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct FinishedSpan {
    /// Its id, and its parent's.
    pub span: Span,
    /// On which side.
    pub kind: SpanKind,
    /// The operation; one of few.
    pub name: String,
    /// The time of its end.
    pub ended_at: WallTime,
    /// Its duration.
    pub duration: Duration,
    /// Its attributes, by the names of OpenTelemetry's conventions where there are any.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// The kind of failure, where it failed.
    pub error: Option<&'static str>,
}

/// The way of finished spans to their collector. Cheap to clone; by default nobody listens.
#[derive(Clone, Debug, Default)]
pub struct Spans(Option<Queue>);

#[derive(Clone, Debug)]
struct Queue {
    spans: mpsc::Sender<FinishedSpan>,
    dropped: Arc<AtomicU64>,
}

/// The spans that were told and are not exported yet.
#[derive(Debug)]
pub struct Told {
    /// The spans.
    pub spans: mpsc::Receiver<FinishedSpan>,
    dropped: Arc<AtomicU64>,
}

impl Told {
    /// The number that did not fit since this was asked last.
    pub fn dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

impl Spans {
    /// Spans that are exported, and what the exporter takes them from.
    pub fn exported() -> (Self, Told) {
        let (sender, spans) = mpsc::channel(CAPACITY);
        let dropped = Arc::new(AtomicU64::new(0));
        (Self(Some(Queue { spans: sender, dropped: Arc::clone(&dropped) })), Told { spans, dropped })
    }

    /// True if anybody listens, so that traces are worth beginning.
    pub const fn are_exported(&self) -> bool {
        self.0.is_some()
    }

    /// Tells of a span, if there is one and its trace is recorded at all.
    pub fn tell(&self, span: Option<&Span>, finished: impl FnOnce(Span) -> FinishedSpan) {
        if let (Some(queue), Some(span)) = (&self.0, span.filter(|span| span.own.is_sampled()))
            && queue.spans.try_send(finished(*span)).is_err()
        {
            queue.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::correlation::TraceContext;

    fn finished(span: Span) -> FinishedSpan {
        FinishedSpan {
            span,
            kind: SpanKind::Client,
            name: "done".to_owned(),
            ended_at: WallTime::from_millis(0),
            duration: Duration::ZERO,
            attributes: Vec::new(),
            error: None,
        }
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let own = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").expect("valid");
        let quiet = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00").expect("valid");
        let (spans, mut told) = Spans::exported();
        spans.tell(None, finished);
        spans.tell(Some(&Span { parent: None, own: quiet }), finished);
        assert!(told.spans.try_recv().is_err(), "nothing that is recorded");
        for _ in 0..CAPACITY + 3 {
            spans.tell(Some(&Span { parent: None, own }), finished);
        }
        assert_eq!((told.dropped(), told.dropped()), (3, 0));
        assert_eq!(told.spans.len(), CAPACITY);
        Spans::default().tell(Some(&Span { parent: None, own }), |_| unreachable!("nobody listens"));
    }
}
