use clap::{Args, Subcommand};
use kic_base::closest;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use serde_json::json;

use crate::arguments::{Format, Global};
use crate::terminal::{Terminal, print};

/// List the modules of the standard library, or show one.
#[derive(Debug, Args)]
pub struct Standard {
    #[command(subcommand)]
    command: Option<What>,
}

/// What to do with the standard library.
#[derive(Debug, Subcommand)]
enum What {
    /// Print what a module is for, and its parameters
    Show {
        /// The module, with or without `std:`
        name: String,
    },
}

impl Standard {
    /// Runs the command.
    pub fn run(&self, _: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let documented = || kic_spec::standard_modules().filter_map(kic_spec::documentation);
        let Some(What::Show { name }) = &self.command else {
            match terminal.format {
                Format::Json => {
                    let all: Vec<_> = documented()
                        .map(|module| json!({ "name": module.name, "doc": module.doc }))
                        .collect();
                    print(&format!("{}\n", json!(all)));
                }
                _ => {
                    print(
                        &documented()
                            .map(|module| format!("std:{:<16} {}\n", module.name, module.doc))
                            .collect::<String>(),
                    );
                }
            }
            return Ok(Diagnostics::new());
        };
        let name = name.strip_prefix("std:").unwrap_or(name);
        let Some(module) = kic_spec::documentation(name) else {
            let help = match closest(name, kic_spec::standard_modules()) {
                Some(close) => format!("did you mean `std:{close}`?"),
                None => "`kic std` lists them all".to_owned(),
            };
            return Err(Diagnostic::new(
                &code::UNKNOWN_MODULE,
                format!("the standard library has no module `{name}`"),
            )
            .help(help)
            .into());
        };
        match terminal.format {
            Format::Json => {
                let parameters = module.parameters.iter().map(|(name, kind, default, doc)| {
                    json!({ "name": name, "type": kind, "default": default, "doc": doc })
                });
                let parameters: Vec<_> = parameters.collect();
                print(&format!(
                    "{}\n",
                    json!({ "name": module.name, "doc": module.doc, "parameters": parameters })
                ));
            }
            _ => {
                let mut text = format!("std:{}\n{}\n\n", module.name, module.doc);
                for (name, kind, default, doc) in &module.parameters {
                    let default = default
                        .as_ref()
                        .map_or_else(|| ", required".to_owned(), |value| format!(", default {value}"));
                    text.push_str(&format!("  {name} ({kind}{default})\n      {doc}\n"));
                }
                print(&text);
            }
        }
        Ok(Diagnostics::new())
    }
}
