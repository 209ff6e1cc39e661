//! Bad input: `tests/bad-input/NAME/` is a case.
//!
//! | file | holds |
//! |---|---|
//! | `expected` | a line for each error: its code, and where it lies, as `FILE:LINE`; nothing behind the code where there is no place |
//! | `setup` | a shell script that makes what cannot stand in a repository: pipes, odd names, large texts |
//! | `command` | what is run; `kic compile cluster.kdl -o out.oci` when it is missing |
//! | `stderr` | what people read; `UPDATE_EXPECT=1` writes it |
//! | any other | the input tree |
//!
//! Whatever the input: the codes are these, the exit status is that of their class, each says what to do, an error
//! in a text says where, nothing panics or hangs, and no file is made, changed or left over. `out.oci` is there
//! already, as an image of an earlier compile. [`cli`](crate::cli) says how what is printed is compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kic_base::Digest;
use kic_diag::{Severity, by_name};
use serde_json::Value;

use crate::cli::{is_expected, redact};
use crate::support::kic::{kic, program, shell, shown, stdout};
use crate::support::{copy_tree_as_it_is, root, updates_expectations};

/// No case takes so long.
const LIMIT: Duration = Duration::from_secs(60);

fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("tests/bad-input")).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    cases.sort();
    cases
}

/// Everything below a folder: files by what they hold, and what else there is.
fn tree(folder: &Path) -> BTreeMap<PathBuf, String> {
    fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            let size = entry.metadata().unwrap().len();
            let what = if kind.is_file() && size > 1 << 30 {
                format!("a hole of {size} bytes")
            } else if kind.is_file() {
                Digest::of(&fs::read(entry.path()).unwrap()).to_string()
            } else if kind.is_symlink() {
                format!("link to {}", fs::read_link(entry.path()).unwrap().display())
            } else {
                format!("{kind:?}")
            };
            found.insert(entry.path(), what);
            if kind.is_dir() {
                walk(&entry.path(), found);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, &mut found);
    found
}

