//! What there is to say of a node beyond its declaration.

/// The nodes with a note, by their paths.
pub(super) const NOTES: [(&str, &str); 23] = [
    ("cluster", include_str!("notes/cluster.md")),
    ("base", include_str!("notes/base.md")),
    ("compression", include_str!("notes/compression.md")),
    ("files", include_str!("notes/files.md")),
    ("files/copy/exclude", include_str!("notes/files-copy-exclude.md")),
    ("manifests/object", include_str!("notes/manifests-object.md")),
    ("registry/discover", include_str!("notes/registry-discover.md")),
    ("registry/image", include_str!("notes/registry-image.md")),
    ("readiness", include_str!("notes/readiness.md")),
    ("readiness/http", include_str!("notes/readiness-http.md")),
    ("readiness/admits", include_str!("notes/readiness-admits.md")),
    ("launch", include_str!("notes/launch.md")),
    ("launch/rest", include_str!("notes/launch-rest.md")),
    ("module", include_str!("notes/module.md")),
    ("doc", include_str!("notes/doc.md")),
    ("example", include_str!("notes/example.md")),
    ("param", include_str!("notes/param.md")),
    ("param/default", include_str!("notes/param-default.md")),
    ("use", include_str!("notes/use.md")),
    ("let", include_str!("notes/let.md")),
    ("when", include_str!("notes/when.md")),
    ("for", include_str!("notes/for.md")),
    ("fail", include_str!("notes/fail.md")),
];

/// The note on the node of that path.
pub(super) fn note(path: &str) -> Option<&'static str> {
    NOTES.iter().find(|(known, _)| *known == path).map(|(_, text)| *text)
}
