//! The registry tree of an image, as a registry would read it, and whether it holds together.

use std::collections::{BTreeMap, BTreeSet};

use kic_base::Digest;
use kic_graph::REGISTRY_ROOT;
use kic_oci::model::{Descriptor, Document, Index, Manifest};
use serde_json::Value as Json;

use super::contents::{Contents, File};
use super::findings::Findings;
use super::listed;

/// The files of an image that matter, the layers on top of each other.
#[derive(Debug, Default)]
pub(super) struct Overlay<'a> {
    pub files: BTreeMap<&'a str, &'a File>,
}

impl<'a> Overlay<'a> {
    pub fn of(layers: impl IntoIterator<Item = &'a Contents>) -> Self {
        let mut files: BTreeMap<&str, &File> = BTreeMap::new();
        for layer in layers {
            for removed in &layer.removed {
                let below = if removed.ends_with('/') { removed.clone() } else { format!("{removed}/") };
                files.retain(|path, _| *path != removed && !path.starts_with(&below));
            }
            files.extend(layer.files.iter().map(|(path, file)| (path.as_str(), file)));
        }
        Self { files }
    }

    fn link(&self, path: &str) -> Option<&str> {
        match self.files.get(format!("{REGISTRY_ROOT}/{path}").as_str()) {
            Some(File::Link(text)) => Some(text),
            _ => None,
        }
    }

    fn blob(&self, digest: &Digest) -> Option<&super::contents::Blob> {
        let hex = digest.hex();
        match self.files.get(format!("{REGISTRY_ROOT}/blobs/sha256/{}/{hex}/data", &hex[..2]).as_str()) {
            Some(File::Blob(blob)) => Some(blob),
            _ => None,
        }
    }

    fn has_revision(&self, repository: &str, digest: &Digest) -> bool {
        self.link(&format!("repositories/{repository}/_manifests/revisions/sha256/{}/link", digest.hex()))
            .is_some()
    }
}

/// Checks every file of the tree: blobs give the digest that is their name, links lead to blobs, and a repository has every
/// blob that its manifests need.
pub(super) fn check_tree(overlay: &Overlay, findings: &mut Findings) {
    let mut missing: BTreeMap<Digest, Missing> = BTreeMap::new();
    let in_tree = overlay
        .files
        .iter()
        .filter_map(|(path, file)| Some((path.strip_prefix(REGISTRY_ROOT)?.strip_prefix('/')?, *file)));
    for (path, file) in in_tree {
        let parts: Vec<&str> = path.split('/').collect();
        match (parts.as_slice(), file) {
            (["blobs", "sha256", shard, hex, "data"], File::Blob(blob)) => {
                if blob.digest.hex() != **hex || !hex.starts_with(shard) {
                    findings.tree(format!("the cached blob `{path}` gives {}", blob.digest));
                }
            }
            (["repositories", name @ .., "_manifests", "tags", tag, "current", "link"], File::Link(text)) => {
                check_tag(overlay, &name.join("/"), tag, text, findings);
            }
            (
                ["repositories", name @ .., "_manifests", "revisions", "sha256", hex, "link"],
                File::Link(text),
            ) => check_revision(overlay, &name.join("/"), hex, text, &mut missing, findings),
            (["repositories", name @ .., "_layers", "sha256", hex, "link"], File::Link(text)) => {
                let name = name.join("/");
                match linked(text).filter(|digest| digest.hex() == **hex) {
                    None => findings.tree(format!("the link of {hex} in `{name}` says `{}`", text.trim())),
                    Some(digest) if overlay.blob(&digest).is_none() => {
                        missing.entry(digest).or_default().linked.insert(name);
                    }
                    Some(_) => {}
                }
            }
            // Other tools keep other links, such as those of the index of a tag.
            (["repositories", ..], File::Link(text)) if linked(text).is_some() => {}
            _ => findings.tree(format!("`{path}` is nothing that belongs into a registry")),
        }
    }
    for (digest, missing) in missing {
        missing.tell(&digest, findings);
    }
}

/// The repositories that want a blob which the cache does not hold. Each image has several names.
#[derive(Default)]
struct Missing {
    /// It is a manifest of theirs.
    revision: BTreeSet<String>,
    /// A manifest of theirs needs it.
    needed: BTreeSet<String>,
    /// They have a link to it.
    linked: BTreeSet<String>,
}

impl Missing {
    fn tell(self, digest: &Digest, findings: &mut Findings) {
        let names = |names: BTreeSet<String>| listed(&names.into_iter().collect::<Vec<_>>());
        if !self.needed.is_empty() {
            findings.closure(format!(
                "the cache does not hold {digest}, which manifests of {} need",
                names(self.needed)
            ));
        } else if !self.revision.is_empty() {
            findings.tree(format!("the manifest {digest} of {} is not in the cache", names(self.revision)));
        } else {
            findings.tree(format!(
                "the cache does not hold {digest}, which links of {} lead to",
                names(self.linked)
            ));
        }
    }
}

fn check_tag(overlay: &Overlay, name: &str, tag: &str, text: &str, findings: &mut Findings) {
    match linked(text) {
        None => findings.tree(format!("the tag `{name}:{tag}` says `{}`, which is no digest", text.trim())),
        Some(digest) if !overlay.has_revision(name, &digest) => {
            findings.tree(format!("the tag `{name}:{tag}` leads to {digest}, which `{name}` does not have"));
        }
        Some(_) => {}
    }
}

