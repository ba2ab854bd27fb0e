//! Load: figures about the program as it is released, on the machine at hand.
//!
//! ```text
//! cargo bench --bench load                      everything
//! cargo bench --bench load -- intake drain      some of: start intake reply paced drain neighbours streams handoff replicas workspaces
//! cargo bench --bench load -- replicas --store postgres --replicas 3
//!                                               one to three replicas on a PostgreSQL of its own, without SQLite beside
//! cargo bench --bench load -- --quick           shorter
//! cargo bench --bench load -- --bridge PATH     another build of the program
//! cargo bench --bench load -- --dir PATH        databases there, to measure another disk
//! ```
//!
//! Starts the program of the same build with SQLite at full durability, the sandbox in place of Fini, and a receiver of
//! callbacks, all on loopback. Prints what it measured, beside what the machine can do without the bridge; it never judges
//! a time, because a slow machine is not a defect. Loss, repetition and order of callbacks are audited in every run.

#![allow(
    clippy::await_holding_lock,
    clippy::unchecked_time_subtraction,
    clippy::format_push_string,
    clippy::ignored_unit_patterns,
    clippy::semicolon_if_nothing_returned,
    reason = "a program that measures and ends: one scenario at a time holds what it measures"
)]

mod bridge;
mod client;
mod delivery;
mod fleet;
mod handoff;
mod histogram;
mod intake;
mod machine;
#[path = "../postgres.rs"]
mod postgres;
mod receiver;
mod replicas;
mod seed;
mod streams;
mod workspaces;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Result, bail};
use fini_bridge::sandbox::{self, DEFAULT_BOT_ID, Sandbox, SandboxConfig, Settings};

use crate::{bridge::Setup, receiver::Receiver};

/// Prints a line of figures.
macro_rules! say {
    ($($argument:tt)*) => {{
        #[allow(clippy::print_stdout, reason = "figures are this program's only output")]
        {
            println!($($argument)*);
        }
    }};
}
pub(crate) use say;

const SCENARIOS: [&str; 10] =
    ["start", "intake", "reply", "paced", "drain", "neighbours", "streams", "handoff", "replicas", "workspaces"];

/// What every scenario works with.
pub struct Bench {
    program: PathBuf,
    folder: PathBuf,
    fini: SocketAddr,
    receiver: Receiver,
    quick: bool,
    token: u128,
}

impl Bench {
    /// One frontend that wants bot messages called back, with turns being sent.
    fn setup(&self, folder: PathBuf) -> Setup {
        Setup {
            program: self.program.clone(),
            folder,
            fini: self.fini,
            receiver: self.receiver.address,
            frontends: vec!["web".to_owned()],
            events: "message.created",
            store: None,
            budget: None,
            action_key: None,
            token: format!("load-{:032x}", self.token),
            sends: true,
        }
    }

    /// So many seconds, or fewer where it has to be quick.
    fn long(&self, seconds: u64) -> Duration {
        Duration::from_secs(if self.quick { seconds.div_ceil(3) } else { seconds })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say!("failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let mut program = PathBuf::from(env!("CARGO_BIN_EXE_fini-bridge"));
    let (mut wanted, mut quick, mut base) = (Vec::new(), false, None);
    let (mut store, mut most) = (None, 3);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--quick" => quick = true,
            "--bridge" => program = arguments.next().map(PathBuf::from).unwrap_or(program),
            "--store" => store = arguments.next(),
            "--replicas" => most = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(most),
            "--dir" => base = arguments.next(),
            name if SCENARIOS.contains(&name) => wanted.push(name.to_owned()),
            other => bail!("{other}: unknown; scenarios are {}", SCENARIOS.join(", ")),
        }
    }
    let folder = match base {
        Some(base) => tempfile::tempdir_in(base)?,
        None => tempfile::tempdir()?,
    };
    let receiver = Receiver::start()?;
    let bench = Bench {
        program,
        folder: folder.path().to_owned(),
        fini: vendor()?,
        receiver,
        quick,
        token: fastrand::u128(..),
    };
    machine::describe(&bench.folder, &bench.receiver).await?;
    for name in SCENARIOS {
        if !wanted.is_empty() && !wanted.iter().any(|one| one == name) {
            continue;
        }
        match name {
            "start" => intake::start(&bench).await?,
            "intake" => intake::intake(&bench).await?,
            "reply" => intake::reply(&bench).await?,
            "paced" => delivery::paced(&bench).await?,
            "drain" => delivery::drain(&bench).await?,
            "streams" => streams::streams(&bench).await?,
            "handoff" => handoff::run(&bench).await?,
            "workspaces" => workspaces::run(&bench).await?,
            "replicas" => replicas::run(&bench, store.as_deref(), most).await?,
            _ => delivery::neighbours(&bench).await?,
        }
    }
    Ok(())
}

/// Starts the sandbox on a thread of its own: no latency, no limit.
fn vendor() -> Result<SocketAddr> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let instant = SandboxConfig::instant();
    debug_assert!(instant.bots.iter().any(|bot| bot.id == DEFAULT_BOT_ID), "the bridges are set up for this bot");
    let config = SandboxConfig { settings: Settings { rate_limit: None, ..instant.settings }, ..instant };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("vendor".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            let _ = sandbox::serve(listener, Sandbox::new(config), std::future::pending()).await;
        });
    })?;
    Ok(address)
}
