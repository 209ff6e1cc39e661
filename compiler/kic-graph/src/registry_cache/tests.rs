use std::collections::BTreeMap;

use kic_base::{Digest, ImageReference, Source};
use kic_diag::Diagnostics;

use super::{Cached, SHARED_LAYERS, SMALL, lay_out, repositories};
use crate::inputs::{BlobFacts, ImageFacts, ManifestFacts, Origin};

fn blob(name: &str, size: u64) -> BlobFacts {
    BlobFacts { media_type: "application/x".into(), digest: Digest::of(name.as_bytes()), size }
}

/// An image whose layers have those sizes.
fn image(name: &str, layers: &[u64]) -> ImageFacts {
    let manifest = ManifestFacts {
        manifest: blob(&format!("{name} manifest"), 500),
        config: blob(&format!("{name} config"), 900),
        layers: layers
            .iter()
            .enumerate()
            .map(|(index, size)| blob(&format!("{name} {index}"), *size))
            .collect(),
    };
    ImageFacts {
        referrers: Vec::new(),
        root: blob(&format!("{name} index"), 400),
        manifests: BTreeMap::from([("linux/amd64".parse().unwrap(), manifest)]),
        origin: Origin::Registry(name.parse().unwrap()),
        name: None,
    }
}

fn cached<'a>(name: &str, facts: &'a ImageFacts, short_names: bool) -> Cached<'a> {
    Cached { reference: name.parse().unwrap(), facts, span: Source::new("x", name).span(0..1), short_names }
}

#[test]
fn an_image_answers_under_every_name_that_a_node_may_use() {
    let names = |text: &str, short| repositories(&text.parse::<ImageReference>().unwrap(), short);
    assert_eq!(
        names("nginx", true),
        ["library/nginx", "nginx", "docker.io/library/nginx", "docker.io/nginx"]
    );
    assert_eq!(names("bitnami/nginx", true), ["bitnami/nginx", "docker.io/bitnami/nginx"]);
    assert_eq!(names("ghcr.io/kyverno/kyverno:v1", true), ["kyverno/kyverno", "ghcr.io/kyverno/kyverno"]);
    assert_eq!(names("ghcr.io/kyverno/kyverno:v1", false), ["ghcr.io/kyverno/kyverno"]);
    // A host with a port cannot be part of a repository's name.
    assert_eq!(names("localhost:5000/a/b", true), ["a/b"]);
    assert_eq!(names("localhost:5000/a/b", false), ["a/b"]);
}

#[test]
fn every_tag_and_digest_has_its_link() {
    let facts = image("nginx", &[10]);
    let mut diagnostics = Diagnostics::new();
    let images = [cached("nginx:1", &facts, true)];
    let cache = lay_out(&images, &mut diagnostics);
    assert!(diagnostics.is_empty());
    let root = "registry/docker/registry/v2/repositories";
    let index = facts.root.digest;
    assert_eq!(cache.links[&format!("{root}/nginx/_manifests/tags/1/current/link")], index);
    let manifest = &facts.manifests.values().next().unwrap();
    for digest in [index, manifest.manifest.digest] {
        let path = format!("{root}/library/nginx/_manifests/revisions/sha256/{}/link", digest.hex());
        assert_eq!(cache.links[&path], digest);
    }
    for blob in [&manifest.config, &manifest.layers[0]] {
        let path = format!("{root}/docker.io/nginx/_layers/sha256/{}/link", blob.digest.hex());
        assert_eq!(cache.links[&path], blob.digest);
    }
    assert_eq!(cache.links.len(), 4 * 5);
    assert!(cache.names.contains("nginx:1") && cache.names.contains(&format!("nginx@{index}")));
    assert!(cache.upstream_names.contains("docker.io/library/nginx:1"));
}

#[test]
fn two_images_of_one_name_are_an_error_unless_they_are_the_same() {
    let (first, second) = (image("a", &[1]), image("b", &[1]));
    let codes = |images: &[Cached]| {
        let mut diagnostics = Diagnostics::new();
        lay_out(images, &mut diagnostics);
        diagnostics.iter().map(|one| one.code.name).collect::<Vec<_>>()
    };
    let both = |short| [cached("quay.io/x/y:1", &first, true), cached("ghcr.io/x/y:1", &second, short)];
    assert_eq!(codes(&both(true)), ["name-collision"]);
    assert_eq!(codes(&both(false)), Vec::<&str>::new());
    assert_eq!(
        codes(&[cached("quay.io/x/y:1", &first, true), cached("ghcr.io/x/y:1", &first, true)]),
        Vec::<&str>::new()
    );
    assert_eq!(
        codes(&[cached("quay.io/x/y:1", &first, true), cached("ghcr.io/x/y:2", &second, true)]),
        Vec::<&str>::new()
    );
}

#[test]
fn large_blobs_have_layers_of_their_own_until_there_are_too_many() {
    let sizes: Vec<u64> = (0..300).map(|index| SMALL + index * 1000).collect();
    let facts = image("big", &sizes);
    let images = [cached("big", &facts, true)];
    let cache = lay_out(&images, &mut Diagnostics::new());
    let split = cache.split(1000);
    assert_eq!((split.single.len(), split.shared.len()), (300, 0));
    assert_eq!(split.small.len(), 3, "index, manifest and configuration");

    let split = cache.split(100);
    assert!(split.single.len() + split.shared.len() <= 100);
    assert_eq!(split.single.len() + split.shared.values().map(Vec::len).sum::<usize>(), 300);
    assert_eq!(split.single.len(), 100 - SHARED_LAYERS);
    let smallest_single = split.single.iter().map(|blob| blob.facts.size).min();
    let largest_shared = split.shared.values().flatten().map(|blob| blob.facts.size).max();
    assert!(smallest_single > largest_shared, "the largest have a layer each");
}

#[test]
fn a_blob_of_two_images_is_there_once_and_can_be_had_from_both() {
    let (first, mut second) = (image("a", &[SMALL]), image("b", &[SMALL]));
    let shared = first.manifests.values().next().unwrap().layers.clone();
    second.manifests.values_mut().next().unwrap().layers.clone_from(&shared);
    let images = [cached("a", &first, true), cached("b", &second, true)];
    let cache = lay_out(&images, &mut Diagnostics::new());
    assert_eq!(cache.blobs[&shared[0].digest].origins, [first.origin.clone(), second.origin.clone()]);
    assert_eq!(cache.split(10).single.len(), 1);
}
