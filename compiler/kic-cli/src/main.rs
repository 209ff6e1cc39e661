//! The kic program: arguments, the real world, printing and exit codes.
//!
//! One file a command in `commands/`, each of which parses its arguments, calls one function, and prints.

mod arguments;
mod bug;
mod commands;
mod new_file;
mod quantity;
mod report;
mod terminal;
mod text_file;
mod usage;
mod watcher;
mod world;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let words = usage::as_options(std::env::args_os().collect());
    let run = || match arguments::Arguments::try_parse_from(&words) {
        Ok(arguments) => {
            let terminal = terminal::Terminal::new(&arguments.global);
            commands::run(arguments, &terminal)
        }
        Err(error) => usage::answer(error, &words),
    };
    ExitCode::from(bug::caught(usage::format_of(&words), run))
}
