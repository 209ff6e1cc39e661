//! `kic compile --check` builds twice: it passes where both builds agree, and tells what differs where they do not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use kic_base::Digest;
use kic_graph::DERIVATION_ANNOTATION;
use kic_store::Store;
use tempfile::TempDir;

use crate::support::contents::{files, layer};
use crate::support::image_layout::root_digest;
use crate::support::kic::{kic, shown};
use crate::support::rich_spec::{self, Making};
use crate::support::upstream::Upstream;

/// A place with specs, a store, and outputs.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn store(&self) -> PathBuf {
        self.path("stores/one")
    }

    /// Writes a spec, and compiles it to `NAME.oci`.
    fn compile(&self, name: &str, spec: &str, arguments: &[&str]) -> Output {
        fs::create_dir_all(self.path("stores")).unwrap();
        fs::write(self.path(&format!("{name}.kdl")), spec).unwrap();
        let (spec, output) = (format!("{name}.kdl"), format!("{name}.oci"));
        let mut command = kic(self.folder.path(), &self.store());
        command.args(["compile", "--quiet", &spec, "-o", &output]).args(arguments);
        command.output().unwrap()
    }

    /// Makes the store say that the layer of `wrong` is what the derivation of the same layer of `right` gives.
    fn swap(&self, kind: &str, name: &str, right: &Path, wrong: &Path) {
        let store = Store::open(&self.store()).unwrap();
        let derivation = |layout: &Path| -> Digest {
            layer(layout, kind, name)["annotations"][DERIVATION_ANNOTATION].as_str().unwrap().parse().unwrap()
        };
        let output = store.output(&derivation(wrong)).unwrap().unwrap();
        store.record(&derivation(right), &output).unwrap();
    }

    /// No second store was left behind.
    fn assert_tidy(&self) {
        assert_eq!(fs::read_dir(self.path("stores")).unwrap().count(), 1, "something stays beside the store");
        assert_eq!(
            fs::read_dir(self.store().join("tmp")).unwrap().count(),
            0,
            "something stays in the store"
        );
    }
}

fn spec(motd: &str, data: &str, command: &str) -> String {
    format!(
        "cluster \"check\" {{
            base scratch
            files \"settings\" {{
                text \"/etc/motd\" \"{motd}\"
                text \"/etc/same\" \"same\"
            }}
            manifests \"shop\" {{
                object \"v1/ConfigMap\" name=\"greeting\" {{ data {{ text \"{data}\"; }}; }}
            }}
            readiness \"shop\" {{ command \"{command}\"; }}
        }}"
    )
}

#[test]
fn a_rich_spec_passes() {
    let place = Place::new();
    rich_spec::make(&place.path("spec"), Making::default());
    fs::create_dir_all(place.path("stores")).unwrap();
    let check = || {
        kic(&place.path("spec"), &place.store())
            .args(["compile", "--quiet", "--check", "cluster.kdl", "-o", "../out.oci"])
            .output()
            .unwrap()
    };
    let cold = check();
    assert!(cold.status.success(), "{}", shown(&cold));
    let warm = check();
    assert!(warm.status.success(), "{}", shown(&warm));
    assert_eq!(cold.stdout, warm.stdout);
    assert_eq!(String::from_utf8_lossy(&cold.stdout).trim(), root_digest(&place.path("out.oci")));
    place.assert_tidy();
}

#[test]
fn what_is_known_by_digest_is_not_downloaded_twice() {
    let place = Place::new();
    rich_spec::make(&place.path("spec"), Making::default());
    let image = place.path("spec/images/tool.oci");
    let upstream = Upstream::serve(&[("e/base", "v1", &image), ("e/tool", "v1", &image)], |_, reply| reply);
    let host = upstream.host();
    let spec = format!(
        "cluster \"c\" {{ base \"{host}/e/base:v1\"; registry \"r.local\" {{ image \"{host}/e/tool:v1\"; }}; }}"
    );
    let first = place.compile("first", &spec, &[]);
    assert!(first.status.success(), "{}", shown(&first));
    let before = upstream.asked();
    assert!(before.iter().any(|line| line.contains("/blobs/")), "{before:?}");
    let checked = place.compile("first", &spec, &["--check"]);
    assert!(checked.status.success(), "{}", shown(&checked));
    assert_eq!(upstream.asked(), before, "the second build asked the network for what the first has");
    place.assert_tidy();
}