/// Runs `script`, for a limited time.
fn run(folder: &Path, store: &Path, script: &str) -> Result<Output, String> {
    let mut command = shell(folder, store, script);
    command.env("ROOT", root()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let id = child.id();
    let begin = Instant::now();
    let watcher = std::thread::spawn(move || {
        // Pipes are read here, so that a child that prints much does not wait for us.
        let (mut out, mut error) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            drop(std::io::Read::read_to_end(&mut error, &mut bytes));
            bytes
        });
        let mut bytes = Vec::new();
        drop(std::io::Read::read_to_end(&mut out, &mut bytes));
        let status = child.wait().unwrap();
        Output { status, stdout: bytes, stderr: reader.join().unwrap() }
    });
    while !watcher.is_finished() {
        if begin.elapsed() > LIMIT {
            drop(std::process::Command::new("kill").args(["-9", &id.to_string()]).status());
            return Err(format!("it takes longer than {LIMIT:?}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(watcher.join().unwrap())
}

/// The errors that were told, as lines of `expected`, and what is wrong with them whatever they are.
fn told(output: &Output, folder: &Path) -> Result<(String, Vec<String>), String> {
    let said: Value =
        serde_json::from_slice(&output.stderr).map_err(|_| "the errors are no JSON".to_owned())?;
    let (mut lines, mut flaws, mut status) = (String::new(), Vec::new(), 0);
    for one in said.as_array().ok_or("the errors are no array")? {
        let name = one["code"].as_str().unwrap();
        let code = by_name(name).ok_or(format!("`{name}` is not declared"))?;
        if code.severity == Severity::Error {
            status = status.max(code.class.exit_status());
        }
        if one["help"].as_str().is_none_or(str::is_empty) {
            flaws.push(format!("{name} says not what to do"));
        }
        let message = one["message"].as_str().unwrap();
        if message.ends_with('.') || message.is_empty() || message.contains('\n') {
            flaws.push(format!("{name}: the message is not one sentence without a full stop: {message}"));
        }
        let place = one["labels"].get(0).map(|label| {
            let source =
                label["source"].as_str().unwrap().trim_start_matches(&format!("{}/", folder.display()));
            format!(" {source}:{}", label["line"])
        });
        lines.push_str(&format!("{name}{}\n", place.unwrap_or_default()));
    }
    // An interrupted run ends as the shell expects of one that a signal ended. A warning ends none.
    let status = if lines.starts_with("interrupted") { 130 } else { status };
    if output.status.code() != Some(i32::from(status)) {
        flaws.push(format!("the exit status should be {status}"));
    }
    Ok((lines, flaws))
}

/// Whether what was expected, which may leave places out, is what was told.
fn is_met(expected: &str, told: &str) -> bool {
    let (expected, told): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), told.lines().collect());
    // One line without a place stands for any number of errors of its code.
    if let [only] = expected.as_slice()
        && !only.contains(' ')
    {
        return !told.is_empty() && told.iter().all(|line| line.split(' ').next() == Some(*only));
    }
    expected == told
}

fn check(case: &Path, earlier: &Path) -> Result<(), String> {
    let scratch = tempfile::tempdir().unwrap();
    let (folder, store) = (scratch.path().join("case"), scratch.path().join("store"));
    copy_tree_as_it_is(case, &folder);
    for name in ["expected", "setup", "command", "stderr"] {
        drop(fs::remove_file(folder.join(name)));
    }
    copy_tree_as_it_is(earlier, &folder.join("out.oci"));
    if let Ok(setup) = fs::read_to_string(case.join("setup")) {
        let output = run(&folder, &store, &format!("set -e\n{setup}"))?;
        if !output.status.success() {
            return Err(format!("its setup fails: {}", shown(&output)));
        }
    }
    let before = tree(&folder);
    let command = fs::read_to_string(case.join("command"))
        .unwrap_or_else(|_| "kic compile cluster.kdl -o out.oci".to_owned());
    let output = run(&folder, &store, &format!("{} --format json", command.trim()))?;
    let mut wrong = Vec::new();
    let expected = fs::read_to_string(case.join("expected")).unwrap();
    match told(&output, &folder) {
        Err(why) => wrong.push(format!("{why}: {}", shown(&output))),
        Ok((told, flaws)) => {
            wrong.extend(flaws);
            if !is_met(&expected, &told) {
                wrong.push(format!("expected\n{expected}told\n{told}"));
            }
        }
    }
    let for_people = run(&folder, &store, &format!("{} --quiet", command.trim()))?;
    for output in [&output, &for_people] {
        if String::from_utf8_lossy(&output.stderr).contains("panicked") {
            wrong.push(shown(output));
        }
    }
    if !for_people.stderr.is_empty() {
        let places = [(folder.clone(), "[folder]"), (store.clone(), "[store]"), (root(), "[root]")];
        let text = redact(&for_people.stderr, &places);
        let path = case.join("stderr");
        if updates_expectations() {
            fs::write(&path, &text).unwrap();
        } else {
            let expected = fs::read_to_string(&path).unwrap_or_default();
            if !is_expected(&expected, &text) {
                wrong.push(format!("--- stderr, expected\n{expected}\n--- stderr, found\n{text}"));
            }
        }
    }
    // A warning leaves an image, as it should.
    let is_error = !output.status.success();
    if is_error && tree(&folder) != before {
        wrong.push("a file was made or changed".to_owned());
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

#[test]
fn bad_input_ends_in_its_own_error_and_touches_nothing() {
    program();
    let scratch = tempfile::tempdir().unwrap();
    let earlier = scratch.path().join("earlier.oci");
    let spec = "cluster \"earlier\" {\n    base scratch\n    files \"a\" { text \"/a\" \"b\"; }\n}\n";
    fs::write(scratch.path().join("cluster.kdl"), spec).unwrap();
    stdout(
        kic(scratch.path(), &scratch.path().join("store")).args(["compile", "--quiet", "-o"]).arg(&earlier),
    );
    let cases = cases();
    assert!(cases.len() >= 60, "the cases are not found");
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = check(case, &earlier) {
                        let name = case.file_name().unwrap().to_string_lossy().into_owned();
                        failures.lock().unwrap().push(format!("=== {name}\n{why}"));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    assert!(failures.is_empty(), "{} of {} cases\n{}", failures.len(), cases.len(), failures.join("\n"));
}
