//! Images named anew in the manifests themselves: `rewrite=#true`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use kic_registry::scripted_server::{Reply, ScriptedServer};
use serde_json::Value;

use crate::support::http::get;
use crate::support::kic::{kic, shown, stdout};
use crate::support::stock_registry::StockRegistry;

/// A folder with an image on disk, `server.oci`.
fn place() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let spec = "cluster \"server\" {\nbase scratch\nfiles \"x\" { text \"/server\" \"x\"; }\n}\n";
    fs::write(folder.path().join("server.kdl"), spec).unwrap();
    stdout(kic(folder.path(), &folder.path().join("store")).args(["compile", "-q", "server.kdl"]));
    folder
}

fn compile(folder: &Path, spec: &str) -> Output {
    fs::write(folder.join("cluster.kdl"), format!("cluster \"shop\" {{\nbase scratch\n{spec}\n}}\n"))
        .unwrap();
    let path = std::env::join_paths(
        [folder.join("stand-ins")]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let mut command = kic(folder, &folder.join("store"));
    command
        .env("PATH", path.unwrap())
        .args(["compile", "--format", "json", "-o", "out.oci"])
        .output()
        .unwrap()
}

fn codes(output: &Output) -> Vec<String> {
    if output.stderr.is_empty() {
        return Vec::new();
    }
    let said: Value = serde_json::from_slice(&output.stderr).unwrap_or_else(|_| panic!("{}", shown(output)));
    said.as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap().to_owned()).collect()
}

fn manifest(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join("unpacked/manifests/shop").join(name)).unwrap()
}

fn unpack(folder: &Path) {
    drop(fs::remove_dir_all(folder.join("unpacked")));
    stdout(kic(folder, &folder.join("store")).args(["unpack", "-q", "out.oci", "unpacked"]));
}

const POD: &str = "# keep me\r\napiVersion: v1   # and me\r\nkind: Pod\r\nmetadata: {name: NAME}\r\nspec:\r\n  containers:\r\n  - name: a\r\n    image:   'server:v1'  # the server\r\n    args: [--mode=fast]\r\n";