#[test]
fn a_wrong_layer_is_found_and_named_with_the_entry_that_differs() {
    let cases = [
        ("files", "settings", "etc/motd", "etc/same"),
        ("manifests", "shop", "manifests/shop/configmap-greeting.yaml", "etc/"),
        ("readiness", "shop", "scripts/wait-shop.sh", "etc/"),
    ];
    for (kind, name, differs, same) in cases {
        let place = Place::new();
        let right = spec("right", "right", "true");
        let built = place.compile("right", &right, &[]);
        assert!(built.status.success(), "{}", shown(&built));
        let built = place.compile("wrong", &spec("wrong", "wrong", "false"), &[]);
        assert!(built.status.success(), "{}", shown(&built));
        place.swap(kind, name, &place.path("right.oci"), &place.path("wrong.oci"));
        let before = files(&place.path("right.oci"));
        let found = place.compile("right", &right, &["--check"]);
        let text = String::from_utf8_lossy(&found.stderr).into_owned();
        assert_eq!(found.status.code(), Some(3), "{kind}: {}", shown(&found));
        assert!(text.contains("not-reproducible"), "{kind}: {text}");
        assert!(text.contains(&format!("{kind} `{name}`")), "{kind}: the layer is not named: {text}");
        assert!(text.contains(differs), "{kind}: the entry is not named: {text}");
        assert!(!text.contains(same), "{kind}: an entry that is the same is named: {text}");
        assert!(found.stdout.is_empty(), "{}", shown(&found));
        assert_eq!(files(&place.path("right.oci")), before, "{kind}: the output was changed");
        place.assert_tidy();
    }
}

#[test]
fn a_wrong_layer_is_told_as_json_too() {
    let place = Place::new();
    let right = spec("right", "right", "true");
    place.compile("right", &right, &[]);
    place.compile("wrong", &spec("wrong", "right", "true"), &[]);
    place.swap("files", "settings", &place.path("right.oci"), &place.path("wrong.oci"));
    fs::remove_dir_all(place.path("right.oci")).unwrap();
    let found = place.compile("right", &right, &["--check", "--format", "json"]);
    assert_eq!(found.status.code(), Some(3), "{}", shown(&found));
    let json: serde_json::Value = serde_json::from_slice(&found.stderr).unwrap();
    assert!(json.to_string().contains("etc/motd"), "{json}");
    assert!(!place.path("right.oci").exists(), "an image that is wrong was written");
}

#[test]
fn a_damaged_blob_in_the_output_is_replaced() {
    let place = Place::new();
    let spec = spec("right", "right", "true");
    let built = place.compile("right", &spec, &[]);
    assert!(built.status.success(), "{}", shown(&built));
    let output = place.path("right.oci");
    let whole = files(&output);
    for name in whole.keys().filter(|name| name.starts_with("blobs")) {
        let mut bytes = fs::read(output.join(name)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        // Another file of the same size: the old one may be a hard link to the store's own.
        fs::remove_file(output.join(name)).unwrap();
        fs::write(output.join(name), bytes).unwrap();
    }
    let checked = place.compile("right", &spec, &["--check"]);
    assert!(checked.status.success(), "{}", shown(&checked));
    assert_eq!(files(&output), whole);
}

#[test]
fn a_damaged_record_is_built_anew_and_the_check_passes() {
    let place = Place::new();
    let right = spec("right", "right", "true");
    let built = place.compile("right", &right, &[]);
    assert!(built.status.success(), "{}", shown(&built));
    let digest = root_digest(&place.path("right.oci"));
    for record in files(&place.store().join("outputs")).into_keys() {
        let path = place.store().join("outputs").join(record);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
    }
    let checked = place.compile("right", &right, &["--check"]);
    assert!(checked.status.success(), "{}", shown(&checked));
    assert_eq!(root_digest(&place.path("right.oci")), digest);
}
