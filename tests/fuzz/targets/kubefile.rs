//! Any text becomes a spec, formatted, or errors.
#![no_main]

use kic_base::Source;
use kic_import::{Folder, Kind, KubefileOptions, kubefile};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let options = KubefileOptions { name: "shop", version: Some("v1"), registry: "sea.hub:5000" };
    let Ok((spec, _)) = kubefile(&Source::new("Kubefile", text), &options, &Made) else { return };
    let source = Source::new("cluster.kdl", spec.as_str());
    let (file, said) = kic_syntax::parse(&source);
    assert!(!said.has_errors() && file.nodes.len() == 1, "{spec}");
    assert_eq!(kic_syntax::format(&source).as_ref(), Ok(&spec));
});

/// A folder with a few files.
struct Made;

const FILES: [(&str, &str); 4] = [
    ("etc/a.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n"),
    ("etc/policy.yaml", "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: a}\n"),
    ("imageList", "nginx\n"),
    ("x.sh", "true\n"),
];

impl Folder for Made {
    fn kind(&self, path: &str) -> Option<Kind> {
        let is_inside = |(file, _): &(&str, &str)| path == "." || file.starts_with(&format!("{path}/"));
        match FILES.iter().any(|(file, _)| *file == path) {
            true => Some(Kind::File),
            false => FILES.iter().any(is_inside).then_some(Kind::Folder),
        }
    }

    fn files(&self, path: &str) -> Vec<String> {
        let inside = FILES.iter().map(|(file, _)| (*file).to_owned());
        inside.filter(|file| path == "." || file.starts_with(&format!("{path}/"))).collect()
    }

    fn read(&self, path: &str) -> Option<String> {
        FILES.iter().find(|(file, _)| *file == path).map(|(_, text)| (*text).to_owned())
    }
}
