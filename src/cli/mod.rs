//! The command line: one binary, one file per command.
//!
//! Data goes to stdout and everything else to stderr, so that every command can stand in a pipe. The exit status is 0 when
//! it is done, 1 when it failed, 2 when it was called wrongly or the configuration is bad. Messages say what is wrong,
//! where, and what helps. This room starts things and shows things; it never decides what the bridge does.

mod admin;
mod agents;
mod audit;
mod bind;
mod check;
mod console;
mod deliveries;
mod demo;
mod erase;
mod export;
mod find;
mod follow;
mod generate;
mod healthcheck;
mod listen;
mod openapi;
mod pace;
mod replay;
mod report;
mod sandbox;
mod secret;
mod serve;
mod settings;
mod show;
mod table;
mod tail;
mod token;
mod vendor;
mod verify;
mod when;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};

use console::{CliError, Done};

use crate::system::prepare_process;

/// Puts Fini, the AI support agent, behind your own chat frontend.
#[derive(Debug, Parser)]
#[command(name = "fini-bridge", version, about, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run the bridge
    Serve(serve::Args),
    /// Try everything out without a key: simulator, bridge and a page with chat, desk and callbacks
    Demo(demo::Args),
    /// Run the Fini simulator alone, to develop a chat frontend against
    Sandbox(sandbox::Args),
    /// Validate the configuration and say what it would do
    Check(check::Args),
    /// List the workspace's agents, whose ids are what `bot_id` means
    Agents(agents::Args),
    /// Print one conversation as a person would read it
    Show(show::Args),
    /// Delete conversations at Fini, proved by reading back
    Erase(erase::Args),
    /// Export everything the workspace holds, into NDJSON or CSV
    Export(export::Args),
    /// Show callbacks that are owed, delivered or given up, and send them again
    Deliveries(deliveries::Args),
    /// Send delivered events of a time range again, and watch or steer it
    Replay(replay::Args),
    /// Count messages, answers, escalations and waiting times by hour or day
    Report(report::Args),
    /// Find conversations by any of their ids, or everything that stands still
    Find(find::Args),
    /// Settle a quarantine: bind a conversation to one of Fini's, or to a new one
    Bind(bind::Args),
    /// List what operators did and looked at
    Audit(audit::Args),
    /// Post every event of a frontend to an address on this machine, as it happens
    Listen(listen::Args),
    /// Print every event of a frontend, as it happens
    Tail(tail::Args),
    /// Mint a browser token for one conversation
    Token(token::Args),
    /// Make a secret for signing callbacks
    Secret(secret::Args),
    /// Check the signature of a captured callback
    Verify(verify::Args),
    /// Print the OpenAPI 3.1 document
    Openapi(openapi::Args),
    /// Ask a running bridge whether it is alive; for container health checks
    Healthcheck(healthcheck::Args),
    /// Print a completion script for a shell
    Completions(generate::CompletionsArgs),
    /// Print the manual page of the program or of one command
    Man(generate::ManArgs),
}

/// Runs the program with its arguments, the program's own name first, and gives its exit status.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to be done where even the explanation cannot be printed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    prepare_process();
    console::finish(dispatch(cli.command))
}

fn dispatch(command: Command) -> Done {
    match command {
        Command::Serve(args) => block_on(serve::run(args)),
        Command::Demo(args) => block_on(demo::run(args)),
        Command::Sandbox(args) => block_on(sandbox::run(args)),
        Command::Check(args) => block_on(check::run(args)),
        Command::Agents(args) => block_on(agents::run(args)),
        Command::Show(args) => block_on(show::run(args)),
        Command::Erase(args) => block_on(erase::run(args)),
        Command::Export(args) => block_on(export::run(args)),
        Command::Deliveries(args) => block_on(deliveries::run(args)),
        Command::Replay(args) => block_on(replay::run(args)),
        Command::Report(args) => block_on(report::run(args)),
        Command::Find(args) => block_on(find::run(args)),
        Command::Bind(args) => block_on(bind::run(args)),
        Command::Audit(args) => block_on(audit::run(args)),
        Command::Listen(args) => block_on(listen::run(args)),
        Command::Tail(args) => block_on(tail::run(args)),
        Command::Token(args) => token::run(args),
        Command::Secret(args) => secret::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Openapi(args) => openapi::run(&args),
        Command::Healthcheck(args) => block_on(healthcheck::run(args)),
        Command::Completions(args) => generate::completions(&args, Cli::command()),
        Command::Man(args) => generate::man(&args, Cli::command()),
    }
}

/// Runs a command on a runtime of its own, which ends with it.
fn block_on(command: impl Future<Output = Done>) -> Done {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failed(format!("the runtime could not be started: {error}")))?;
    runtime.block_on(command)
}

/// The command line of one subcommand alone.
#[cfg(test)]
#[derive(Debug, Parser)]
struct Only<A: clap::Args> {
    #[command(flatten)]
    args: A,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_of_commands_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bad_usage_is_2_and_help_is_0() {
        let status = |arguments: &[&str]| {
            let arguments = std::iter::once(&"fini-bridge").chain(arguments);
            Cli::try_parse_from(arguments).expect_err("not run").exit_code()
        };
        assert_eq!(status(&["serve", "--nonsense"]), 2);
        assert_eq!(status(&["nonsense"]), 2);
        assert_eq!(status(&["--help"]), 0);
        assert_eq!(status(&["--version"]), 0);
    }
}
