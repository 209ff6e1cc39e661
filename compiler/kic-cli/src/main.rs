//! The kic program: arguments, the real world, printing and exit codes.
//!
//! One file a command in `commands/`, each of which parses its arguments, calls one function, and prints.

mod arguments;
mod commands;
mod new_file;
mod quantity;
mod report;
mod terminal;
mod watcher;
mod world;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = match arguments::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors, and go to standard output.
            let printed = error.print();
            return if error.use_stderr() || printed.is_err() {
                ExitCode::from(1)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let terminal = terminal::Terminal::new(&arguments.global);
    let status = commands::run(arguments, &terminal);
    ExitCode::from(status)
}
