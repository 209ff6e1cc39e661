//! What goes into a registry cache, and who decides: certain finds, likely ones, possible ones, and those that are not to
//! be had.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::support::kic::{kic, shown, stdout};
use crate::support::upstream::Upstream;

/// A registry with the images `shop/server:v1` and `shop/reloader:v1`.
fn upstream(folder: &Path) -> Upstream {
    for name in ["server", "reloader"] {
        let spec = format!(
            "cluster \"{name}\" {{\nbase scratch\nfiles \"x\" {{ text \"/{name}\" \"{name}\"; }}\n}}\n"
        );
        fs::write(folder.join(format!("{name}.kdl")), spec).unwrap();
        stdout(kic(folder, &folder.join("store")).args(["compile", "-q", &format!("{name}.kdl")]));
    }
    let (server, reloader) = (folder.join("server.oci"), folder.join("reloader.oci"));
    Upstream::serve(&[("shop/server", "v1", &server), ("shop/reloader", "v1", &reloader)], |_, reply| reply)
}

/// Compiles a spec with a Deployment that names a certain, a likely and a possible image; `inside` its registry.
fn compile(folder: &Path, host: &str, tag: &str, inside: &str, more: &[&str]) -> Output {
    let manifest = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: shop}}\nspec:\n  template:\n    spec:\n      containers:\n      - name: \
         shop\n        image: {host}/shop/server:v1\n        args: [\"--reloader={host}/shop/reloader:{tag}\"]\n---\napiVersion: \
         example.com/v1\nkind: Site\nmetadata: {{name: shop}}\nspec: {{heroImage: hero}}\n"
    );
    fs::write(folder.join("shop.yaml"), manifest).unwrap();
    let spec = format!(
        "cluster \"shop\" {{\nbase scratch\nmanifests \"shop\" {{ file \"shop.yaml\"; }}\nregistry \"sea.hub:5000\" {{\n{inside}\n}}\n}}\n"
    );
    fs::write(folder.join("cluster.kdl"), spec).unwrap();
    let mut command = kic(folder, &folder.join("store"));
    command.args(["compile", "--format", "json", "-o", "out.oci"]).args(more).output().unwrap()
}

/// The codes on standard error, and those of a compile's warnings.
fn codes(output: &Output) -> Vec<String> {
    if output.stderr.is_empty() {
        return Vec::new();
    }
    let said: Value = serde_json::from_slice(&output.stderr).unwrap_or_else(|_| panic!("{}", shown(output)));
    said.as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap().to_owned()).collect()
}

/// The images in the cache of what was compiled.
fn cached(folder: &Path) -> Vec<String> {
    let printed = stdout(kic(folder, &folder.join("store")).args(["inspect", "--format", "json", "out.oci"]));
    let image: Value = serde_json::from_str(&printed).unwrap();
    let images = image["platforms"][0]["plan"]["images"].as_array().unwrap();
    images.iter().map(|image| image["reference"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn likely_images_are_cached_with_a_note_and_possible_ones_wait_for_a_decision() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    let upstream = upstream(folder);
    let host = upstream.host();
    let both = [format!("{host}/shop/reloader:v1"), format!("{host}/shop/server:v1")];

    let output = compile(folder, &host, "v1", "discover", &[]);
    assert_eq!(codes(&output), ["image-undecided", "image-likely"], "{}", shown(&output));
    assert_eq!(cached(folder), both);
    let digest = |output: &Output| {
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["digest"].as_str().unwrap().to_owned()
    };
    let first = digest(&output);

    // What the author has decided on is not spoken of again; the image is the same.
    let decided = format!("discover\nexclude \"hero\"\nimage \"{host}/shop/reloader:v1\"");
    let output = compile(folder, &host, "v1", &decided, &[]);
    assert_eq!((codes(&output), digest(&output)), (Vec::new(), first), "{}", shown(&output));

    let without = format!("discover\nexclude \"hero\" \"{host}/shop/reloader:v1\"");
    let output = compile(folder, &host, "v1", &without, &[]);
    assert!(codes(&output).is_empty(), "{}", shown(&output));
    assert_eq!(cached(folder), both[1..]);
}

#[test]
fn a_likely_image_that_no_registry_has_is_for_the_author_to_decide_on() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    let upstream = upstream(folder);
    let host = upstream.host();
    let output = compile(folder, &host, "v2", "discover\nexclude \"hero\"", &[]);
    assert_eq!(codes(&output), ["image-not-found"], "{}", shown(&output));
    let said: Value = serde_json::from_slice(&output.stderr).unwrap();
    let note = said[0]["notes"][0].as_str().unwrap();
    assert!(note.contains("most likely needed") && note.contains("exclude"), "{note}");

    let missing = format!("{host}/shop/reloader:v2");
    let output = compile(folder, &host, "v2", "discover\nexclude \"hero\"", &["--allow-missing", &missing]);
    assert_eq!(codes(&output), ["image-undecided"], "{}", shown(&output));
    assert_eq!(cached(folder), [format!("{host}/shop/server:v1")]);
}

#[test]
fn a_certain_image_that_no_registry_has_may_be_missing_on_purpose() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    let upstream = upstream(folder);
    let host = upstream.host();
    let inside = format!("discover\nexclude \"hero\" \"{host}/shop/reloader:v1\"");
    fs::write(folder.join("more.yaml"), "").unwrap();
    let run = |more: &[&str]| {
        let mut command = kic(folder, &folder.join("store"));
        let spec = format!(
            "cluster \"shop\" {{\nbase scratch\nregistry \"sea.hub:5000\" {{\n{inside}\n}}\nlaunch {{ run \"docker pull {host}/shop/gone:v1\"; }}\n}}\n"
        );
        fs::write(folder.join("cluster.kdl"), spec).unwrap();
        command.args(["compile", "--format", "json", "-o", "out.oci"]).args(more).output().unwrap()
    };
    let output = run(&[]);
    assert_eq!((codes(&output), output.status.code()), (vec!["image-not-found".to_owned()], Some(1)));
    let gone = format!("{host}/shop/gone:v1");
    let output = run(&["--allow-missing", &gone]);
    assert_eq!(codes(&output), ["missing-image-allowed"], "{}", shown(&output));
    assert!(cached(folder).is_empty());

    // A registry that does not answer is another matter.
    drop(upstream);
    let output = run(&["--allow-missing", &gone]);
    assert_eq!((codes(&output), output.status.code()), (vec!["registry-unreachable".to_owned()], Some(2)));
}
