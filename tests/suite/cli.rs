//! The command line: `tests/cli/COMMAND/CASE/` is a case.
//!
//! | file | holds |
//! |---|---|
//! | `command` | what the shell runs, in a copy of the case's folder; more than one line may stand there |
//! | any other | the input tree |
//! | `stdout`, `stderr` | what is printed; a missing one stands for nothing |
//! | `status` | the exit status; 0 when it is missing |
//!
//! Every case has a store of its own, which is empty, in `$KIC_STORE`; `$ROOT` is the root of the project. What
//! no two runs have in common is replaced before it is compared:
//!
//! | what | becomes |
//! |---|---|
//! | the folder of the case, its store, the root of the project | `[folder]`, `[store]`, `[root]` |
//! | a time such as `12 ms` or `1.2 s`, with the spaces before it | ` [time]` |
//! | a heading `TIME`, and a `-` in its place, with the spaces before it | ` TIME`, ` -` |
//! | a number of `"milliseconds"` | `[time]` |
//! | the escape character of colours | `␛` |
//! | the version of kic | `[version]` |
//!
//! `UPDATE_EXPECT=1` writes what is printed into the files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::kic::{program, shell};
use crate::support::{copy_tree_as_it_is, root, updates_expectations};

const EXPECTATIONS: [&str; 3] = ["stdout", "stderr", "status"];

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn cases() -> Vec<PathBuf> {
    folders(&root().join("tests/cli")).iter().flat_map(|command| folders(command)).collect()
}

/// Runs a case, and says how it differs from what is expected.
fn run(case: &Path) -> Result<(), String> {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("case");
    let store = scratch.path().join("store");
    copy_tree_as_it_is(case, &folder);
    for name in EXPECTATIONS.iter().chain(&["command"]) {
        drop(fs::remove_file(folder.join(name)));
    }
    let command = fs::read_to_string(case.join("command")).map_err(|error| format!("no command: {error}"))?;
    let output = shell(&folder, &store, &command).env("ROOT", root()).output().unwrap();
    // A shell says 128 and the signal of a command that one ended.
    let status = output.status.code().map_or_else(|| output.status.to_string(), |code| code.to_string());
    let places = [(folder, "[folder]"), (store, "[store]"), (root(), "[root]")];
    let found = [redact(&output.stdout, &places), redact(&output.stderr, &places), format!("{status}\n")];
    let mut differences = Vec::new();
    for (name, found) in EXPECTATIONS.iter().zip(found) {
        let path = case.join(name);
        let nothing = if *name == "status" { "0\n" } else { "" };
        if updates_expectations() {
            if found == nothing {
                drop(fs::remove_file(&path))
            } else {
                fs::write(&path, &found).unwrap()
            }
            continue;
        }
        let expected = fs::read_to_string(&path).unwrap_or_else(|_| nothing.to_owned());
        if !is_expected(&expected, &found) {
            differences.push(format!("--- {name}, expected\n{expected}\n--- {name}, found\n{found}"));
        }
    }
    if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) }
}

/// What was printed, without what no two runs have in common.
pub fn redact(printed: &[u8], places: &[(PathBuf, &str)]) -> String {
    let mut text = String::from_utf8_lossy(printed).replace('\u{1b}', "␛");
    for (path, name) in places {
        text = text.replace(&path.display().to_string(), name);
    }
    text = text.replace(&format!("kic {}", env!("CARGO_PKG_VERSION")), "kic [version]");
    let mut lines: Vec<String> = Vec::new();
    for line in text.split('\n') {
        let mut line = redact_times(line);
        // They know paths of this machine, and which files were settled.
        for memos in ["memos of earlier runs, not counted above: ", "  \"memoBytes\": "] {
            if line.starts_with(memos) {
                line = format!("{memos}[size]");
            }
        }
        for end in ["TIME", "TIME␛[0m", "-"] {
            if let Some(before) = line.strip_suffix(end)
                && before.ends_with("  ")
            {
                line = format!("{} {end}", before.trim_end());
            }
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// Whether what was printed is what should be. Where lines of it break depends on how long the names of folders are that stand in it.
pub fn is_expected(expected: &str, found: &str) -> bool {
    let has_folder = ["[folder]", "[store]", "[root]"].iter().any(|folder| expected.contains(folder));
    expected == found || (has_folder && in_whole_lines(expected) == in_whole_lines(found))
}

/// Messages and help texts without the breaks that make their lines short.
fn in_whole_lines(text: &str) -> String {
    let mut whole = String::new();
    for line in text.split('\n') {
        let rest = ["  │ ", "        "].iter().find_map(|margin| line.strip_prefix(margin));
        whole.push(if rest.is_some() { ' ' } else { '\n' });
        whole.push_str(rest.unwrap_or(line));
    }
    whole
}

/// A line in which every `NUMBER ms`, `NUMBER s` and `"milliseconds":NUMBER` is `[time]`.
fn redact_times(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let digits = rest[at..].find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len() - at);
        let (before, number, after) = (&rest[..at], &rest[at..at + digits], &rest[at + digits..]);
        let unit = [" ms", " s"].into_iter().find(|unit| {
            after.strip_prefix(unit).is_some_and(|end| !end.starts_with(|c: char| c.is_ascii_alphanumeric()))
        });
        if let Some(unit) = unit {
            out.push_str(before.trim_end());
            out.push_str(if before.ends_with(' ') { " [time]" } else { "[time]" });
            rest = &after[unit.len()..];
        } else {
            out.push_str(before);
            out.push_str(if before.ends_with("\"milliseconds\":") { "[time]" } else { number });
            rest = after;
        }
    }
    out + rest
}

#[test]
fn every_case_prints_what_it_should() {
    // Built before the threads start, so that no case waits for it.
    program();
    let cases = cases();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(difference) = run(case) {
                        let name = case.strip_prefix(root()).unwrap().display().to_string();
                        failures.lock().unwrap().push(format!("=== {name}\n{difference}"));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    assert!(failures.is_empty(), "{} of {} cases\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn every_command_has_cases_and_a_help_text() {
    let folders = folders(&root().join("tests/cli"));
    let names: Vec<String> =
        folders.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    let help = std::process::Command::new(program()).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    for line in commands.lines() {
        let command = line.split_whitespace().next().unwrap();
        assert!(names.iter().any(|name| name == command), "tests/cli/{command} is missing");
        assert!(
            root().join("tests/cli").join(command).join("help").is_dir(),
            "tests/cli/{command}/help is missing"
        );
    }
}

#[test]
fn lines_may_break_elsewhere_where_a_folder_is_named() {
    let said = |words: &str| format!("code\n\n  × {words}\n  help: run it\n        again\n");
    assert!(is_expected(&said("in [folder]/a it\n  │ is wrong"), &said("in [folder]/a\n  │ it is wrong")));
    assert!(!is_expected(&said("in [folder]/a it\n  │ is wrong"), &said("in [folder]/a it\n  │ is long")));
    assert!(!is_expected(&said("it\n  │ is wrong"), &said("it is\n  │ wrong")));
}

#[test]
fn times_and_paths_are_redacted() {
    let places = [(PathBuf::from("/tmp/x"), "[folder]")];
    let redacted = redact(b"KIND  TIME\nfiles    12 ms\nbase      1.2 s\nbase        -\n{\"milliseconds\":1.25}\n/tmp/x/y 5 sets", &places);
    assert_eq!(
        redacted,
        "KIND TIME\nfiles [time]\nbase [time]\nbase -\n{\"milliseconds\":[time]}\n[folder]/y 5 sets"
    );
}
