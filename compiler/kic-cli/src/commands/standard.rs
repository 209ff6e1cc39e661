use std::path::Path;

use clap::{Args, Subcommand};
use kic_base::closest;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_spec::ModuleDocumentation;
use serde_json::json;

use super::import::read;
use crate::arguments::{Format, Global};
use crate::terminal::Terminal;

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
        /// The module, with or without `std:`, or the path of one
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
                    terminal.print(&format!("{}\n", json!(all)));
                }
                _ => {
                    terminal.print(
                        &documented()
                            .map(|module| format!("std:{:<16} {}\n", module.name, summary(&module.doc)))
                            .collect::<String>(),
                    );
                }
            }
            return Ok(Diagnostics::new());
        };
        let name = name.strip_prefix("std:").unwrap_or(name);
        let is_path = name.contains('/') || name.ends_with(".kdl");
        let module = if is_path {
            Some(kic_spec::documentation_of(name, &read(Path::new(name))?)?)
        } else {
            kic_spec::documentation(name)
        };
        let Some(module) = module else {
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
                let parameters = module.parameters.iter().map(|parameter| {
                    json!({
                        "name": parameter.name, "type": parameter.kind, "words": parameter.words,
                        "required": parameter.is_required, "default": parameter.default, "doc": parameter.doc,
                    })
                });
                let parameters: Vec<_> = parameters.collect();
                terminal.print(&format!(
                    "{}\n",
                    json!({
                        "name": module.name, "doc": module.doc, "parameters": parameters,
                        "examples": module.examples,
                    })
                ));
            }
            _ => {
                let title = if is_path { name.to_owned() } else { format!("std:{name}") };
                terminal.print(&page(&title, &module));
            }
        }
        Ok(Diagnostics::new())
    }
}

fn page(title: &str, module: &ModuleDocumentation) -> String {
    let mut text = format!("{title}\n{}\n", module.doc);
    for parameter in &module.parameters {
        let words = match parameter.words.as_slice() {
            [] => String::new(),
            words => format!(", one of {}", words.join(", ")),
        };
        let default = match &parameter.default {
            Some(default) if default.is_empty() => ", default nothing".to_owned(),
            Some(default) => format!(", default {default}"),
            None if parameter.is_required => ", required".to_owned(),
            None => ", optional".to_owned(),
        };
        let doc = parameter.doc.replace('\n', "\n      ");
        text.push_str(&format!("\n  {} ({}{words}{default})\n      {doc}\n", parameter.name, parameter.kind));
    }
    for example in &module.examples {
        let example = example.lines().map(|line| format!("  {line}").trim_end().to_owned() + "\n");
        text.push_str(&format!("\nExample:\n\n{}", example.collect::<String>()));
    }
    text
}

/// The first paragraph.
fn summary(doc: &str) -> String {
    let paragraph: Vec<&str> = doc.lines().take_while(|line| !line.trim().is_empty()).collect();
    paragraph.join(" ")
}
