//! `completions` and `man`: what packagers put beside the program.

use std::io::{self, Write as _};

use clap_complete::Shell;

use super::console::{CliError, Done};

#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// The page of this command, such as `export conversations`; without it that of the program
    command: Vec<String>,
}

pub(super) fn completions(args: &CompletionsArgs, mut tree: clap::Command) -> Done {
    // Into memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut tree, "fini-bridge", &mut script);
    if args.shell == Shell::Bash {
        // clap_complete names the state below a program with a hyphen in two ways (clap-rs/clap#6421), and bash then
        // completes nothing behind the first word.
        script = String::from_utf8_lossy(&script).replace("fini__subcmd__bridge", "fini__bridge").into_bytes();
    }
    Ok(io::stdout().lock().write_all(&script)?)
}

pub(super) fn man(args: &ManArgs, mut tree: clap::Command) -> Done {
    tree.build();
    let mut command = &tree;
    for name in &args.command {
        command = command
            .find_subcommand(name)
            .ok_or_else(|| CliError::usage(format!("there is no command \"{}\"", args.command.join(" "))))?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    Ok(io::stdout().lock().write_all(&page)?)
}
