//! What a file is that was given for a spec and is none: a manifest, a Kubefile, an image.
//!
//! Looked at only once it is clear that a file holds no spec, so that one that does pays nothing.

use std::ops::Range;
use std::path::Path;

use kic_base::Source;
use kic_diag::{Diagnostic, declared as code};
use kic_manifest::YamlValue;
use kic_spec::World;
use kic_syntax::{File, Node};

/// The files that a folder may hold a build under, in place of a `cluster.kdl`.
const BUILD_FILES: [&str; 3] = ["Kubefile", "Dockerfile", "Containerfile"];

/// What a tar file is that holds an image.
const IMAGE: &str = "the archive of an image";

/// So long are the blocks of a tar file.
const TAR_BLOCK: usize = 512;

/// What a text is and what to do with it, where it holds neither a spec nor a module and is something else that kic knows.
pub fn other_than_spec(source: &Source) -> Option<Diagnostic> {
    other_than(&kic_syntax::parse(source).0)
}

/// The same of a text that was parsed, whatever was wrong with it.
pub(crate) fn other_than(file: &File) -> Option<Diagnostic> {
    let is_known = |node: &Node| ["cluster", "module"].contains(&node.name.value.as_str());
    if file.nodes.iter().any(is_known) {
        return None;
    }
    not_a_spec(file.source.name(), file.source.text().as_bytes())
}

/// What the bytes are, and what to do with them, where they are something else that kic knows.
pub(crate) fn not_a_spec(name: &str, bytes: &[u8]) -> Option<Diagnostic> {
    if let Some(what) = binary(bytes) {
        let help = match what {
            IMAGE => format!("`kic inspect {name}` tells what is in it"),
            _ => format!("where it holds an image, `kic inspect {name}` tells what is in that"),
        };
        return Some(told(name, what).help(help));
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let source = Source::new(name, text);
    let (what, range, help) = if let Some(range) = manifest(text) {
        let help = format!(
            "begin a spec with it by `kic init --manifest {name}`, or name it in one: `manifests \"NAME\" {{ file \"{name}\"; }}`"
        );
        ("a manifest of Kubernetes objects", range, help)
    } else if let Some(range) = kubefile(text) {
        let help = format!("turn it into a spec with `kic init --from {name}`");
        ("a Kubefile or Dockerfile", range, help)
    } else {
        let (what, range) = data(&source)?;
        let help = "a spec is KDL: `kic init` begins one, and `kic explain cluster` tells what stands in it";
        (what, range, help.to_owned())
    };
    Some(told(name, what).at(&source.span(range), "this tells it").help(help))
}

/// What else is in the folder of a spec that is not there.
pub(crate) fn instead_of(spec: &Path, world: &dyn World) -> Option<Diagnostic> {
    let folder = spec.parent()?;
    // The name that was given may be that of the folder, in which `cluster.kdl` is looked for.
    let shown = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if world.read(&folder.join("oci-layout")).is_ok() {
        let name = shown.display().to_string();
        return Some(
            told(&name, "the OCI layout of an image")
                .help(format!("`kic inspect {name}` tells what is in it")),
        );
    }
    let found = BUILD_FILES.into_iter().find(|name| world.read(&folder.join(name)).is_ok())?;
    let missing = Diagnostic::new(&code::FILE_NOT_FOUND, format!("`{}` does not exist", spec.display()));
    let found = folder.join(found);
    Some(missing.help(format!("turn `{0}` into a spec with `kic init --from {0}`", found.display())))
}

fn told(name: &str, what: &str) -> Diagnostic {
    Diagnostic::new(&code::NOT_A_SPEC, format!("`{name}` is {what}, and no spec"))
}

/// What a file is that is no text.
fn binary(bytes: &[u8]) -> Option<&'static str> {
    let is_header = |block: &&[u8]| block.get(257..262) == Some(&b"ustar"[..]);
    let mut headers = bytes.chunks_exact(TAR_BLOCK).filter(is_header);
    if bytes.get(..TAR_BLOCK).as_ref().is_some_and(is_header) {
        let is_of_an_image =
            headers.any(|block| block.starts_with(b"oci-layout\0") || block.starts_with(b"manifest.json\0"));
        return Some(if is_of_an_image { IMAGE } else { "a tar file" });
    }
    let begins = |magic: &[u8]| bytes.starts_with(magic);
    (begins(&[0x1f, 0x8b]) || begins(&[0x28, 0xb5, 0x2f, 0xfd])).then_some("a compressed file")
}

/// The lines of a text, each with where it is.
fn lines(text: &str) -> impl Iterator<Item = (Range<usize>, &str)> {
    let mut end = 0;
    text.split_inclusive('\n').map(move |whole| {
        let line = whole.trim_end();
        let start = end;
        end += whole.len();
        (start..start + line.len(), line)
    })
}

