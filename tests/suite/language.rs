//! The language: `tests/language/FEATURE.kdl` holds several cases, with the errors that each must give written
//! beside the lines that they belong to. Nothing here touches a disk but to read the cases. The form:
//!
//! | line | meaning |
//! |---|---|
//! | `// --- NAME` | a case begins; its text is `cluster.kdl` |
//! | `// file: PATH` | what follows is another file of the case |
//! | `// set: NAME=VALUE` | as `--set` of the command line; expectations may stand behind it |
//! | `// closed: PLATFORM` | what follows is the spec with nothing left to evaluate, for that platform |
//! | `TEXT //~ error CODE` | the text before it gives this error; `warning` likewise |
//! | `` … `SPAN` "SAID" `` | the error covers exactly SPAN; its message, labels or help hold SAID (several may stand) |
//! | `TEXT //~ also "SAID"` | a further label of some error lies here |
//! | `//~^ error CODE` | as `//~`, for the line above; `//~^^` for the one before that |
//!
//! Expectations are cut out before a text is read, so they may stand in strings and lists, too. A case must give
//! exactly the errors that it names. One without errors must resolve, and lower to a graph; a `kic.lock` in it is
//! read as one.

mod case;
mod coverage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kic_base::{Epoch, Source};
use kic_diag::{Diagnostic, Diagnostics, Severity};
use kic_graph::{BaseFacts, Inputs};
use kic_spec::{Base, Lock, Settings, Spec};
use kic_syntax::{File, Plain};

use crate::support::root;
use case::{Case, Expectation};

/// Every case, by file name and place.
fn cases() -> Vec<Case> {
    let folder = root().join("tests/language");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().flat_map(|file| case::read(file)).collect()
}

/// The tree of a case's spec, and everything that is said of it.
fn run(case: &Case) -> (File, Diagnostics) {
    let texts: &BTreeMap<PathBuf, String> = &case.texts;
    let path = Path::new("cluster.kdl");
    let (file, mut said) = kic_syntax::parse(&Source::new("cluster.kdl", texts[path].clone()));
    if let Some(lock) = texts.get(Path::new("kic.lock")) {
        match Lock::parse(&Source::new("kic.lock", lock.clone())) {
            Ok(lock) => assert_eq!(Lock::parse(&Source::new("kic.lock", lock.to_text())), Ok(lock)),
            Err(errors) => said.append(errors),
        }
    }
    if said.has_errors() {
        return (file, said);
    }
    match kic_spec::resolve_with(&file, path, &settings(case), texts) {
        Err(errors) => said.append(errors),
        Ok((spec, warnings)) => {
            said.append(warnings);
            if !matches!(spec.base.value, Base::Image(_)) {
                match kic_graph::lower(&spec, &inputs(&spec)) {
                    Err(errors) => said.append(errors),
                    Ok((_, warnings)) => said.append(warnings),
                }
            }
        }
    }
    (file, said)
}

fn settings(case: &Case) -> Settings {
    Settings { set: case.set.clone() }
}

/// How the closed specs differ from those that a case gives.
fn closed_differences(case: &Case, file: &File) -> Vec<String> {
    let mut differences = Vec::new();
    for (platform, expected) in &case.closed {
        let platform = platform.parse().unwrap();
        let found = match kic_spec::evaluate_cluster(file, &platform, &settings(case), &case.texts) {
            Ok((node, ..)) => Plain::from(&node).to_string(),
            Err(errors) => format!("{} errors\n", errors.error_count()),
        };
        if found != *expected {
            differences.push(format!("  for {platform} it is\n{found}"));
        }
    }
    differences
}

/// A world in which no file and no image is known.
pub fn inputs(spec: &Spec) -> Inputs {
    Inputs {
        base: match &spec.base.value {
            Base::Spec(base) => BaseFacts::Spec(Box::new(inputs(base))),
            _ => BaseFacts::Scratch,
        },
        ..Inputs::none(Epoch::CURRENT, 0)
    }
}

/// Whether a diagnostic is the one that was expected.
fn is_met(wanted: &Expectation, found: &Diagnostic) -> bool {
    let Some(label) = found.labels.first() else { return false };
    let line = label.span.source().line_column(label.span.range().start).0;
    let severity = if found.code.severity == Severity::Error { "error" } else { "warning" };
    let said = said(found);
    wanted.source == label.span.source().name()
        && wanted.line == line
        && wanted.severity == severity
        && wanted.code == found.code.name
        && wanted.span.as_ref().is_none_or(|span| span == label.span.text())
        && wanted.said.iter().all(|text| said.contains(text.as_str()))
}

