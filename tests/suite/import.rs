//! `kic import manifest` changes nothing in meaning: what it writes is read as the objects that were there. `kic init`
//! turns Kubefiles into specs that compile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kic_base::{Source, Spanned};
use kic_import::Wrapping;
use kic_manifest::{emit, read};
use kic_spec::{Content, ManifestItem};
use serde_json::{Map, Value, json};

use crate::support::image_layout::assert_valid;
use crate::support::kic::{kic, shown, stdout};
use crate::support::markdown::page;
use crate::support::random::Random;
use crate::support::seed::Seed;
use crate::support::{root, shared_data};

/// The objects of a manifest, as Kubernetes reads them.
fn objects(name: &str, yaml: &str) -> Vec<Value> {
    let (objects, errors) = read(&Source::new(name, yaml));
    assert!(errors.is_empty(), "{name}: {errors:?}");
    let whole = |object: kic_manifest::Object| {
        let mut value = object.root.to_json();
        value["apiVersion"] = json!(object.api_version);
        value["kind"] = json!(object.kind);
        value
    };
    objects.into_iter().map(whole).collect()
}

/// The objects that a spec holds which uses the module that the manifest becomes.
fn imported(name: &str, yaml: &str) -> Vec<Value> {
    let kdl = kic_import::manifest(&Source::new(name, yaml), Wrapping::Module("all"))
        .unwrap_or_else(|errors| panic!("{name}: {errors:?}\n{yaml}"));
    assert_eq!(
        kic_syntax::format(&Source::new(name, kdl.as_str())).as_ref(),
        Ok(&kdl),
        "{name}: not formatted"
    );
    let spec = "cluster \"x\" {\n    base scratch\n    use \"all.kdl\"\n}\n";
    let (file, _) = kic_syntax::parse(&Source::new("cluster.kdl", spec));
    let world = BTreeMap::from([(PathBuf::from("all.kdl"), kdl.clone())]);
    let (spec, warnings) = kic_spec::resolve(&file, Path::new("cluster.kdl"), &world)
        .unwrap_or_else(|errors| panic!("{name}: {errors:?}\n{kdl}"));
    assert!(warnings.is_empty(), "{warnings:?}");
    let items = spec.layers.iter().flat_map(|layer| match &layer.content {
        Content::Manifests { items, .. } => items.as_slice(),
        _ => &[],
    });
    let object = |item: &Spanned<ManifestItem>| match &item.value {
        ManifestItem::Object { object, .. } => Some(object.clone()),
        _ => None,
    };
    items.filter_map(object).collect()
}

fn assert_round_trip(name: &str, yaml: &str) -> usize {
    let (wanted, found) = (objects(name, yaml), imported(name, yaml));
    assert_eq!(wanted.len(), found.len(), "{name}");
    for (wanted, found) in wanted.iter().zip(&found) {
        assert_eq!(wanted, found, "{name}");
        // What goes into the image is what comes out of it.
        let written = emit(found);
        assert_eq!(objects(name, &written), std::slice::from_ref(wanted), "{name}\n{written}");
    }
    wanted.len()
}

#[test]
fn real_manifests_mean_the_same_as_objects() {
    let Some(data) = shared_data() else { return };
    let mut count = 0;
    for entry in std::fs::read_dir(data.join("kyverno")).unwrap() {
        let path = entry.unwrap().path();
        count += assert_round_trip(&path.display().to_string(), &std::fs::read_to_string(&path).unwrap());
    }
    assert!(count > 60, "{count}");
}

#[test]
fn the_manifests_of_the_examples_mean_the_same_as_objects() {
    for path in
        ["hello/greeter.yaml", "kyverno-base/etc/install.yaml", "kyverno-base/etc/redirect-registry.yaml"]
    {
        let text = std::fs::read_to_string(root().join("examples").join(path)).unwrap();
        assert!(assert_round_trip(path, &text) > 0);
    }
}

const TEXTS: [&str; 40] = [
    "",
    " ",
    "a",
    "-",
    "--",
    "yes",
    "no",
    "on",
    "true",
    "null",
    "~",
    "0644",
    "1e3",
    "1_000",
    ".inf",
    "0x1f",
    "1.5",
    "-1",
    "a: b",
    "# no comment",
    "/- no comment",
    "{{ .Values.x }}",
    "${x}",
    "($)",
    "\"quoted\"",
    "'quoted'",
    "back\\slash",
    "two\nlines",
    "two\nlines\n",
    "\n\nempty lines\n\n",
    "  indented\n\tlines",
    "blank\n  \nline",
    "return\r\nline",
    "\u{85}next line",
    "\u{2028}separator\n",
    "\u{feff}mark",
    "\u{202e}direction",
    "\"\"\"\n\"\"\"#\n",
    "é🦀\n日本",
    "\u{7}bell\n",
];
const KEYS: [&str; 16] = [
    "a",
    "b",
    "-",
    "--",
    "",
    "when",
    "for",
    "let",
    "use",
    "object",
    "app.kubernetes.io/name",
    "two words",
    "true",
    "1",
    "a\nb",
    "\"",
];

