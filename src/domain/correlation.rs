//! The link between work and the request that caused it: the request's id, and its place in a distributed trace.
//!
//! A message is kept together with the correlation of the request that brought it, so that work done because of it, perhaps
//! after a restart and by another process, can still be linked to it. The trace is W3C Trace Context's:
//! <https://www.w3.org/TR/trace-context/>. Its `tracestate` is not kept: it holds whatever other vendors put there, which
//! must not go to Fini.

use std::{
    fmt,
    num::{NonZeroU64, NonZeroU128},
    sync::Arc,
};

use super::Entropy;

/// The header of the request's id.
pub const REQUEST_ID: &str = "x-request-id";
/// The header of the trace.
pub const TRACEPARENT: &str = "traceparent";

/// The flags that have a meaning: sampled, and (level 2) that the trace id is random. The others must be sent as zero.
const KNOWN_FLAGS: u8 = 0b11;
const SAMPLED: u8 = 0b01;
/// The length of a `traceparent` of version 00; later versions may only append to it.
const LENGTH: usize = 55;

/// The id of a request: 1 to 128 characters that can stand in headers and logs as they are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Accepts an id if it is fit to be repeated.
    pub fn parse(id: &str) -> Option<Self> {
        let sane = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&b);
        ((1..=128).contains(&id.len()) && id.bytes().all(sane)).then(|| Self(id.into()))
    }

    /// Creates an id for a request that came without one.
    pub fn new(entropy: &dyn Entropy, now: super::Timestamp) -> Self {
        Self(format!("req_{}", entropy.uuid_v7(now)).into())
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({})", self.0)
    }
}

/// A place in a trace: a span caused by it is its child. Displayed as a `traceparent` of version 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace: NonZeroU128,
    span: NonZeroU64,
    flags: u8,
}

impl TraceContext {
    /// Reads a `traceparent` header; `None` if the specification says to ignore it.
    pub fn parse(header: &str) -> Option<Self> {
        let bytes = header.as_bytes();
        let (known, rest) = bytes.split_at_checked(LENGTH)?;
        let (version, trace, span, flags) = (&known[..2], &known[3..35], &known[36..52], &known[53..]);
        let dashed = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        let lower_hex = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        let hex = [version, trace, span, flags].iter().all(|part| part.iter().all(lower_hex));
        let ends = match version {
            b"ff" => false,
            b"00" => rest.is_empty(),
            _ => rest.first().is_none_or(|next| *next == b'-'),
        };
        if !(dashed && hex && ends) {
            return None;
        }
        let number = |part: &[u8]| u128::from_str_radix(str::from_utf8(part).ok()?, 16).ok();
        Some(Self {
            trace: NonZeroU128::new(number(trace)?)?,
            span: NonZeroU64::new(u64::try_from(number(span)?).ok()?)?,
            flags: u8::try_from(number(flags)?).ok()? & KNOWN_FLAGS,
        })
    }

    /// Begins a trace that is recorded.
    pub fn begin(entropy: &dyn Entropy) -> Self {
        let trace = u128::from(entropy.next_u64()) << 64 | u128::from(entropy.next_u64());
        let span = NonZeroU64::MIN;
        Self { trace: NonZeroU128::new(trace).unwrap_or(NonZeroU128::MIN), span, flags: KNOWN_FLAGS }.child(entropy)
    }

    /// Returns the trace's id, as it is written into spans.
    pub const fn trace_bytes(&self) -> [u8; 16] {
        self.trace.get().to_be_bytes()
    }

    /// Returns the span's id, as it is written into spans.
    pub const fn span_bytes(&self) -> [u8; 8] {
        self.span.get().to_be_bytes()
    }

    /// Returns the flags.
    pub const fn flags(&self) -> u8 {
        self.flags
    }

    /// Returns the trace's id, 32 hex digits.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }

