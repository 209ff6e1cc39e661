use clap::Args;
use kic_base::closest;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use serde_json::json;

use crate::arguments::{Format, Global};
use crate::terminal::{Terminal, print};

/// Print the page of the book on an error code, or the list of all codes.
#[derive(Debug, Args)]
pub struct Explain {
    /// The code, as it stands before a message
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

impl Explain {
    /// Runs the command.
    pub fn run(&self, _: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let Some(name) = &self.code else {
            let list = |code: &&kic_diag::Code| format!("{:<28} {}\n", code.name, code.summary);
            print(&kic_diag::ALL.iter().map(list).collect::<String>());
            return Ok(Diagnostics::new());
        };
        let Some(found) = kic_diag::by_name(name) else {
            let close = closest(name, kic_diag::ALL.iter().map(|code| code.name));
            return Err(Diagnostic::new(&code::UNKNOWN_CODE, format!("there is no code `{name}`"))
                .help(match close {
                    Some(close) => format!("did you mean `{close}`?"),
                    None => "`kic explain` lists them all".to_owned(),
                })
                .into());
        };
        match terminal.format {
            Format::Json => {
                print(&format!(
                    "{}\n",
                    json!({ "code": found.name, "summary": found.summary, "page": found.page })
                ));
            }
            _ => print(found.page),
        }
        Ok(Diagnostics::new())
    }
}
