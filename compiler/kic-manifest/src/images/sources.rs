use super::candidate::Candidate;
use super::group::version_text;
use super::locate::locate;
use super::walk::{Find, Walk};
use super::words::{Hint, key_hint, words};
use super::{Confidence, Parts, encoded, gaps, settings as setting};
use crate::Yaml;

/// Objects whose images follow from what their kind means; whether nothing else is to be looked at.
pub(crate) fn object(walk: &mut Walk, root: &Yaml, api_version: &str, kind: &str) -> bool {
    match kind {
        "OCIRepository" if api_version.starts_with("source.toolkit.fluxcd.io/") => {
            walk.entry("spec", |walk| oci_repository(walk, root));
            true
        }
        "ImageStream" => {
            image_stream(walk, root);
            true
        }
        "Secret" if api_version == "v1" => {
            walk.secret = true;
            encoded::secret(walk, root);
            false
        }
        "ConfigMap" if api_version == "v1" => {
            encoded::binary_data(walk, root);
            false
        }
        "ClusterConfiguration" if api_version.starts_with("kubeadm.k8s.io/") => {
            cluster_configuration(walk, root);
            true
        }
        _ => false,
    }
}

/// A string that is an OCI artifact: `oci://HOST/PATH[:TAG]`. Charts and bundles come from registries too,
/// but no node runs them. Whether it is one.
pub(crate) fn artifact(walk: &mut Walk, node: &Yaml, text: &str) -> bool {
    let rest = ["oci://", "registry://"].iter().find_map(|transport| text.strip_prefix(transport));
    let Some(rest) = rest else { return false };
    let Some(candidate) = Candidate::read(rest).filter(Candidate::is_path) else { return true };
    if !candidate.has_version() {
        // The address of a repository of charts, or the chart's version stands elsewhere.
        return true;
    }
    let reason = "an OCI artifact such as a chart, not a container's image".to_owned();
    walk.record(Find {
        candidate,
        node,
        part: text.len() - rest.len()..text.len(),
        confidence: Confidence::Possible,
        reason,
    });
    true
}

/// Flux pulls an artifact by itself: not an image that a node runs, but asked for all the same.
fn oci_repository(walk: &mut Walk, root: &Yaml) {
    let Some(node) = root.at(&["spec", "url"]) else { return };
    let Some(text) = node.as_str() else { return };
    let Some(name) = text.strip_prefix("oci://") else { return };
    let part = |key: &str| root.at(&["spec", "ref", key]).and_then(version_text);
    let written = match (part("digest"), part("tag")) {
        (Some(digest), _) => format!("{name}@{digest}"),
        (None, Some(tag)) => format!("{name}:{tag}"),
        (None, None) => name.to_owned(),
    };
    let Some(candidate) = Candidate::read(&written) else { return };
    let span = locate(node, text, text.len() - name.len()..text.len());
    let reason = if part("semver").is_some() {
        "an artifact that Flux pulls, in a version that it chooses".to_owned()
    } else {
        "an artifact that Flux pulls, not a container's image".to_owned()
    };
    walk.entry("url", |walk| {
        walk.push(candidate, written, span, Parts::repository(), Confidence::Possible, reason)
    });
}

/// OpenShift's image streams import images: `from: {kind: DockerImage, name: REF}`.
fn image_stream(walk: &mut Walk, root: &Yaml) {
    for (place, tag) in root.at(&["spec", "tags"]).map(Yaml::items).unwrap_or_default().iter().enumerate() {
        let from = |key: &str| tag.at(&["from", key]);
        if from("kind").and_then(Yaml::as_str) != Some("DockerImage") {
            continue;
        }
        let Some(node) = from("name") else { continue };
        let Some(text) = node.as_str() else { continue };
        let Some(candidate) = Candidate::read(text) else { continue };
        walk.entry("spec", |walk| {
            walk.entry("tags", |walk| {
                walk.item(place, |walk| {
                    walk.entry("from", |walk| {
                        walk.entry("name", |walk| {
                            walk.record(Find::whole(
                                candidate,
                                node,
                                Confidence::Certain,
                                "an image that an image stream imports",
                            ));
                        });
                    });
                });
            });
        });
    }
}

