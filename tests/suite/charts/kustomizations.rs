//! Kustomizations, and all that they build on.

use super::Place;
use crate::support::peers::peer;

#[test]
fn kustomizations_are_built_with_all_that_they_build_on() {
    let Some(kustomize) = peer("kustomize") else { return };
    let mut place = Place::new(&[&kustomize]);
    place.write("base/kustomization.yaml", "resources: [shop.yaml]\n");
    place.write(
        "base/shop.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop}\ndata: {color: red}\n",
    );
    place.write("parts/extra/kustomization.yaml", "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nconfigMapGenerator:\n- {name: made, files: [text.txt], options: {disableNameSuffixHash: true}}\n");
    place.write("parts/extra/text.txt", "hello\n");
    place.write("overlays/production/kustomization.yaml", "resources: [../../base]\ncomponents: [../../parts/extra]\nnamePrefix: prod-\npatches:\n- path: patch.yaml\n");
    place.write(
        "overlays/production/patch.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop}\ndata: {color: blue}\n",
    );
    place.spec("kustomize \"overlays/production\"");
    let digest = place.digest(&[]);
    let (files, _) = place.manifests();
    let text = &files["production.yaml"];
    for line in ["name: prod-shop", "color: blue", "name: prod-made", "hello"] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert_eq!(place.digest(&["--check"]), digest);
    place.write(
        "base/shop.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop}\ndata: {color: red, more: green}\n",
    );
    assert_ne!(place.digest(&[]), digest, "the base counts");
    // kubectl has the same builder.
    place.stand_in(
        "kubectl",
        &format!(
            "[ \"$1\" = version ] && echo v1.30 && exit\n[ \"$1\" = kustomize ] && exec '{}' build \"$2\"",
            kustomize.display()
        ),
    );
    place.spec("kustomize \"overlays/production\" as=\"all.yaml\"");
    if peer_on_path("kustomize") {
        return;
    }
    place.digest(&[]);
    assert!(place.manifests().0["all.yaml"].contains("more: green"));
}

fn peer_on_path(name: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(name).is_file())
}
