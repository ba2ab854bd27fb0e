//! The services of the bridge: they take messages in, send them, read Fini's conversations, and record them.
//!
//! Services speak to Fini through its port and to the store through its port; they never see HTTP, SQL or each other's
//! state. Everything a service must not forget is in the store before it acts on it.

pub mod binder;
pub mod breakers;
pub mod eraser;
pub mod gone;
pub mod handoff;
pub mod housekeeper;
pub mod inspector;
pub mod intake;
pub mod ledger;
pub mod lookup;
#[cfg(test)]
mod lookup_props;
pub mod numberer;
pub mod planner;
pub mod prober;
pub mod reader;
pub mod replayer;
pub mod sender;
pub mod waits;
pub mod walk;
