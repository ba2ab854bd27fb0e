//! The `fini-bridge` program: hands its arguments to the command line and ends with the status it gives back.

use std::process::ExitCode;

fn main() -> ExitCode {
    fini_bridge::cli::run(std::env::args_os())
}
