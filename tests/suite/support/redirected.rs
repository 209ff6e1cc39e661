//! What kic and the engines themselves make of the pods of `tests/redirect`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kic_base::Source;
use kic_manifest::Object;
use kic_redirect::{Operation, Pod, Policy};
use serde_json::Value as Json;

use super::root;

/// The images of a pod after a policy, by list and container; what came in the way, where something did.
pub type Outcome = Result<BTreeMap<String, String>, String>;

/// What can be done with a pod, as engines name it: the operation, and the subresource.
pub const OPERATIONS: [(Operation, &str, &str); 3] = [
    (Operation::Create, "CREATE", ""),
    (Operation::Update, "UPDATE", ""),
    (Operation::Debug, "UPDATE", "ephemeralcontainers"),
];

/// The folder of the corpus.
pub fn folder() -> PathBuf {
    root().join("tests/redirect")
}

/// The objects of a file without errors.
pub fn objects(path: &Path) -> Vec<Object> {
    let (objects, errors) =
        kic_manifest::read(&Source::new(path.display().to_string(), fs::read_to_string(path).unwrap()));
    assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    objects
}

/// The policies of the corpus, by name.
pub fn corpus() -> Vec<(String, PathBuf)> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder().join("policies")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path)).collect()
}

/// Whether a policy of the corpus is for the API server itself.
pub fn is_of_the_api_server(path: &Path) -> bool {
    objects(path).iter().any(|object| object.kind == "MutatingAdmissionPolicy")
}

/// The pods of the corpus, by name.
pub fn pods() -> Vec<(String, Pod)> {
    let objects = objects(&folder().join("pods.yaml"));
    assert!(objects.len() >= 40);
    objects.iter().map(|object| (object.name.clone().unwrap(), Pod::of(object, None).unwrap())).collect()
}

/// The images that a pod names, by list and container.
pub fn images(pod: &Pod) -> BTreeMap<String, String> {
    let named = |place: kic_redirect::Place| {
        let image = pod.image(&place).unwrap().to_owned();
        (format!("{} {}", place.list, place.name), image)
    };
    pod.places().into_iter().map(named).collect()
}

/// What kic says.
pub fn ours(policies: &[Policy], pod: &Pod, operation: Operation) -> Outcome {
    let policies: Vec<&Policy> = policies.iter().collect();
    kic_redirect::admit(&policies, pod, operation, &mut Vec::new()).map(|pod| images(&pod)).map_err(
        |(_, problem)| format!("{}: {}", if problem.fails { "fails" } else { "unknown" }, problem.message),
    )
}

/// What an engine says, from a program that prints one pod a line.
pub fn theirs(program: &Path, arguments: &[&str]) -> BTreeMap<String, Outcome> {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let mut outcomes = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: Json = serde_json::from_str(line).unwrap();
        let text = |key: &str| line.get(key).and_then(Json::as_str).map(str::to_owned);
        let outcome = match (line.get("pod"), text("error")) {
            (Some(object), None) => Ok(images(&Pod::new(text("namespace").unwrap(), object.clone()))),
            (_, error) => Err(error.unwrap()),
        };
        outcomes.insert(text("name").unwrap(), outcome);
    }
    outcomes
}

/// Holds what kic says of each pod against what an engine says, and returns where they differ.
pub fn differences(
    title: &str,
    policies: &[Policy],
    operation: Operation,
    theirs: &BTreeMap<String, Outcome>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, pod) in pods() {
        let ours = ours(policies, &pod, operation);
        let theirs = theirs.get(&name).unwrap_or_else(|| panic!("{title}: nothing was said of {name}"));
        let same = match (&ours, theirs) {
            (Ok(ours), Ok(theirs)) => ours == theirs,
            (Err(ours), Err(_)) => ours.starts_with("fails"),
            _ => false,
        };
        if !same {
            let (ours, theirs) = (shown(&ours), shown(theirs));
            wrong.push(format!("{title} {operation:?} on {name}\n kic:\n{ours} the engine:\n{theirs}"));
        }
    }
    wrong
}

/// An outcome, one image a line.
pub fn shown(outcome: &Outcome) -> String {
    match outcome {
        Ok(images) => images.iter().fold(String::new(), |mut text, (place, image)| {
            writeln!(text, "  {place}: {image}").unwrap();
            text
        }),
        Err(problem) => format!("  {problem}\n"),
    }
}