fn value(random: &mut Random, depth: u64) -> Value {
    match random.below(if depth == 0 { 6 } else { 9 }) {
        0 => Value::Null,
        1 => json!(random.below(2) == 0),
        2 => [json!(0), json!(-1), json!(i64::MIN), json!(u64::MAX), json!(420)][random.below(5) as usize]
            .clone(),
        3 => [json!(0.1), json!(-0.5), json!(1e300), json!(5e-324), json!(1.0)][random.below(5) as usize]
            .clone(),
        4 | 5 => json!(TEXTS[random.below(TEXTS.len() as u64) as usize]),
        6 => (0..random.below(5)).map(|_| value(random, depth - 1)).collect(),
        _ => Value::Object(fields(random, depth - 1)),
    }
}

fn fields(random: &mut Random, depth: u64) -> Map<String, Value> {
    let key = |random: &mut Random| KEYS[random.below(KEYS.len() as u64) as usize].to_owned();
    (0..random.below(5)).map(|_| (key(random), value(random, depth))).collect()
}

#[test]
fn any_object_means_the_same() {
    let mut random = Random::new(4);
    for number in 0..2_000 {
        let mut object = fields(&mut random, 5);
        let mut metadata = fields(&mut random, 2);
        let name = TEXTS[random.below(TEXTS.len() as u64) as usize];
        metadata.insert("name".into(), json!(if name.is_empty() { "x" } else { name }));
        if random.below(2) == 0 {
            metadata.insert("namespace".into(), value(&mut random, 0));
        }
        object.insert("apiVersion".into(), json!("example.com/v1"));
        object.insert("kind".into(), json!("Thing"));
        object.insert("metadata".into(), Value::Object(metadata));
        let object = Value::Object(object);
        // Both as YAML and as JSON, which is YAML in another style.
        assert_round_trip(&format!("{number}.yaml"), &emit(&object));
        assert_round_trip(&format!("{number}.json"), &object.to_string());
    }
}

#[test]
fn the_page_on_sealer_shows_what_its_kubefile_becomes() {
    let page = page(Path::new("book/src/coming-from-sealer.md"));
    let scratch = tempfile::tempdir().unwrap();
    for block in &page.blocks {
        let Some(name) = block.tag("file=") else { continue };
        let path = scratch.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &block.text).unwrap();
    }
    let mut command = kic(scratch.path(), &scratch.path().join("store"));
    let output =
        command.args(["init", "--from", "Kubefile", "--name", "shop", "--version", "v1"]).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let written = std::fs::read_to_string(scratch.path().join("cluster.kdl")).unwrap();
    let block = page.blocks.iter().find(|block| block.language() == "kdl").unwrap();
    assert_eq!(written, block.text);
}

/// The Kubefiles of sealer's page on Kyverno, in folders as it tells to make them.
const KUBEFILES: [(&str, &str); 2] = [
    (
        "kyverno-base",
        "FROM kubernetes-rawdocker:v1.19.8\nCOPY imageList manifests\nCOPY etc .\nCOPY scripts .\n\
         CMD kubectl create -f etc/install.yaml && kubectl create -f etc/redirect-registry.yaml\n\
         CMD bash scripts/wait-kyverno-ready.sh\n",
    ),
    (
        "my-nginx",
        "FROM kubernetes-kyverno:v1.19.8\nCOPY imageList manifests\nCMD kubectl run nginx --image=nginx:latest\n",
    ),
];

#[test]
fn the_kubefiles_of_the_seed_convert_and_compile() {
    let Some(seed) = Seed::new() else { return };
    let scripts = seed.path("kyverno-base/scripts");
    std::fs::create_dir(&scripts).unwrap();
    std::fs::write(scripts.join("wait-kyverno-ready.sh"), "#!/bin/bash\necho ready\n").unwrap();
    for ((name, kubefile), output) in KUBEFILES.into_iter().zip(["base.oci", "nginx.oci"]) {
        let folder = seed.path(name);
        std::fs::remove_file(folder.join("cluster.kdl")).unwrap();
        std::fs::write(folder.join("Kubefile"), kubefile).unwrap();
        let path = format!("{name}/Kubefile");
        let init = kic(seed.folder.path(), &seed.path("store"))
            .args(["init", "--from", &path, "--version", "v1.19.8"])
            .output()
            .unwrap();
        assert!(init.status.success() && init.stderr.is_empty(), "{}", shown(&init));
        // The second one's base is the image of the first.
        let spec = std::fs::read_to_string(folder.join("cluster.kdl")).unwrap();
        let base = "base \"registry.cn-qingdao.aliyuncs.com/sealer-io/kubernetes-kyverno:v1.19.8\"";
        std::fs::write(folder.join("cluster.kdl"), spec.replace(base, "base oci=\"../base.oci\"")).unwrap();
        seed.compile(&format!("{name}/cluster.kdl"), output, &[]);
        assert_valid(&seed.path(output));
    }
    let steps =
        ["manifests/install", "policies/redirect-registry", "wait-kyverno-ready.sh", "kubectl run nginx"];
    let inspect = ["inspect", "--offline", "--format", "json", "nginx.oci"];
    let inspected = stdout(kic(seed.folder.path(), &seed.path("store")).args(inspect));
    let plan: Value = serde_json::from_str(&inspected).unwrap();
    let plan = plan.to_string();
    let places: Vec<Option<usize>> = steps.iter().map(|step| plan.find(step)).collect();
    assert!(places.iter().all(Option::is_some), "{places:?}: {plan}");
}