#[test]
fn every_form_is_rewritten_to_names_that_the_cache_answers_to() {
    let folder = place();
    let folder = folder.path();
    let stand_ins = folder.join("stand-ins");
    fs::create_dir_all(&stand_ins).unwrap();
    for (name, script) in [("helm", "cat chart/pod.yaml"), ("kustomize", "cat over/pod.yaml || cat pod.yaml")]
    {
        let text = format!("#!/bin/sh\n[ \"$1\" = version ] && echo v9 && exit\n{script}\n");
        fs::write(stand_ins.join(name), text).unwrap();
        fs::set_permissions(stand_ins.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(folder.join("pod.yaml"), POD.replace("NAME", "file")).unwrap();
    for sub in ["chart", "over", "more"] {
        fs::create_dir_all(folder.join(sub)).unwrap();
        fs::write(folder.join(sub).join("pod.yaml"), POD.replace("NAME", sub)).unwrap();
    }
    fs::write(folder.join("chart/Chart.yaml"), "name: chart\n").unwrap();
    fs::write(folder.join("over/kustomization.yaml"), "resources: [pod.yaml]\n").unwrap();
    fs::write(folder.join("more/json.json"), "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"json\"},\n \"spec\": {\"containers\": [{\"image\": \"server:v1\"}]}}\n").unwrap();
    let layer = "manifests \"shop\" REWRITE {\n\
        file \"pod.yaml\" as=\"file.yaml\"\nfile \"more\"\nchart \"chart\"\nkustomize \"over\"\n\
        object \"v1/Pod\" name=\"object\" { spec { containers { - name=\"a\" image=\"server:v1\"; }; }; }\n}\n\
        registry \"sea.hub:5000\" { discover; image \"oci:server.oci\" as=\"docker.io/library/server:v1\"; }";
    let output = compile(folder, &layer.replace("REWRITE", ""));
    assert!(output.status.success(), "{}", shown(&output));
    unpack(folder);
    let before = manifest(folder, "file.yaml");
    assert_eq!(before, POD.replace("NAME", "file"));
    let output = compile(folder, &layer.replace("REWRITE", "rewrite=#true"));
    assert!(output.status.success() && codes(&output).is_empty(), "{}", shown(&output));
    unpack(folder);
    let new = "sea.hub:5000/docker.io/library/server:v1";
    assert_eq!(manifest(folder, "file.yaml"), before.replace("server:v1", new), "all other bytes stay");
    for name in ["pod.yaml", "json.json", "chart.yaml", "over.yaml", "pod-object.yaml"] {
        let text = manifest(folder, name);
        assert!(text.contains(new), "{name}: {text}");
        assert_eq!(text.matches("server:v1").count(), 1, "{name}: {text}");
    }
    // What the cluster asks for now is there.
    let Some(registry) = StockRegistry::start(&folder.join("unpacked/registry"), true) else { return };
    let answer = get(&registry.host, "/v2/docker.io/library/server/manifests/v1");
    assert_eq!(answer.status, 200);
}

#[test]
fn a_fetched_manifest_is_rewritten_and_its_pin_is_that_of_what_was_served() {
    let folder = place();
    let folder = folder.path();
    let served = POD.replace("NAME", "fetched");
    let sum = kic_base::Digest::of(served.as_bytes()).hex();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let text = served.clone();
    let server = runtime.block_on(ScriptedServer::start(move |_| Reply::new(200).body(text.clone())));
    let registry = "registry \"sea.hub:5000\" { discover; image \"oci:server.oci\" as=\"docker.io/library/server:v1\"; }";
    let url = format!("http://{}/pod.yaml", server.host());
    for checksum in [String::new(), format!("sha256=\"{sum}\"")] {
        let layer = format!("manifests \"shop\" rewrite=#true {{ fetch \"{url}\" {checksum}; }}\n{registry}");
        let output = compile(folder, &layer);
        assert!(output.status.success() && codes(&output).is_empty(), "{}", shown(&output));
        unpack(folder);
        let expected = served.replace("server:v1", "sea.hub:5000/docker.io/library/server:v1");
        assert_eq!(manifest(folder, "pod.yaml"), expected, "all other bytes stay");
        if checksum.is_empty() {
            let lock = fs::read_to_string(folder.join("kic.lock")).unwrap();
            assert!(lock.contains(&sum), "the pin is that of what was served: {lock}");
        }
    }
    // The pin, or the checksum, and the store are enough.
    let asked = server.asked().len();
    drop(server);
    let output = compile(
        folder,
        &format!("manifests \"shop\" rewrite=#true {{ fetch \"{url}\" sha256=\"{sum}\"; }}\n{registry}"),
    );
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(asked, 1, "what the store has is not fetched again");
}

#[test]
fn digests_stay_and_what_the_author_left_out_keeps_its_name() {
    let folder = place();
    let folder = folder.path();
    let index: Value =
        serde_json::from_slice(&fs::read(folder.join("server.oci/index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  containers:\n  - image: quay.io/shop/server:v1@{digest}\n  \
         - image: sea.hub:5000/quay.io/shop/server:v1\n  - image: quay.io/shop/left-out:v1\n---\napiVersion: example.com/v1\nkind: Site\n\
         metadata: {{name: a}}\nspec: {{heroImage: hero}}\n"
    );
    fs::write(folder.join("a.yaml"), &text).unwrap();
    let spec = "manifests \"shop\" rewrite=\"sea.hub:5000\" { file \"a.yaml\"; }\nregistry \"other.hub\" { image \"oci:server.oci\" as=\"quay.io/x/y:v1\"; }\n\
        registry \"sea.hub:5000\" { image \"oci:server.oci\" as=\"quay.io/shop/server:v1\"; exclude \"quay.io/shop/left-out:v1\"; }";
    let output = compile(folder, spec);
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(codes(&output), ["image-undecided"]);
    unpack(folder);
    let expected =
        text.replace("image: quay.io/shop/server:v1@", "image: sea.hub:5000/quay.io/shop/server:v1@");
    assert_eq!(manifest(folder, "a.yaml"), expected);
    let wrong = spec.replace("rewrite=\"sea.hub:5000\"", "rewrite=#true");
    assert_eq!(codes(&compile(folder, &wrong)), ["missing-form"]);
    // A registry that nothing fills gives nothing.
    let nowhere = spec.replace("rewrite=\"sea.hub:5000\"", "rewrite=\"no.hub\"");
    assert_eq!(codes(&compile(folder, &nowhere))[0], "image-not-cached");
}

#[test]
fn what_cannot_be_rewritten_is_told() {
    let folder = place();
    let folder = folder.path();
    // In YAML, a bracket inside a flow sequence must stand in quotes, and those would be around the whole argument.
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, args: [--server-image=server:v1], image: \"docker.io/\\\n  library/server:v1\"}]}\n";
    fs::write(folder.join("a.yaml"), text).unwrap();
    let spec = "manifests \"shop\" rewrite=#true { file \"a.yaml\"; }\nregistry \"[::1]:5000\" { image \"oci:server.oci\" as=\"docker.io/library/server:v1\"; }";
    let output = compile(folder, spec);
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(codes(&output), ["image-not-rewritten"], "{}", shown(&output));
    unpack(folder);
    let written = manifest(folder, "a.yaml");
    assert!(written.contains("image: \"[::1]:5000/docker.io/library/server:v1\""), "{written}");
    assert!(written.contains("--server-image=server:v1]"), "{written}");
}

#[test]
fn an_image_in_a_secret_is_told_without_the_secret() {
    let folder = place();
    let folder = folder.path();
    // `image: server:v1` and `password: hunter2`, in two lines.
    let data = "aW1hZ2U6IHNlcnZlcjp2MQpwYXNzd29yZDogaHVudGVyMgo=";
    let text = format!(
        "apiVersion: v1\nkind: Secret\n\nmetadata: {{name: hub}}\n\ndata:\n  values.yaml: {data}\nstringData:\n  HERO_IMAGE: hero\n  password: hunter2\n"
    );
    fs::write(folder.join("a.yaml"), text).unwrap();
    let spec = "manifests \"shop\" rewrite=#true { file \"a.yaml\"; }\nregistry \"sea.hub:5000\" { image \"oci:server.oci\" as=\"docker.io/library/server:v1\"; }";
    let output = compile(folder, spec);
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(codes(&output), ["image-not-rewritten", "image-undecided"], "{}", shown(&output));
    for format in ["json", "human"] {
        let mut command = kic(folder, &folder.join("store"));
        let output = command.args(["compile", "--format", format, "-o", "out.oci"]).output().unwrap();
        let all = shown(&output);
        assert!(all.contains("server:v1") && !all.contains(data) && !all.contains("hunter2"), "{all}");
        let listed = stdout(kic(folder, &folder.join("store")).args(["images", "--format", format]));
        assert!(
            listed.contains("server:v1") && !listed.contains(data) && !listed.contains("hunter2"),
            "{listed}"
        );
    }
    unpack(folder);
    assert!(manifest(folder, "a.yaml").contains(data), "the secret itself stays as it is");
}