fn check_revision(
    overlay: &Overlay,
    name: &str,
    hex: &str,
    text: &str,
    missing: &mut BTreeMap<Digest, Missing>,
    findings: &mut Findings,
) {
    let Some(digest) = linked(text).filter(|digest| digest.hex() == *hex) else {
        return findings.tree(format!("the link of the manifest {hex} in `{name}` says `{}`", text.trim()));
    };
    match overlay.blob(&digest) {
        None => {
            missing.entry(digest).or_default().revision.insert(name.to_owned());
        }
        Some(blob) => match &blob.document {
            None => {
                findings.tree(format!("{digest}, a manifest of `{name}`, is neither a manifest nor an index"))
            }
            Some(Document::Index(_)) => {}
            Some(Document::Manifest(manifest)) => {
                check_manifest(overlay, (name, &digest), manifest, missing, findings);
            }
        },
    }
}

fn check_manifest(
    overlay: &Overlay,
    (name, digest): (&str, &Digest),
    manifest: &Manifest,
    missing: &mut BTreeMap<Digest, Missing>,
    findings: &mut Findings,
) {
    for part in std::iter::once(&manifest.config).chain(&manifest.layers) {
        let Descriptor { digest: wanted, size, .. } = part;
        match overlay.blob(wanted) {
            None => {
                missing.entry(*wanted).or_default().needed.insert(name.to_owned());
            }
            Some(blob) if blob.size != *size => findings.tree(format!(
                "{digest} of `{name}` says that {wanted} has {size} bytes, and it has {}",
                blob.size
            )),
            Some(_) => {}
        }
        if overlay.link(&format!("repositories/{name}/_layers/sha256/{}/link", wanted.hex())).is_none() {
            findings.closure(format!("{digest} of `{name}` needs {wanted}, and `{name}` has no link to it"));
        }
    }
}

/// Checks that every image of the plan is there, under each of its names, for each of its platforms.
pub(super) fn check_closure(overlay: &Overlay, plan: &Json, findings: &mut Findings) -> usize {
    let images = plan.get("images").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    for image in images {
        let text = |key: &str| image.get(key).and_then(Json::as_str);
        let list = |key: &str| -> Vec<&str> {
            image.get(key).and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect()
        };
        let reference = text("reference").unwrap_or_default();
        let Some(digest) = text("digest").and_then(|digest| digest.parse::<Digest>().ok()) else {
            findings.plan(format!("the plan lists `{reference}` without a digest"));
            continue;
        };
        let names = list("names");
        if names.is_empty() {
            findings.plan(format!("the plan lists `{reference}` without a name to ask for it by"));
        }
        if list("platforms").is_empty() {
            findings.plan(format!("the plan lists `{reference}` without a platform"));
        }
        let mut repositories = BTreeSet::new();
        let mut wrong: BTreeMap<Option<Digest>, Vec<&str>> = BTreeMap::new();
        for name in names {
            let (repository, found) = match (name.rsplit_once('@'), name.rsplit_once(':')) {
                (Some((repository, revision)), _) => {
                    let revision = revision.parse::<Digest>().ok();
                    (repository, revision.filter(|revision| overlay.has_revision(repository, revision)))
                }
                (None, Some((repository, tag))) => {
                    let path = format!("repositories/{repository}/_manifests/tags/{tag}/current/link");
                    (repository, overlay.link(&path).and_then(linked))
                }
                (None, None) => (name, None),
            };
            if found == Some(digest) {
                repositories.insert(repository);
            } else {
                wrong.entry(found).or_default().push(name);
            }
        }
        for (found, names) in wrong {
            let names = if let [one] = *names {
                format!("name `{one}`")
            } else {
                format!("names {}", listed(&names))
            };
            findings.closure(match found {
                None => format!("`{reference}` is not in the cache under its {names}"),
                Some(found) => format!("`{reference}` is {digest}, and under its {names} there is {found}"),
            });
        }
        for repository in repositories {
            if !overlay.has_revision(repository, &digest) {
                findings.closure(format!("`{reference}` cannot be asked for as `{repository}@{digest}`"));
            }
            if let Some(Document::Index(index)) =
                overlay.blob(&digest).and_then(|blob| blob.document.as_ref())
            {
                check_platforms(overlay, (reference, repository), index, &list("platforms"), findings);
            }
        }
    }
    images.len()
}

fn check_platforms(
    overlay: &Overlay,
    (reference, repository): (&str, &str),
    index: &Index,
    platforms: &[&str],
    findings: &mut Findings,
) {
    for platform in platforms {
        // Another variant of the processor may stand in for the one that was asked for.
        let processor = |platform: &str| platform.split('/').take(2).collect::<Vec<_>>().join("/");
        let is_there = index.manifests.iter().any(|child| {
            let own = child.platform.as_ref().map(|platform| platform.platform().to_string());
            own.is_some_and(|own| processor(&own) == processor(platform))
                && overlay.has_revision(repository, &child.digest)
        });
        if !is_there {
            findings.closure(format!("`{reference}` is not in the cache for {platform}, as `{repository}`"));
        }
    }
}

/// The digest that a link says.
fn linked(text: &str) -> Option<Digest> {
    text.trim().parse().ok()
}