/// The images in the annotations of alerts: who is woken by an alert may run them, as operators do that scale.
pub(crate) fn alerts(walk: &mut Walk, root: &Yaml) {
    let groups = root.at(&["spec", "groups"]).map(Yaml::items).unwrap_or_default();
    walk.entry("spec", |walk| {
        walk.entry("groups", |walk| {
            walk.at_most(Confidence::Possible, "in an alert, for whoever acts on it");
            for (place, group) in groups.iter().enumerate() {
                let rules = group.get("rules").map(Yaml::items).unwrap_or_default();
                walk.item(place, |walk| {
                    walk.entry("rules", |walk| {
                        for (place, rule) in rules.iter().enumerate() {
                            walk.item(place, |walk| alert(walk, rule));
                        }
                    });
                });
            }
        });
    });
}

/// One alert: the rest of its annotations is text for people.
fn alert(walk: &mut Walk, rule: &Yaml) {
    walk.entry("annotations", |walk| {
        for (key, value) in rule.get("annotations").map(Yaml::entries).unwrap_or_default() {
            let (key, Some(text)) = (key.key(), value.as_str()) else { continue };
            let words = words(&key);
            if key_hint(&words) == Hint::Image {
                walk.entry(&key, |walk| {
                    setting::value(walk, value, text, &format!("the annotation `{key}`"), &words);
                });
            }
        }
    });
}

/// kubeadm's images of etcd and CoreDNS, where the configuration gives their tags: `imageRepository` is the
/// folder that they lie in. Cluster API keeps the same configuration inside its own kinds.
pub(crate) fn cluster_configuration(walk: &mut Walk, node: &Yaml) {
    let common = node.get("imageRepository").and_then(Yaml::as_str).unwrap_or("registry.k8s.io");
    for (path, name) in [(&["etcd", "local"][..], "etcd"), (&["dns"], "coredns")] {
        let Some(part) = node.at(path) else { continue };
        let Some(tag_node) = part.get("imageTag") else { continue };
        let Some(tag) = version_text(tag_node) else { continue };
        let own = part.get("imageRepository").and_then(Yaml::as_str);
        let repository = match (own, name) {
            (Some(own), _) => own.to_owned(),
            (None, "coredns") if common == "registry.k8s.io" => format!("{common}/coredns"),
            (None, _) => common.to_owned(),
        };
        let written = format!("{repository}/{name}:{tag}");
        let Some(candidate) = Candidate::read(&written) else { continue };
        let length = walk.path.len();
        if length > 0 {
            walk.path.push('.');
        }
        walk.path.push_str(&path.join("."));
        let reason = format!("what kubeadm runs as {name}");
        walk.push(candidate, written, tag_node.span.clone(), Parts::Derived, Confidence::Likely, reason);
        walk.path.truncate(length);
    }
    for (key, value) in node.entries() {
        let key = key.key();
        if !matches!(&*key, "etcd" | "dns" | "apiVersion" | "kind") {
            walk.field(&key, value);
        }
    }
}

/// An OCI image mounted as a volume: `image: {reference: …}`.
pub(crate) fn image_volume(walk: &mut Walk, volume: &Yaml) -> bool {
    let Some(node) = volume.at(&["image", "reference"]) else { return false };
    let Some(text) = node.as_str() else { return false };
    let Some(candidate) = Candidate::of_container(text) else {
        walk.entry("image", |walk| walk.entry("reference", |walk| gaps::unreadable(walk, node, text)));
        return true;
    };
    walk.entry("image", |walk| {
        walk.entry("reference", |walk| {
            walk.record(Find::whole(
                candidate,
                node,
                Confidence::Certain,
                "the image of a volume in a pod spec",
            ));
        });
    });
    true
}
