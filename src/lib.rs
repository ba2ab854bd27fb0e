//! fini-bridge puts Fini, the AI support agent, behind a company's own chat frontend.
//!
//! Fini's public API blocks while it answers, returns events but no conversation id, allows 100 requests a minute, has no
//! idempotency and calls nobody back. The bridge hides that: a frontend posts a message and is answered at once; replies,
//! human agents' messages and escalations come to its callback address, signed, in order, each once.
//!
//! # The map
//!
//! ```text
//!  edge     main → cli → demo            an arrow reads "may import"; nothing points up or sideways
//!  root     app → lifecycle
//!  L3       http          delivery       sandbox stands alone: a second reading of the vendor's pages
//!  L2       service                      (delivery goes past it)
//!  L1       fini → store                 signature
//!           outbound
//!  L0       domain                       no I/O, no clock, no chance
//! ```
//!
//! | Room | What it is for |
//! |---|---|
//! | [`domain`] | what is known about conversations: states, feed events, the meaning of what Fini says |
//! | [`store`] | the port to the database, and SQLite and PostgreSQL behind it; the bindings cache |
//! | [`fini`] | the port to the vendor, its failure classes, the request budget |
//! | [`service`] | taking messages in, sending, reading, binding, recording |
//! | [`outbound`] | the base of both HTTP clients: liberal in what they read, strict in framing, sizes and deadlines |
//! | [`delivery`] | calling frontends back: lanes, leases, attempts, the address guard |
//! | [`http`] | the public API, the operators' API, the hardened server, the browser client |
//! | [`signature`] | Standard Webhooks and browser tokens |
//! | [`config`], [`telemetry`], [`metrics`], [`lifecycle`], [`system`] | settings, log and spans, figures, starting and stopping, clock and chance |
//! | [`app`] | the composition root |
//! | [`mutation`] | faults that the simulation puts back; empty in every release |
//! | [`sandbox`], [`demo`], [`cli`], [`export`] | the simulated vendor, the demo, the command line, taking data out |
//!
//! # The journeys
//!
//! **A message in.** [`http::messages`] parses → [`service::intake`] stores message, turn and feed event in one transaction →
//! 202. The change feed wakes [`service::sender`]: it claims the turn together with a request of the budget and writes it as
//! `sending` in one transaction, only then calls Generate Answer, and hands the events to [`service::ledger`]. The store
//! applies [`domain::observation::Observation`] in one transaction: seen events, feed with sequence, deliveries, turn settled.
//! The change feed wakes [`delivery`], streams and waiting requests.
//!
//! **An agent writes in Fini.** [`service::planner`] decides what to read; [`service::reader`] lists, newest first, down to
//! the watermark; conversations that did not change are not even parsed. Known ones go to the ledger, unknown ones are
//! bound by exact evidence ([`service::binder`]), and one that belongs to two of ours is quarantined.
//!
//! **Stop and return.** SIGTERM: not ready, no new work, work in flight ends within the grace. After a kill: sends on
//! record become *unclear* and are looked for by reading ([`service::lookup`]), never sent again unless proven absent;
//! callbacks are due again with the same id and bytes; the budget's log is still in the store.
//!
//! # Words
//!
//! One word for each thing, in code, log and pages. The field's own word, where it is another one, stands behind it in italics.
//!
//! | Word | Meaning |
//! |---|---|
//! | frontend | a company's own chat application: its tokens, its bot at Fini, its destinations |
//! | conversation | what a frontend and one customer say to each other, under the frontend's own id |
//! | turn | one message that is sent to Fini (several, if joined) and the replies to it |
//! | event | one numbered entry of a conversation's feed; a *Fini event* is one of Fini's own conversation |
//! | feed, log | the events of one conversation by number; those of all conversations of a frontend in the order of their commits |
//! | hint | a line of a stream that is neither numbered nor stored, such as `typing` |
//! | binding | the pair of a conversation and Fini's `interactionId` |
//! | quarantine | the state of a conversation whose Fini conversation may be somebody else's; an operator settles it |
//! | snapshot | a Fini conversation as List or Get returned it |
//! | observation | one snapshot or response, applied to a conversation |
//! | own event | the Fini event of a message of ours (column `turns.echo`) |
//! | seen event | the record that a Fini event was seen, and by which conversation (table `marks`) |
//! | unclear | the state of a turn of which nothing tells whether Fini has it (*in doubt*) |
//! | withheld | kept from the customer: a word of the bot while a human has the conversation; an event that may be another customer's |
//! | sweep, walk | reading List from the newest conversation down; a sweep over several pages, with what is left of it (*scan*) |
//! | watch | the set of conversations that reading covers, by urgency |
//! | ledger | the service that records what Fini said |
//! | budget, permit | Fini's limit of requests in a window; the right to make one of them |
//! | claim, lease, token | taking work for a time; that time; the id under which it was taken |
//! | destination, delivery, callback | a receiver of a feed; one event owed to it; one HTTP request that carries it |
//! | lane | the queue of one conversation and destination, of which only the head is sent |
//! | dead letter | a delivery that was given up, kept for replay |
//! | handoff, speaker | a human takes a conversation over and gives it back; who may speak to the customer: `bot`, `waiting`, `human` |
//! | personality | the answers of one simulated vendor to what Fini's pages leave open |
//!
//! # Where to start
//!
//! [`domain::conversation`] is the heart; [`store::Store`] is the base of everything; [`app`] shows how it is put together.

#[macro_use]
pub mod mutation;

pub mod app;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod demo;
pub mod domain;
pub mod export;
pub mod fini;
pub mod http;
pub mod lifecycle;
pub mod metrics;
pub mod outbound;
pub mod sandbox;
pub mod service;
pub mod signature;
pub mod store;
pub mod system;
pub mod telemetry;
