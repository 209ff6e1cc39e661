//! The questions of `kic init` on a terminal, as a person meets them.

use std::fs;
use std::process::Stdio;

use crate::support::kic::kic;
use crate::support::pseudo_terminal::kic_on_a_terminal;

/// What the screen shows when these keys are typed, and the spec.
fn typed(keys: &[&str]) -> Option<(String, Option<String>)> {
    typed_for(".", keys)
}

/// The same for a spec in the folder `target`, as seen from the working folder.
fn typed_for(target: &str, keys: &[&str]) -> Option<(String, Option<String>)> {
    let mut command = kic_on_a_terminal(0, &["init", target], keys)?;
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("shop");
    fs::create_dir(&folder).unwrap();
    let output = command.current_dir(&folder).env("NO_COLOR", "1").stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let spec = fs::read_to_string(folder.join(target).join("cluster.kdl")).ok();
    // Who stopped has the folders that were there before.
    assert!(
        spec.is_some() || folder.join(target).canonicalize().ok().is_none_or(|path| path.ends_with("shop"))
    );
    Some((String::from_utf8_lossy(&output.stdout).into_owned(), spec))
}

#[test]
fn empty_answers_take_what_stands_in_brackets() {
    let Some((screen, spec)) = typed(&["", "", "", ""]) else { return };
    assert!(screen.ends_with("\nwrote cluster.kdl\nstatus 0\n"), "{screen}");
    assert!(!screen.contains('\x1b'), "NO_COLOR is set: {screen}");
    let spec = spec.unwrap();
    assert!(spec.starts_with("cluster \"shop\" version=\"v1\" {\n"), "{spec}");
    assert!(spec.contains("\n    base scratch\n"), "{spec}");
}

#[test]
fn a_wrong_answer_is_explained_and_asked_for_again() {
    let keys =
        ["My Shop", "my-shop", "v 1", "v2", "no image", "registry.example.com/kubernetes:v1.31.0", "a.yaml"];
    let Some((screen, spec)) = typed(&keys) else { return };
    for said in ["`My Shop` is no name: ", "`v 1` is no version: ", "`no image` is no image: "] {
        assert_eq!(screen.matches(said).count(), 1, "{screen}");
    }
    assert!(screen.ends_with("status 0\n"), "{screen}");
    let spec = spec.unwrap();
    for said in [
        "cluster \"my-shop\" version=\"v2\" {",
        "base \"registry.example.com/kubernetes:v1.31.0\"",
        "file \"a.yaml\"",
    ] {
        assert!(spec.contains(said), "{spec}");
    }
}

#[test]
fn who_stops_gets_no_spec() {
    for (key, status) in [("^C", "status -2\n"), ("^D", "status 130\n")] {
        let Some((screen, spec)) = typed(&["", key]) else { return };
        assert!(screen.ends_with(status), "{key}: {screen}");
        assert_eq!(spec, None, "{key}: {screen}");
        let Some((screen, spec)) = typed_for("new", &["", key]) else { return };
        assert!(screen.contains("[new]") && spec.is_none(), "{key}: {screen}");
    }
}

#[test]
fn without_a_terminal_nothing_is_asked() {
    let scratch = tempfile::tempdir().unwrap();
    let output = kic(scratch.path(), &scratch.path().join("store"))
        .args(["init", "--name", "shop"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    assert!(fs::read_to_string(scratch.path().join("cluster.kdl")).unwrap().contains("base scratch"));
    let output = kic(scratch.path(), &scratch.path().join("store"))
        .args(["init", "bare"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    assert!(
        fs::read_to_string(scratch.path().join("bare/cluster.kdl")).unwrap().starts_with("cluster \"bare\"")
    );
}
