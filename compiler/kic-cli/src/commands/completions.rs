use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};
use kic_diag::Diagnostics;
use serde_json::json;

use crate::arguments::{Arguments, Format, Global};
use crate::terminal::Terminal;

/// Print a script that makes a shell complete kic's commands and options, to be put where the shell looks for it.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

impl Completions {
    /// Runs the command.
    pub fn run(&self, _: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let mut script = Vec::new();
        generate(self.shell, &mut Arguments::command(), "kic", &mut script);
        let script = String::from_utf8_lossy(&script);
        terminal.print(&match terminal.format {
            Format::Json => format!("{}\n", json!({ "shell": self.shell.to_string(), "script": script })),
            _ => script.into_owned(),
        });
        Ok(Diagnostics::new())
    }
}
