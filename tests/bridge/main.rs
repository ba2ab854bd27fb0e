//! Black-box tests: the real binary, driven only through what its users and operators have, between the sandbox (the
//! vendor simulated) and a programmable callback receiver.
//!
//! Every test starts its own processes on ports of their own and ends with [`harness::Bridge::finish`], which checks what
//! must hold whatever the test was about: nothing left due, nothing sent twice, no sequence with a gap, no callback that
//! overtook another, no secret in the log, no request over the limit.

#![allow(
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::format_collect,
    clippy::redundant_closure_for_method_calls,
    reason = "counts of a test are small, and its texts short"
)]

mod admin_looks;
mod admin_settles;
mod auth;
mod browser;
mod budget;
mod callbacks;
mod clocks;
mod connections;
mod conversations;
mod cost;
mod databases;
mod destinations;
mod erasure;
mod events;
mod exports;
mod failover;
mod handoff;
mod harness;
mod identity;
mod intake;
mod joins;
mod keys;
mod layers;
mod limits;
mod log;
mod network;
mod older;
mod operating;
mod operators;
#[cfg(feature = "otlp")]
mod otlp;
mod outages;
mod outside;
mod paces;
mod pages;
mod people;
mod poolers;
#[path = "../postgres.rs"]
mod postgres;
mod program;
mod refusals;
mod refused;
mod replay;
mod replicas;
mod report;
mod requests;
mod restart;
mod retry_after;
mod sandbox;
mod secrets;
mod strangers;
mod stream;
mod tls;
mod trace;
mod unclear;
mod updates;
mod upgrade;
mod vendor;
mod waiting;
mod written;
