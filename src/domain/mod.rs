//! The bridge's knowledge about conversations, independent of how it is stored, sent or shown.
//!
//! Nothing here does I/O, waits, logs or asks for the time: values come in, decisions come out. So the same rules can be
//! tested in virtual time, replayed under a seed and shared by every store.

pub mod backoff;
pub mod blocked;
pub mod breaker;
pub mod content;
pub mod conversation;
pub mod correlation;
pub mod customer;
pub mod delay;
pub mod destination;
pub mod entropy;
pub mod event;
pub mod evidence;
pub mod exact;
pub mod fair;
pub mod figures;
pub mod handoff;
pub mod ids;
pub mod job;
pub mod log;
pub mod message;
pub mod nearest;
pub mod observation;
#[cfg(test)]
mod observation_props;
pub mod operator;
pub mod origin;
pub mod own_event;
pub mod pace;
pub mod page_size;
pub mod person;
pub mod report;
pub mod resend;
pub mod schedule;
pub mod scopes;
pub mod shown;
pub mod spreadsheet;
pub mod steady;
pub mod surrogate;
pub mod time;
pub mod turn;
pub mod vendor;
pub mod vendor_clock;
pub mod wait;
pub mod window;

pub use entropy::Entropy;
pub use time::{Clock, ClockOffsets, FAR_OFF, Timestamp, WallClock, WallTime};
pub use vendor_clock::VendorClock;
