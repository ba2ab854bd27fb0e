//! Turns tracing's spans and events into lines.
//!
//! The fields of the spans around an event are flattened into its line, the innermost winning, so that a conversation can be
//! followed by filtering on one top-level key.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::line::{Collector, Fields, Value};
use super::render::{Head, json, pretty};
use super::repeat::Repeats;
use super::writer::Lines;
use super::{ACCESS, Style};
use crate::domain::WallClock;
use crate::metrics::LogCounters;

/// The layer that writes the log.
pub(super) struct LineLayer {
    pub(super) style: Style,
    pub(super) content: bool,
    /// The process's own name, on every line; none for a person at a terminal.
    pub(super) replica: Option<Arc<str>>,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) lines: Lines,
    pub(super) counters: LogCounters,
    pub(super) repeats: Mutex<Repeats>,
}

impl LineLayer {
    /// Returns true if this line is to be written; reports earlier ones that were not.
    fn admit(&self, metadata: &'static Metadata<'static>, fields: &Fields) -> bool {
        let now = Instant::now();
        let (over, admitted) = {
            let mut repeats = self.repeats.lock().unwrap_or_else(PoisonError::into_inner);
            let over = repeats.expired(now);
            let complaint = *metadata.level() <= Level::WARN && metadata.target() != ACCESS && !names_one(fields);
            (over, !complaint || repeats.admit(metadata, &fields.message, now))
        };
        for each in over {
            let source = (each.metadata.file().unwrap_or_default(), each.metadata.line().unwrap_or_default());
            let fields = Fields {
                message: "repeated lines were left out".to_owned(),
                named: vec![
                    ("repeated_message", Value::Text(each.message)),
                    ("source", Value::Text(format!("{}:{}", source.0, source.1))),
                    ("lines", Value::Uint(each.lines)),
                ],
            };
            let fields = self.signed(fields);
            let head = Head { target: each.metadata.target(), at: self.clock.now(), level: *each.metadata.level() };
            self.lines.send(self.style.render(head, &fields));
        }
        if !admitted {
            self.counters.line_suppressed();
        }
        admitted
    }

    /// The fields with the process's name.
    fn signed(&self, mut fields: Fields) -> Fields {
        if let Some(replica) = &self.replica {
            fields.named.push(("replica", Value::Text(replica.to_string())));
        }
        fields
    }
}

/// Returns true if a line's own fields, not those of its spans, name one thing to act on: no such line repeats another.
fn names_one(fields: &Fields) -> bool {
    ["event_id", "delivery_id", "message_id", "conversation_id"].iter().any(|name| fields.has(name))
}

impl Style {
    pub(super) fn render(self, head: Head<'_>, fields: &Fields) -> String {
        match self {
            Self::Json => json(head, fields),
            Self::Pretty { colour } => pretty(head, fields, colour),
        }
    }
}

impl<S> Layer<S> for LineLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut Collector { fields: &mut fields, content: self.content });
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(&mut Collector { fields, content: self.content });
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut Collector { fields: &mut fields, content: self.content });
        if !self.admit(event.metadata(), &fields) {
            return;
        }
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Fields>() {
                for (name, value) in &outer.named {
                    if !fields.has(name) {
                        fields.named.push((name, value.clone()));
                    }
                }
            }
        }
        let head = Head::new(self.clock.now(), event.metadata());
        self.lines.send(self.style.render(head, &self.signed(fields)));
    }
}
