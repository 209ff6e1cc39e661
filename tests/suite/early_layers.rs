//! Layers that are known before all else is, and what lowering makes of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kic_base::{Digest, Source};
use kic_graph::{
    ContentFacts, EarlyLimits, EntryFacts, FileFacts, Inputs, PathFacts, PathKey, early_layers, lower,
};
use kic_spec::Spec;

use crate::language::inputs;

fn facts(size: u64) -> FileFacts {
    FileFacts {
        content: ContentFacts { digest: Digest::of(&size.to_le_bytes()), size },
        executable: size.is_multiple_of(2),
    }
}

fn folder(sizes: &[u64]) -> PathFacts {
    let entry = |size: &u64| (format!("{size:09}.yaml"), EntryFacts::File(facts(*size)));
    PathFacts::Folder(Arc::new(sizes.iter().map(entry).collect()))
}

fn resolved(text: &str) -> Spec {
    let (file, _) = kic_syntax::parse(&Source::new("cluster.kdl", text));
    let world = BTreeMap::<PathBuf, String>::new();
    kic_spec::resolve(&file, Path::new("cluster.kdl"), &world).unwrap().0
}

const SPEC: &str = r#"cluster "c" {
    base scratch
    files "few" { copy "few" to="/etc"; text "/etc/motd" "hello"; }
    files "many" { copy "many" to="/opt"; }
    files "large" { copy "large" to="/srv"; }
    files "fetched" { fetch "https://example.com/a" to="/opt/a" sha256="@"; }
    files "missing" { copy "missing" to="/opt"; }
    files "wrong" { copy "few" to="/a"; copy "one" to="/a/000000001.yaml/b"; }
    manifests "app" { file "few"; object "v1/ConfigMap" name="a"; }
    manifests "named" rewrite="sea.hub:5000" { file "few"; }
    policies "policies" { file "one.yaml"; }
    readiness "ready" { exists "deployment/a"; }
    registry "sea.hub:5000" { image "nginx:1"; }
}
"#;

/// The spec, and what its paths hold.
fn ground() -> (Spec, Inputs) {
    let spec = resolved(&SPEC.replace('@', &"0".repeat(64)));
    let mut inputs = inputs(&spec);
    let copied = |path: &str| PathKey::copied(path.into(), &[]);
    inputs.paths = BTreeMap::from([
        (copied("few"), folder(&[1, 2, 3])),
        (copied("many"), folder(&(0..30).collect::<Vec<_>>())),
        (copied("large"), folder(&[1 << 20])),
        (copied("one"), PathFacts::File(facts(1))),
        (PathKey::manifests("few".into()), folder(&[1, 2, 3])),
        (PathKey::manifests("one.yaml".into()), PathFacts::File(facts(1))),
    ]);
    (spec, inputs)
}

#[test]
fn only_small_layers_that_local_files_say_all_of_are_known_early() {
    let (spec, inputs) = ground();
    let known = |layers, files, bytes| -> Vec<String> {
        let layers = early_layers(&spec, &inputs, EarlyLimits { layers, files, bytes });
        let named = |(index, node): &(usize, kic_graph::Node)| {
            assert_eq!(spec.layers[*index].name.value, node.name);
            node.name.clone()
        };
        layers.iter().map(named).collect()
    };
    const ANY: usize = usize::MAX;
    assert_eq!(known(ANY, ANY, u64::MAX), ["few", "many", "large", "app", "policies"]);
    assert_eq!(known(ANY, 20, 1 << 19), ["few", "app", "policies"]);
    assert_eq!(known(ANY, 6, 1 << 19), ["few", "app"], "all together");
    assert_eq!(known(2, 20, 1 << 19), ["few", "app"]);
    assert_eq!(known(ANY, 20, 5), ["policies"]);
}

#[test]
fn lowering_makes_the_same_of_what_is_known_early() {
    let (_, inputs) = ground();
    let text = SPEC.lines().filter(|line| {
        !["fetched", "missing", "wrong", "named", "registry"].iter().any(|word| line.contains(word))
    });
    let spec = resolved(&text.collect::<Vec<_>>().join("\n"));
    let (plain, _) = lower(&spec, &inputs).unwrap();
    let early = early_layers(&spec, &inputs, EarlyLimits { layers: 9, files: 20, bytes: 1 << 19 });
    assert_eq!(early.len(), 3);
    let mut inputs = inputs;
    inputs.early = early.into_iter().map(|(index, node)| (index, (node.derivation, node.digest))).collect();
    let (with_early, _) = lower(&spec, &inputs).unwrap();
    assert_eq!(format!("{with_early:?}"), format!("{plain:?}"));
}
