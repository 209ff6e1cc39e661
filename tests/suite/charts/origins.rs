//! What becomes of a chart, wherever it comes from.

use std::fs;
use std::process::Command;

use kic_base::Digest;
use kic_registry::scripted_server::{Reply, ScriptedServer};

use super::{Place, SHOP, packaged, shop};
use crate::support::kic::stdout;
use crate::support::peers::peer;
use crate::support::stock_registry::StockRegistry;

#[test]
fn a_chart_is_the_same_wherever_it_comes_from() {
    let Some(helm) = peer("helm") else { return };
    let place = Place::new(&[&helm]);
    shop(&place);
    place.write("more.yaml", "replicas: 2\nlist: [c]\n");
    place.spec(&format!("chart \"charts/shop\" {SHOP}\nchart \"charts/shop\" name=\"other\" namespace=\"back\" hooks=#false include-crds=#false {SHOP}"));
    let digest = place.digest(&[]);
    let (files, steps) = place.manifests();
    let names: Vec<&String> = files.keys().collect();
    assert_eq!(
        names,
        ["other.yaml", "shop-crds.yaml", "shop-post-install.yaml", "shop-pre-install.yaml", "shop.yaml"]
    );
    let told = &files["shop.yaml"];
    for line in [
        "name: shop-1.2.3",
        "namespace: front",
        "replicas: \"3\"",
        "list: \"c\"",
        "gone: \n",
        "version: \"v1.29.0\"",
        "monitored: \"true\"",
        "nodes: \"0\"",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    assert_eq!(
        told.matches("{color: blue}").count(),
        1,
        "the chart inside, once, with its parent's values: {told}"
    );
    assert!(!told.contains("helm.sh/hook") && !told.contains("CustomResourceDefinition"), "{told}");
    let hooks = &files["shop-pre-install.yaml"];
    assert!(hooks.find("name: first").unwrap() < hooks.find("name: second").unwrap(), "{hooks}");
    assert!(files["shop-post-install.yaml"].contains("name: late"));
    assert!(files["other.yaml"].contains("namespace: back"));
    assert!(files.values().all(|text| !text.contains("name: never") && !text.contains("name: check")));
    let applied: Vec<(&str, Vec<&str>)> = steps
        .as_array()
        .unwrap()
        .iter()
        .map(|step| {
            let files = step["files"].as_array().unwrap().iter();
            (
                step["namespace"].as_str().unwrap(),
                files.map(|file| file.as_str().unwrap().rsplit('/').next().unwrap()).collect(),
            )
        })
        .collect();
    let own = vec!["shop-crds.yaml", "shop-pre-install.yaml", "shop.yaml", "shop-post-install.yaml"];
    assert_eq!(applied, [("front", own), ("back", vec!["other.yaml"])]);
    assert_eq!(place.digest(&["--check"]), digest, "the same from an empty store");

    // The same chart in its other forms.
    place.spec(&format!("chart \"charts/shop\" {SHOP}"));
    let digest = place.digest(&[]);
    let archive = packaged(&place, &helm);
    place.spec(&format!("chart \"shop-1.2.3.tgz\" {SHOP}"));
    assert_eq!(place.digest(&[]), digest, "an archive");
    assert!(!place.path("kic.lock").exists(), "nothing to pin");

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let sum = Digest::of(&archive).hex();
    let index = format!(
        "apiVersion: v1\nentries:\n  shop:\n  - {{name: shop, version: 1.0.0, urls: [nowhere.tgz]}}\n  \
         - {{name: shop, version: 2.0.0-rc.1, urls: [nowhere.tgz]}}\n  \
         - {{name: shop, version: v1.2.3, digest: {sum}, urls: [files/shop-1.2.3.tgz]}}\n"
    );
    let bytes = archive.clone();
    let server = runtime.block_on(ScriptedServer::start(move |request| match request.path() {
        "/charts/index.yaml" => Reply::new(200).body(index.clone()),
        "/charts/files/shop-1.2.3.tgz" => Reply::new(200).body(bytes.clone()),
        _ => Reply::new(404),
    }));
    let repo = format!("http://{}/charts", server.host());
    for version in ["", "version=\"1.2.3\""] {
        place.spec(&format!("chart \"shop\" repo=\"{repo}\" {version} {SHOP}"));
        assert_eq!(place.digest(&[]), digest, "an HTTP repository {version}");
        let lock = fs::read_to_string(place.path("kic.lock")).unwrap();
        assert!(
            lock.contains(&format!("is=\"v1.2.3\" url=\"{repo}/files/shop-1.2.3.tgz\" sha256=\"{sum}\"")),
            "{lock}"
        );
        assert_eq!(place.digest(&["--offline", "--locked"]), digest, "its pin is enough");
    }
    let asked = server.asked().len();
    fs::remove_dir_all(place.path("store")).unwrap();
    assert_eq!(place.digest(&["--locked"]), digest);
    assert_eq!(server.asked()[asked..], ["GET /charts/files/shop-1.2.3.tgz"], "the index is not asked again");
    place.spec(&format!("chart \"{repo}/files/shop-1.2.3.tgz\" {SHOP}"));
    assert_eq!(place.digest(&[]), digest, "a URL");
    assert!(fs::read_to_string(place.path("kic.lock")).unwrap().contains("fetch \"http://"));

    let Some(registry) = StockRegistry::start(&place.path("registry"), false) else { return };
    let mut push = Command::new(&helm);
    let to = format!("oci://{}/charts", registry.host);
    push.args(["push", "--plain-http", "shop-1.2.3.tgz", &to])
        .current_dir(place.folder.path())
        .env("HOME", place.folder.path());
    stdout(&mut push);
    fs::remove_file(place.path("kic.lock")).unwrap();
    fs::remove_dir_all(place.path("store")).unwrap();
    place.spec(&format!("chart \"{to}/shop\" version=\"1.2.3\" {SHOP}"));
    assert_eq!(place.digest(&[]), digest, "a registry");
    let lock = fs::read_to_string(place.path("kic.lock")).unwrap();
    let manifest = Digest::of(&registry.manifest("charts/shop", "1.2.3"));
    assert!(lock.contains(&format!("digest=\"{manifest}\" sha256=\"{sum}\"")), "{lock}");
    registry.stop();
    assert_eq!(place.digest(&["--offline", "--locked"]), digest);
}

#[test]
fn images_of_charts_are_found_in_hooks_and_annotations() {
    let Some(helm) = peer("helm") else { return };
    let place = Place::new(&[&helm]);
    place.write(
        "shop/Chart.yaml",
        "apiVersion: v2\nname: shop\nversion: 1.0.0\nannotations:\n  artifacthub.io/images: |\n    - name: worker\n      image: quay.io/example/worker:v1\n",
    );
    let pod = |name: &str, hook: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  annotations: {{{hook}}}\nspec:\n  containers:\n  \
             - {{name: a, image: \"quay.io/example/{name}:v1\"}}\n"
        )
    };
    place.write(
        "shop/templates/pods.yaml",
        &[
            pod("plain", ""),
            pod("before", "helm.sh/hook: pre-install"),
            pod("after", "helm.sh/hook: \"post-install,post-upgrade\""),
            pod("delete", "helm.sh/hook: pre-delete"),
            pod("check", "helm.sh/hook: test"),
        ]
        .concat(),
    );
    place.spec("chart \"shop\"");
    let said = place.said();
    let found: Vec<(String, &str)> = said
        .iter()
        .flat_map(|(code, text)| {
            let names = ["plain", "before", "after", "delete", "check", "worker"];
            names
                .into_iter()
                .filter(move |name| text.contains(&format!("quay.io/example/{name}:v1")))
                .map(|name| (code.clone(), name))
        })
        .collect();
    for (code, name) in
        [("image-not-cached", "plain"), ("image-not-cached", "before"), ("image-not-cached", "after")]
    {
        assert!(found.contains(&(code.to_owned(), name)), "{name}: {said:?}");
    }
    for name in ["delete", "check", "worker"] {
        assert!(
            found.iter().any(|(code, found)| *found == name && code != "image-not-cached"),
            "{name}: {said:?}"
        );
    }
}
