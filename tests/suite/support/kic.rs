//! The program, run as a user runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use super::root;

/// The program of this build. `cargo test` builds no programs of other packages, so the first call does.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let target =
            std::env::current_exe().expect("a path").ancestors().nth(2).expect("target/PROFILE").to_owned();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "kic-cli"]).current_dir(root());
        if target.file_name().is_some_and(|profile| profile == "release") {
            build.arg("--release");
        }
        // What cargo tells this package of itself would make it build ring anew, and all that depends on it.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                build.env_remove(&name);
            }
        }
        build.env("CARGO_TARGET_DIR", target.parent().expect("target"));
        assert!(build.status().expect("cargo runs").success(), "kic does not build");
        target.join("kic")
    })
}

/// A command that runs kic in `folder`, with a store of its own and nothing of the user's environment that could
/// matter: no proxies, no Docker configuration, no colours.
pub fn kic(folder: &Path, store: &Path) -> Command {
    let mut command = Command::new(program());
    set_environment(&mut command, folder, store);
    command
}

/// A shell that runs `script` in `folder`, with the same environment, and kic on its path.
pub fn shell(folder: &Path, store: &Path, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    set_environment(&mut command, folder, store);
    let mut folders = vec![program().parent().expect("it lies in a folder").to_owned()];
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    command.env("PATH", std::env::join_paths(folders).expect("paths without colons"));
    command
}

fn set_environment(command: &mut Command, folder: &Path, store: &Path) {
    command.current_dir(folder).env_clear();
    for name in ["PATH", "TMPDIR", "LD_PRELOAD", "SYSTEMROOT"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.env("KIC_STORE", store).env("HOME", folder).env("LC_ALL", "C.UTF-8");
}

/// What a run printed, with its exit status; for messages of failed tests.
pub fn shown(output: &Output) -> String {
    format!(
        "{}\n--- stdout\n{}\n--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Runs a command that must succeed, and returns what it printed on standard output.
pub fn stdout(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", shown(&output));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What a run printed on standard output, as JSON.
pub fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", shown(output)))
}
