use std::ffi::OsStr;
use std::path::Path;

use clap::Args;
use kic::{LockFile, LockMode};
use kic_base::without_secrets;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use serde_json::json;

use crate::arguments::{Building, Format, Global, spec_in};
use crate::terminal::Terminal;
use crate::watcher::watcher;
use crate::world::{Disk, block_on, building_context};

/// Resolve every tag and URL of a spec, and write kic.lock. Pins that are there stay, those that nothing needs go.
#[derive(Debug, Args)]
pub struct Lock {
    /// Move pins: those of these images and URLs, or all, and the encoder epoch, when none is named
    #[arg(long, value_name = "REF", num_args = 0..)]
    update: Option<Vec<String>>,
    /// Fail where kic.lock would have to change, and write nothing
    #[arg(long, conflicts_with = "update")]
    locked: bool,
    #[command(flatten)]
    building: Building,
}

impl Lock {
    /// Runs the command.
    pub fn run(&self, global: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let names = self.update.as_deref().unwrap_or_default();
        // Before anything is asked of a registry for another spec.
        if let Some(name) = names.iter().find(|name| name.ends_with(".kdl") && Path::new(name).is_file()) {
            return Err(a_spec(name).into());
        }
        let watch = watcher(terminal);
        let context = building_context(global, &self.building, watch.clone())?;
        let lock = match (&self.update, self.locked) {
            (Some(names), _) => LockMode::Update(names.clone()),
            (None, true) => LockMode::Locked,
            (None, false) => LockMode::Tidy,
        };
        let request = self.building.request(lock)?;
        let locked = block_on(&context, kic::lock(&request, &Disk, &context));
        drop(watch);
        // What is a pin is one, whatever else has its name.
        let (locks, warnings) = locked.map_err(|errors| {
            let is_unknown = errors.iter().any(|error| error.code == &code::UNKNOWN_PIN);
            let name = names.iter().find(|name| is_unknown && spec_in(Path::new(name)).is_file());
            name.map_or(errors, |name| a_spec(name).into())
        })?;
        match terminal.format {
            Format::Json => terminal.print(&format!("{}\n", as_json(&locks))),
            _ if terminal.quiet => terminal.print_lines(written(&locks)),
            _ => terminal.print(&as_text(&locks)),
        }
        Ok(warnings)
    }
}

/// What is told of a spec that is taken for a pin, as it stands behind `--update`.
fn a_spec(name: &str) -> Diagnostic {
    Diagnostic::new(&code::UNKNOWN_PIN, format!("`{name}` is a spec, and no pin of one"))
        .help(format!("name the spec first: `kic lock {name} --update`"))
}

/// The lines of a lock: for each pin its name and digest.
fn pins(lock: &kic_spec::Lock) -> std::collections::BTreeMap<String, String> {
    let images = lock.images.iter().map(|(reference, pin)| (reference.to_string(), pin.digest.to_string()));
    let fetches = lock.fetches.iter().map(|(url, pin)| (url.clone(), pin.sha256.to_string()));
    images.chain(fetches).collect()
}

/// The locks that were written, one a line.
fn written(locks: &[LockFile]) -> impl Iterator<Item = &OsStr> {
    locks.iter().filter(|file| file.is_changed()).map(|file| file.path.as_os_str())
}

fn as_text(locks: &[LockFile]) -> String {
    let mut text = String::new();
    for file in locks {
        let (before, after) = (file.before.as_ref().map(pins).unwrap_or_default(), pins(&file.lock));
        // The right to a file may stand in its URL: in the lock it has to, and on the screen, which ends in logs, it must not.
        let shown = |name: &str| if name.contains("://") { without_secrets(name) } else { name.to_owned() };
        let epoch = file.lock.epoch.number();
        if let Some(old) = file.before.as_ref().map(|lock| lock.epoch.number()).filter(|old| *old != epoch) {
            text.push_str(&format!("  ~ encoder epoch {old} -> {epoch}\n"));
        }
        for (name, digest) in &after {
            let name_shown = shown(name);
            match before.get(name) {
                None => text.push_str(&format!("  + {name_shown} {digest}\n")),
                Some(old) if old != digest => text.push_str(&format!("  ~ {name_shown} {old} -> {digest}\n")),
                Some(_) => {}
            }
        }
        for (name, digest) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
            text.push_str(&format!("  - {} {digest}\n", shown(name)));
        }
        let what = match (file.is_changed(), after.is_empty() && file.before.is_none()) {
            (true, _) => "wrote",
            (false, false) => "unchanged:",
            (false, true) => "no pins needed:",
        };
        text.push_str(&format!("{what} {}\n", file.path.display()));
    }
    text
}

fn as_json(locks: &[LockFile]) -> serde_json::Value {
    let one = |file: &LockFile| {
        let path = file.path.display().to_string();
        json!({ "path": path, "changed": file.is_changed(), "epoch": file.lock.epoch.number(), "pins": pins(&file.lock) })
    };
    json!(locks.iter().map(one).collect::<Vec<_>>())
}