    /// Returns true if the originator of the trace records it.
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Returns a new span below this one.
    #[must_use]
    pub fn child(&self, entropy: &dyn Entropy) -> Self {
        Self { span: NonZeroU64::new(entropy.next_u64()).unwrap_or(NonZeroU64::MIN), ..*self }
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

/// The request that caused something. Empty if no request did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Correlation {
    /// The request's id.
    pub request: Option<RequestId>,
    /// Its place in a trace, if it was in one.
    pub trace: Option<TraceContext>,
}

impl Correlation {
    /// Returns the request's id, for the log.
    pub fn request_id(&self) -> Option<&str> {
        self.request.as_ref().map(RequestId::as_str)
    }

    /// Returns the trace's id, for the log.
    pub fn trace_id(&self) -> Option<String> {
        self.trace.as_ref().map(TraceContext::trace_id)
    }

    /// Returns the correlation of one request that is made because of it: the same ids, and a span of its own.
    pub fn onward(&self, entropy: &dyn Entropy) -> Onward {
        let span = self.trace.map(|parent| Span { parent: Some(parent), own: parent.child(entropy) });
        Onward { request: self.request.clone(), span }
    }
}

/// A span of ours, and the one it is a child of, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The parent of `own`.
    pub parent: Option<TraceContext>,
    /// The span itself.
    pub own: TraceContext,
}

/// The correlation that a single outgoing request carries. Empty if no request caused it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Onward {
    request: Option<RequestId>,
    span: Option<Span>,
}

impl Onward {
    /// Returns the span of the request, if it is part of a trace.
    pub const fn span(&self) -> Option<&Span> {
        self.span.as_ref()
    }

    /// Returns the headers that carry it.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, String)> {
        let request = self.request.as_ref().map(|id| (REQUEST_ID, id.to_string()));
        request.into_iter().chain(self.span.map(|span| (TRACEPARENT, span.own.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    struct Fixed(u64);

    impl Entropy for Fixed {
        fn next_u64(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn keeps_only_ids_that_are_safe_to_repeat() {
        assert!(RequestId::parse("a1b2-c3_d4.e5").is_some());
        for bad in ["", "a b", "a\"b", "é", "a\r\nb", &"x".repeat(129)] {
            assert_eq!(RequestId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn reads_what_the_specification_calls_valid() {
        for (flags, kept) in [("00", "00"), ("01", "01"), ("03", "03"), ("ff", "03")] {
            let read = TraceContext::parse(&format!("00-{TRACE}-{SPAN}-{flags}")).expect("valid");
            assert_eq!(read.to_string(), format!("00-{TRACE}-{SPAN}-{kept}"));
            assert_eq!((read.trace_id().as_str(), read.is_sampled()), (TRACE, flags != "00"));
        }
        for later in [format!("cc-{TRACE}-{SPAN}-01"), format!("cc-{TRACE}-{SPAN}-01-what-comes-later")] {
            let read = TraceContext::parse(&later).expect("a later version begins like this one");
            assert_eq!(read.to_string(), format!("00-{TRACE}-{SPAN}-01"));
        }
    }

    #[test]
    fn ignores_what_the_specification_calls_invalid() {
        let zeros = "0".repeat(32);
        for bad in [
            String::new(),
            "00".to_owned(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-01."),
            format!("cc-{TRACE}-{SPAN}-01.more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{TRACE}-{SPAN}-0x"),
            format!("00_{TRACE}-{SPAN}-01"),
            format!("0+-{TRACE}-{SPAN}-01"),
            "é".repeat(40),
        ] {
            assert_eq!(TraceContext::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn each_request_onward_is_a_span_of_its_own_in_the_same_trace() {
        let trace = TraceContext::parse(&format!("00-{TRACE}-{SPAN}-01"));
        let cause = Correlation { request: RequestId::parse("r-1"), trace };
        let headers: Vec<_> = cause.onward(&Fixed(0xabc)).headers().collect();
        let own = format!("00-{TRACE}-0000000000000abc-01");
        assert_eq!(headers, [(REQUEST_ID, "r-1".to_owned()), (TRACEPARENT, own)]);
        assert_eq!(cause.onward(&Fixed(0)).headers().count(), 2, "a span's id is never zero, but there is one");
        assert_eq!(Correlation::default().onward(&Fixed(1)).headers().count(), 0);
    }
}