/// Where a Kubernetes object says what it is. Read by lines: a manifest with an error, or one of a template, is one as well.
fn manifest(text: &str) -> Option<Range<usize>> {
    let is_json = is_json(text);
    let has = |key: &str| {
        let quoted = format!("\"{key}\"");
        lines(text).find(|(_, line)| {
            if is_json {
                return line.contains(&quoted);
            }
            // That of an object, and not of something in one.
            let rest = line.strip_prefix(key).or_else(|| line.strip_prefix(&quoted));
            rest.is_some_and(|rest| rest.trim_start().starts_with(':'))
        })
    };
    has("apiVersion")?;
    has("kind").map(|(range, _)| range)
}

/// Where a Kubefile or Dockerfile says what it builds on: with `FROM` as its first instruction, before which only `ARG` may stand.
fn kubefile(text: &str) -> Option<Range<usize>> {
    for (range, line) in lines(text) {
        let mut words = line.split_whitespace();
        match (words.next().map(str::to_ascii_uppercase).as_deref(), words.next()) {
            (None, _) => {}
            (Some(comment), _) if comment.starts_with('#') => {}
            (Some("ARG"), Some(_)) => {}
            (Some("FROM"), Some(_)) => return Some(range),
            _ => return None,
        }
    }
    None
}

/// Where a text begins that is data in another language, and which one that is.
fn data(source: &Source) -> Option<(&'static str, Range<usize>)> {
    let text = source.text();
    let begin = text.find(|c: char| !c.is_whitespace())?;
    let line = begin..text[begin..].find('\n').map_or(text.len(), |length| begin + length);
    if is_json(text) {
        return Some(("JSON", line));
    }
    // Half of a text may look like anything: all of it is to be read.
    let (documents, errors) = kic_manifest::documents(source);
    let is_map = |document: &kic_manifest::Yaml| matches!(document.value, YamlValue::Mapping(_));
    (errors.is_empty() && documents.first().is_some_and(is_map)).then_some(("YAML", line))
}

/// Whether a text begins as JSON does, and as no KDL, whatever is wrong with it. Templates of YAML begin with two braces.
fn is_json(text: &str) -> bool {
    let text = text.trim_start();
    text.starts_with(['{', '[']) && !text.starts_with("{{")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message_of(bytes: &[u8]) -> Option<String> {
        not_a_spec("x", bytes).map(|told| told.message)
    }

    #[test]
    fn what_a_file_is_stands_in_it() {
        let is = |text: &str, what: &str| {
            assert_eq!(message_of(text.as_bytes()), Some(format!("`x` is {what}, and no spec")), "{text}");
        };
        let manifest = "a manifest of Kubernetes objects";
        is("# web\napiVersion: v1\nkind: Pod\n", manifest);
        is("---\nkind: Pod\napiVersion: v1\nspec: {{ .Values.spec }}\n", manifest);
        is("{\"apiVersion\": \"v1\", \"kind\": \"List\"}", manifest);
        is("{\n  \"apiVersion\": \"v1\",\n  \"kind\": \"Pod\",\n", manifest);
        is("{{ if .Values.web }}\napiVersion: v1\nkind: Pod\n{{ end }}\n", manifest);
        is("FROM a\n", "a Kubefile or Dockerfile");
        is("# syntax=docker/dockerfile:1\n\narg A=1\nfrom a:$A\nRUN x\n", "a Kubefile or Dockerfile");
        is("replicas: 1\nimage:\n  tag: v1\n", "YAML");
        is("{ \"cluster\": 1 }", "JSON");
        is("[1]", "JSON");
    }

    #[test]
    fn what_may_be_a_spec_with_an_error_is_nothing_else() {
        for text in [
            "",
            "\n",
            "files \"a\" { text \"/a\" \"b\"; }\n",
            "clutser \"demo\" {\n    base scratch\n}\n",
            "cluster demo: {\n    base scratch\n",
            "ARG a\n",
            "kind \"Pod\"\napiVersion \"v1\"\n",
        ] {
            assert_eq!(message_of(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn archives_are_known_by_their_first_bytes() {
        let mut header = vec![0; TAR_BLOCK];
        header[..6].copy_from_slice(b"a.yaml");
        header[257..262].copy_from_slice(b"ustar");
        assert_eq!(message_of(&header).as_deref(), Some("`x` is a tar file, and no spec"));
        let mut layout = header.clone();
        layout[..11].copy_from_slice(b"oci-layout\0");
        let both = [header, layout].concat();
        assert_eq!(message_of(&both).as_deref(), Some("`x` is the archive of an image, and no spec"));
        assert_eq!(message_of(&[0x1f, 0x8b, 8]).as_deref(), Some("`x` is a compressed file, and no spec"));
        assert_eq!(message_of(&[0xff, 0xfe]), None);
    }
}
