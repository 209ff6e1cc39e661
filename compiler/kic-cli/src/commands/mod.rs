//! One file a command.

pub mod check;
pub mod compile;
pub mod completions;
pub mod diff;
mod differences;
pub mod eval;
pub mod explain;
pub mod fmt;
pub mod graph;
pub mod images;
pub mod import;
pub mod init;
pub mod inspect;
pub mod lock;
pub mod plan;
pub mod push;
mod reasons;
pub mod redirect;
pub mod standard;
pub mod store;
pub mod unpack;
pub mod verify;
pub mod why;

use clap::ValueEnum as _;
use kic_diag::{Diagnostic, declared as code};

use crate::arguments::{Arguments, Command, Format};
use crate::terminal::Terminal;

/// Runs a command, draws what went wrong, and gives the exit status.
pub fn run(arguments: Arguments, terminal: &Terminal) -> u8 {
    let global = &arguments.global;
    let draws = matches!(global.format, Format::Dot | Format::Mermaid | Format::Svg);
    // What a command ends with that went well; some tell by it what they found.
    let mut status = 0;
    let result = match &arguments.command {
        command if draws && !matches!(command, Command::Graph(_)) => {
            let format = global.format.to_possible_value();
            let name = format.as_ref().map_or("", |format| format.get_name());
            let message = format!("only `kic graph` has the format `{name}`");
            Err(Diagnostic::new(&code::INVALID_ARGUMENT, message)
                .help("this command has `human`, which is the default, and `json`")
                .into())
        }
        Command::Compile(command) => command.run(global, terminal),
        Command::Lock(command) => command.run(global, terminal),
        Command::Plan(command) => command.run(global, terminal),
        Command::Graph(command) => command.run(global, terminal),
        Command::Images(command) => command.run(global, terminal),
        Command::Why(command) => command.run(global, terminal),
        Command::Redirect(command) => command.run(global, terminal),
        Command::Inspect(command) => command.run(global, terminal),
        Command::Diff(command) => command.run(global, terminal, &mut status),
        Command::Verify(command) => command.run(global, terminal),
        Command::Unpack(command) => command.run(global, terminal),
        Command::Push(command) => command.run(global, terminal),
        Command::Check(command) => command.run(global, terminal),
        Command::Eval(command) => command.run(global, terminal),
        Command::Init(command) => command.run(global, terminal),
        Command::Import(command) => command.run(global, terminal),
        Command::Fmt(command) => command.run(global, terminal),
        Command::Std(command) => command.run(global, terminal),
        Command::Store(command) => command.run(global, terminal),
        Command::Explain(command) => command.run(global, terminal),
        Command::Completions(command) => command.run(global, terminal),
    };
    let mut diagnostics = result.unwrap_or_else(|errors| errors);
    diagnostics.extend(terminal.unprinted());
    terminal.diagnostics(&diagnostics);
    if diagnostics.has_errors() { diagnostics.exit_status() } else { status }
}
