//! Discovery, held against files: every `tests/discovery/NAME.yaml` says in comments what must be found.
//!
//! `# expect: CONFIDENCE REF` behind a line belongs to that line; on a line of its own, to the next line that
//! holds anything else; `# expect +N: …` or `# expect -N: …`, to the line N lines below or above the comment. Several finds are separated by
//! commas. Lines without any expect nothing.

#![expect(clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kic_base::{ImageReference, Source};
use kic_manifest::{Confidence, Found, GapKind, discover, images, images_of_text, read};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// `LINE CONFIDENCE REFERENCE`, one a find.
type Finds = BTreeSet<(usize, String, String)>;

fn expected(name: &str, text: &str) -> Finds {
    let mut finds = Finds::new();
    let mut waiting: Vec<&str> = Vec::new();
    for (place, line) in text.lines().enumerate() {
        let number = place + 1;
        let Some(at) = line.find("# expect") else {
            for list in waiting.drain(..) {
                add(name, &mut finds, number, list);
            }
            continue;
        };
        let rest = &line[at + "# expect".len()..];
        // JSON has no comments: there an expectation stands in a string.
        let rest = rest.split('"').next().unwrap_or_default();
        let (distance, list) = rest.split_once(':').unwrap_or_else(|| panic!("{name}:{number}: no colon"));
        if let Ok(distance) = distance.trim().parse::<isize>() {
            add(name, &mut finds, number.saturating_add_signed(distance), list);
        } else if line[..at].trim().is_empty() {
            waiting.push(list);
        } else {
            for list in waiting.drain(..) {
                add(name, &mut finds, number, list);
            }
            add(name, &mut finds, number, list);
        }
    }
    assert!(waiting.is_empty(), "{name}: an expectation after the last line");
    finds
}

fn add(name: &str, finds: &mut Finds, line: usize, list: &str) {
    for find in list.split(',') {
        let (confidence, reference) =
            find.trim().split_once(' ').unwrap_or_else(|| panic!("{name}:{line}: `{find}`"));
        assert!(["certain", "likely", "possible"].contains(&confidence), "{name}:{line}: `{confidence}`");
        let reference: ImageReference =
            reference.trim().parse().unwrap_or_else(|error| panic!("{name}:{line}: {error}"));
        finds.insert((line, confidence.to_owned(), reference.to_string()));
    }
}

fn found(found: &[Found]) -> Finds {
    found
        .iter()
        .map(|found| {
            let line = found.span.source().line_column(found.span.range().start).0;
            let confidence = match found.confidence {
                Confidence::Certain => "certain",
                Confidence::Likely => "likely",
                Confidence::Possible => "possible",
            };
            (line, confidence.to_owned(), found.reference.to_string())
        })
        .collect()
}

#[test]
fn every_case_finds_what_it_says_and_nothing_else() {
    let folder = workspace().join("tests/discovery");
    let mut cases = 0;
    let mut wrong = String::new();
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(&folder).expect("the cases").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a readable case");
        let source = Source::new(name.clone(), text.clone());
        let loose = text.starts_with("# no object");
        let (finds, errors) = if loose {
            images_of_text(&source)
        } else {
            let (objects, errors) = read(&source);
            (images(&objects), errors)
        };
        for error in errors {
            wrong.push_str(&format!("{name}: {error}\n"));
        }
        for find in &finds {
            assert!(!find.reason.is_empty() && !find.path.is_empty(), "{name}: {find:?}");
            assert!(find.reason.ends_with(|last: char| last.is_alphanumeric() || last == '`'), "{find:?}");
        }
        let (expected, actual) = (expected(&name, &text), found(&finds));
        for (line, confidence, reference) in expected.difference(&actual) {
            wrong.push_str(&format!("{name}:{line}: missed: {confidence} {reference}\n"));
        }
        for (line, confidence, reference) in actual.difference(&expected) {
            let reason =
                finds.iter().find(|find| find.reference.to_string() == *reference).expect("it was found");
            wrong.push_str(&format!(
                "{name}:{line}: found: {confidence} {reference}: {} ({})\n",
                reason.path, reason.reason
            ));
        }
        cases += 1;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(cases >= 60, "only {cases} cases");
}

/// What `# gap: KIND TEXT` behind a line says that is left open there.
#[test]
fn what_is_left_open_is_told_where_a_case_says_so_and_nowhere_else() {
    let folder = workspace().join("tests/discovery");
    let mut wrong = String::new();
    let mut count = 0;
    for path in std::fs::read_dir(&folder).expect("the cases").map(|entry| entry.expect("an entry").path()) {
        let text = std::fs::read_to_string(&path).expect("a readable case");
        let lines = text.lines().enumerate();
        let expected: BTreeSet<String> = lines
            .filter_map(|(place, line)| {
                Some(format!("{} {}", place + 1, line.split_once("# gap: ")?.1.trim()))
            })
            .collect();
        let (objects, _) = read(&Source::new("case", text.as_str()));
        let actual: BTreeSet<String> = discover(&objects)
            .gaps
            .iter()
            .map(|gap| {
                let line = gap.span.source().line_column(gap.span.range().start).0;
                let kind = match gap.kind {
                    GapKind::Unreadable => "unreadable",
                    GapKind::Versioned(_) => "versioned",
                };
                format!("{line} {kind} {}", gap.written).trim_end().to_owned()
            })
            .collect();
        count += expected.len();
        if expected != actual {
            wrong.push_str(&format!("{}: {expected:?}, not {actual:?}\n", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 8, "only {count} places");
}

#[test]
fn real_manifests_name_exactly_these_images() {
    let folder = workspace().join("../shared/data/kyverno");
    if !folder.exists() {
        eprintln!("SKIPPED: {} is not there, so real manifests were NOT checked", folder.display());
        return;
    }
    for (file, expected) in [
        (
            "install-v1.5.8.yaml",
            vec![
                (7589, "certain", "ghcr.io/kyverno/kyverno:v1.5.8"),
                (7641, "certain", "ghcr.io/kyverno/kyvernopre:v1.5.8"),
            ],
        ),
        (
            "install-v1.13.0.yaml",
            vec![
                (51050, "certain", "ghcr.io/kyverno/kyvernopre:latest"),
                (51095, "certain", "ghcr.io/kyverno/kyverno:latest"),
                (51256, "certain", "ghcr.io/kyverno/background-controller:latest"),
                (51361, "certain", "ghcr.io/kyverno/cleanup-controller:latest"),
                (51502, "certain", "ghcr.io/kyverno/reports-controller:latest"),
            ],
        ),
    ] {
        let text = std::fs::read_to_string(folder.join(file)).expect("a readable manifest");
        let (objects, errors) = read(&Source::new(file, text));
        assert_eq!(errors, [], "{file}");
        let expected: Finds = expected
            .into_iter()
            .map(|(line, confidence, reference)| (line, confidence.to_owned(), reference.to_owned()))
            .collect();
        assert_eq!(found(&images(&objects)), expected, "{file}");
    }
}