/// Whether some label after the first one is the one that was expected.
fn is_met_by_a_further_label(wanted: &Expectation, found: &Diagnostics) -> bool {
    found.iter().flat_map(|diagnostic| diagnostic.labels.iter().skip(1)).any(|label| {
        wanted.source == label.span.source().name()
            && wanted.line == label.span.source().line_column(label.span.range().start).0
            && wanted.said.iter().all(|text| label.text.contains(text.as_str()))
    })
}

fn said(diagnostic: &Diagnostic) -> String {
    let labels = diagnostic.labels.iter().map(|label| label.text.as_str());
    let rest = diagnostic.help.iter().chain(&diagnostic.notes).map(String::as_str);
    std::iter::once(diagnostic.message.as_str()).chain(labels).chain(rest).collect::<Vec<_>>().join("\n")
}

/// What is wrong with a diagnostic whatever it says: each must say where and what to do, in whole words.
fn flaws(diagnostic: &Diagnostic) -> Vec<&'static str> {
    let mut flaws = Vec::new();
    if diagnostic.labels.is_empty() {
        flaws.push("no place");
    }
    if diagnostic.help.as_ref().is_none_or(String::is_empty) {
        flaws.push("no help");
    }
    if diagnostic.message.ends_with('.') || diagnostic.message.contains('\n') || diagnostic.message.is_empty()
    {
        flaws.push("the message is not one sentence without a full stop");
    }
    flaws
}

#[test]
fn every_case_gives_exactly_the_errors_written_beside_it() {
    let mut failures = Vec::new();
    let cases = cases();
    assert!(cases.len() > 100, "the cases are not found");
    for case in &cases {
        let (file, found) = run(case);
        let mut wanted: Vec<&Expectation> =
            case.expected.iter().filter(|wanted| wanted.severity != "also").collect();
        // The one that says most first, so that it is not left with the diagnostic of another.
        wanted.sort_by_key(|wanted| std::cmp::Reverse((wanted.span.is_some(), wanted.said.len())));
        let mut wrong = closed_differences(case, &file);
        let mut unexpected: Vec<&Diagnostic> = found.iter().collect();
        for one in wanted {
            match unexpected.iter().position(|diagnostic| is_met(one, diagnostic)) {
                Some(index) => drop(unexpected.remove(index)),
                None => wrong.push(format!(
                    "  missing, line {}: {} {} {:?}",
                    one.written_at, one.severity, one.code, one.said
                )),
            }
        }
        for also in case.expected.iter().filter(|wanted| wanted.severity == "also") {
            if !is_met_by_a_further_label(also, &found) {
                wrong.push(format!("  missing, line {}: a label {:?}", also.written_at, also.said));
            }
        }
        for diagnostic in unexpected {
            let place =
                diagnostic.labels.first().map(|label| format!("{} `{}`", label.span, label.span.text()));
            let place = place.unwrap_or_default();
            wrong.push(format!("  unexpected: {} at {place}: {}", diagnostic.code.name, said(diagnostic)));
        }
        for diagnostic in found.iter() {
            for flaw in flaws(diagnostic) {
                wrong.push(format!("  {}: {flaw}: {}", diagnostic.code.name, diagnostic.message));
            }
        }
        if !wrong.is_empty() {
            failures.push(format!("{}:{} {}\n{}", case.file, case.line, case.name, wrong.join("\n")));
        }
    }
    assert!(failures.is_empty(), "{} of {} cases\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn every_node_argument_and_property_has_a_good_and_a_bad_case() {
    let mut coverage = coverage::Coverage::default();
    for case in cases() {
        let (file, said) = run(&case);
        coverage.add(&file, &said);
    }
    let missing = coverage.missing();
    assert!(missing.is_empty(), "no case in tests/language has\n{}", missing.join("\n"));
}

/// The cases that give no error, as `(FILE:NAME, TEXTS)`, for other tests that need good specs.
pub fn good_cases() -> Vec<(String, BTreeMap<PathBuf, String>)> {
    let good = cases().into_iter().filter(|case| case.expected.is_empty() && case.set.is_empty());
    good.map(|case| (format!("{}: {}", case.file, case.name), case.texts)).collect()
}

/// What is said of the spec `cluster.kdl` among these texts.
pub fn said_of(texts: &BTreeMap<PathBuf, String>) -> Diagnostics {
    let case = Case {
        file: String::new(),
        line: 0,
        name: String::new(),
        texts: texts.clone(),
        set: Vec::new(),
        closed: BTreeMap::new(),
        expected: Vec::new(),
    };
    run(&case).1
}
