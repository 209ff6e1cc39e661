//! Charts and kustomizations, rendered by Helm and kustomize themselves.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kic_base::Digest;
use kic_registry::scripted_server::{Reply, ScriptedServer};
use serde_json::Value;

use crate::support::kic::{kic, shown, stdout};
use crate::support::peers::peer;
use crate::support::stock_registry::StockRegistry;

/// A folder with a spec and charts, and a store.
struct Place {
    folder: tempfile::TempDir,
    /// Folders that come first in `PATH`.
    programs: Vec<PathBuf>,
}

impl Place {
    fn new(programs: &[&Path]) -> Self {
        let programs = programs.iter().map(|program| program.parent().unwrap().to_owned()).collect();
        Self { folder: tempfile::tempdir().unwrap(), programs }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A spec whose only layer holds these nodes.
    fn spec(&self, nodes: &str) {
        self.write("cluster.kdl", &format!("cluster \"shop\" {{\nbase scratch\nmanifests \"shop\" namespace=\"front\" {{\n{nodes}\n}}\n}}\n"));
    }

    /// A stand-in for a program.
    fn stand_in(&mut self, name: &str, script: &str) {
        let path = self.path("stand-ins").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self.programs = vec![self.path("stand-ins")];
    }

    fn kic(&self, arguments: &[&str]) -> Command {
        let mut command = kic(self.folder.path(), &self.path("store"));
        let own = self.programs.iter().cloned();
        let others: Vec<PathBuf> =
            std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
        command.env("PATH", std::env::join_paths(own.chain(others)).unwrap()).args(arguments);
        command
    }

    fn compile(&self, arguments: &[&str]) -> Output {
        let output = self.path("out.oci");
        let mut all = vec!["compile", "cluster.kdl", "--format", "json", "-o", output.to_str().unwrap()];
        all.extend(arguments);
        self.kic(&all).output().unwrap()
    }

    /// Compiles, and gives the digest of the image.
    fn digest(&self, arguments: &[&str]) -> String {
        let output = self.compile(arguments);
        assert!(output.status.success(), "{}", shown(&output));
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        result["digest"].as_str().unwrap().to_owned()
    }

    /// The manifests of the image, by name, and the steps of its plan.
    fn manifests(&self) -> (BTreeMap<String, String>, Value) {
        let to = self.path("unpacked");
        drop(fs::remove_dir_all(&to));
        stdout(self.kic(&["unpack", self.path("out.oci").to_str().unwrap(), to.to_str().unwrap()]).arg("-q"));
        let files = fs::read_dir(to.join("manifests/shop")).unwrap().map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap())
        });
        let plan = fs::read(to.join("kic/plan.json")).unwrap();
        (files.collect(), serde_json::from_slice::<Value>(&plan).unwrap()["steps"].clone())
    }

    /// Compiles with errors or warnings, and gives what is said: the code, and all of its text.
    fn said(&self) -> Vec<(String, String)> {
        let output = self.compile(&[]);
        let said: Value =
            serde_json::from_slice(&output.stderr).unwrap_or_else(|_| panic!("{}", shown(&output)));
        let code = |one: &Value| (one["code"].as_str().unwrap().to_owned(), one.to_string());
        said.as_array().unwrap().iter().map(code).collect()
    }
}

/// A chart with a chart inside, definitions, hooks, and templates that show what they are told.
fn shop(place: &Place) {
    place.write("charts/shop/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.2.3\n");
    place.write("charts/shop/values.yaml", "replicas: 1\nlist: [a, b]\ngone: here\nsub: {color: blue}\n");
    place.write("charts/shop/.helmignore", "*.ignored\n");
    place.write("charts/shop/templates/broken.ignored", "{{ nonsense");
    place.write(
        "charts/shop/templates/_helpers.tpl",
        "{{ define \"shop.title\" }}{{ .Release.Name }}-{{ .Chart.Version }}{{ end }}",
    );
    place.write(
        "charts/shop/templates/told.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ include \"shop.title\" . }}\n  namespace: {{ .Release.Namespace }}\n\
         data:\n  replicas: \"{{ .Values.replicas }}\"\n  list: {{ join \",\" .Values.list | quote }}\n  gone: {{ .Values.gone | quote }}\n  \
         version: {{ .Capabilities.KubeVersion.Version | quote }}\n  monitored: \"{{ .Capabilities.APIVersions.Has \"monitoring.coreos.com/v1\" }}\"\n  \
         nodes: \"{{ len (lookup \"v1\" \"Node\" \"\" \"\") }}\"\n",
    );
    place.write("charts/shop/crds/crd.yaml", "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: shops.example.com\n");
    let hook = |name: &str, event: &str, weight: i32| {
        format!(
            "---\napiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\n  annotations:\n    helm.sh/hook: {event}\n    \
             helm.sh/hook-weight: \"{weight}\"\n"
        )
    };
    let hooks = [
        hook("second", "pre-install,pre-upgrade", 2),
        hook("first", "pre-install", -2),
        hook("late", "post-install", 0),
        hook("never", "pre-delete", 0),
        hook("check", "test", 0),
    ];
    place.write("charts/shop/templates/hooks.yaml", &hooks.concat());
    place.write("charts/shop/charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 0.1.0\n");
    place.write("charts/shop/charts/sub/values.yaml", "color: red\n");
    place.write(
        "charts/shop/charts/sub/templates/sub.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: sub}\ndata: {color: {{ .Values.color }}}\n",
    );
}

const SHOP: &str = "kube-version=\"1.29.0\" { values \"more.yaml\"; values { replicas 3; gone #null; }; api-versions \"monitoring.coreos.com/v1\"; }";

fn packaged(place: &Place, helm: &Path) -> Vec<u8> {
    let mut command = Command::new(helm);
    command
        .args(["package", "charts/shop"])
        .current_dir(place.folder.path())
        .env("HOME", place.folder.path());
    stdout(&mut command);
    fs::read(place.path("shop-1.2.3.tgz")).unwrap()
}

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

#[test]
fn a_chart_that_makes_something_up_is_refused_with_its_fields() {
    let Some(helm) = peer("helm") else { return };
    let place = Place::new(&[&helm]);
    for (expression, differs) in [
        ("{{ randAlphaNum 8 }}", true),
        ("{{ uuidv4 }}", true),
        ("{{ (genCA \"a\" 1).Cert | b64enc }}", true),
        ("{{ now | unixEpoch }}", true),
        ("{{ now | date \"2006-01-02\" }}", true),
        ("{{ sha256sum \"a\" }}", false),
    ] {
        place.write("shop/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\n");
        let text = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: made-up}}\nstringData:\n  same: \"x\"\n  text: \"{expression}\"\n"
        );
        place.write("shop/templates/secret.yaml", &text);
        place.spec("chart \"shop\"");
        if !differs {
            place.digest(&[]);
            continue;
        }
        let said = place.said();
        assert_eq!(said.len(), 1, "{expression}: {said:?}");
        assert_eq!(said[0].0, "rendering-differs", "{expression}");
        assert!(
            said[0].1.contains("Secret made-up stringData.text") && !said[0].1.contains("stringData.same"),
            "{said:?}"
        );
    }
}

#[test]
fn helm_s_own_errors_name_the_template() {
    let Some(helm) = peer("helm") else { return };
    let place = Place::new(&[&helm]);
    place
        .write("shop/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\nkubeVersion: \">= 1.99.0\"\n");
    place.write("shop/templates/a.yaml", "a: 1\nb: {{ required \"the color is needed\" .Values.color }}\n");
    place.spec("chart \"shop\"");
    assert!(place.said()[0].1.contains("kube-version="));
    place.write("shop/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\n");
    let said = place.said();
    assert_eq!(said[0].0, "chart-failed");
    assert!(
        said[0].1.contains("the color is needed") && said[0].1.contains("chart: templates/a.yaml"),
        "{said:?}"
    );
    place.write("shop/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\ndependencies:\n- {name: sub, version: 1.0.0, repository: \"https://example.com\"}\n");
    assert!(place.said()[0].1.contains("helm dependency build"));
}

#[test]
fn repositories_that_lack_a_chart_or_are_none_say_so() {
    let mut place = Place::new(&[]);
    place.stand_in("helm", "echo v3.99.0");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(ScriptedServer::start(|request| match request.path() {
        "/good/index.yaml" => Reply::new(200).body(format!(
            "entries:\n  shop:\n  - {{version: 1.0.0, urls: [\"/a-1.0.0.tgz\"], digest: {}}}\n  beta:\n  - {{version: 1.0.0-rc.1, urls: [a]}}\n  bare:\n  - version: 1.0.0\n",
            "0".repeat(64)
        )),
        "/a-1.0.0.tgz" => Reply::new(200).body("something else"),
        "/page/index.yaml" => Reply::new(200).body("<html>log in</html>"),
        "/broken/index.yaml" => Reply::new(200).body("entries: ["),
        _ => Reply::new(404),
    }));
    for (chart, code, says) in [
        ("\"shpo\" repo=\"HOST/good\"", "chart-not-found", "did you mean `shop`?"),
        ("\"shop\" repo=\"HOST/good\" version=\"2.0.0\"", "chart-not-found", "it has 1.0.0"),
        ("\"beta\" repo=\"HOST/good\"", "chart-not-found", "it has no release"),
        ("\"bare\" repo=\"HOST/good\"", "chart-repository", "has no URL"),
        ("\"shop\" repo=\"HOST/page\"", "chart-repository", "no index of a chart repository"),
        ("\"shop\" repo=\"HOST/broken\"", "chart-repository", "no index of a chart repository"),
        ("\"shop\" repo=\"HOST/nowhere\"", "download-not-found", "index.yaml"),
        ("\"shop\" repo=\"HOST/good\"", "digest-mismatch", "000000"),
    ] {
        place.spec(&format!("chart {}", chart.replace("HOST", &format!("http://{}", server.host()))));
        let said = place.said();
        assert_eq!(said.len(), 1, "{chart}: {said:?}");
        assert!(said[0].0 == code && said[0].1.contains(says), "{chart}: {said:?}");
    }
    place.spec("chart \"shop\" repo=\"https://charts.example.com\"");
    for (arguments, code) in [(["--offline"], "offline"), (["--locked"], "lock-missing")] {
        let output = place.compile(&arguments);
        assert!(
            String::from_utf8_lossy(&output.stderr).contains(&format!("\"{code}\"")),
            "{}",
            shown(&output)
        );
    }
}

#[test]
fn an_archive_that_arrives_wrong_is_asked_for_again() {
    let archive = archive();
    let sum = Digest::of(&archive).hex();
    let manifest = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\
         \"config\":{{\"mediaType\":\"application/vnd.cncf.helm.config.v1+json\",\"digest\":\"sha256:{sum}\",\"size\":2}},\
         \"layers\":[{{\"mediaType\":\"application/vnd.cncf.helm.chart.content.v1.tar+gzip\",\"digest\":\"sha256:{sum}\",\"size\":{}}}]}}",
        archive.len()
    );
    let blob = format!("/v2/charts/shop/blobs/sha256:{sum}");
    let index = format!("entries:\n  shop:\n  - {{version: 1.2.3, digest: {sum}, urls: [files/shop.tgz]}}\n");
    // How often the archive comes with another byte before it comes as it is, and whether that is too often.
    for (wrong, fails) in [(0, false), (1, false), (2, false), (9, true)] {
        for form in ["\"shop\" repo=\"http://HOST/repo\"", "\"oci://HOST/charts/shop\" version=\"1.2.3\""] {
            let mut place = Place::new(&[]);
            place.stand_in("helm", "[ \"$1\" = version ] && echo v3.99.0 && exit\necho 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}'");
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let left = std::sync::atomic::AtomicUsize::new(wrong);
            let (archive, manifest, index, blob) =
                (archive.clone(), manifest.clone(), index.clone(), blob.clone());
            let server = runtime.block_on(ScriptedServer::start(move |request| match request.path() {
                "/v2/" => Reply::new(200),
                "/repo/index.yaml" => Reply::new(200).body(index.clone()),
                "/v2/charts/shop/manifests/1.2.3" => Reply::new(200)
                    .header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
                    .body(manifest.clone()),
                path if path == blob || path == "/repo/files/shop.tgz" => {
                    let less = |left: usize| left.checked_sub(1);
                    let order = std::sync::atomic::Ordering::SeqCst;
                    let mut bytes = archive.clone();
                    if left.fetch_update(order, order, less).is_ok() {
                        bytes[20] ^= 1;
                    }
                    Reply::new(200).body(bytes)
                }
                _ => Reply::new(404),
            }));
            place.spec(&format!("chart {}", form.replace("HOST", &server.host())));
            let output = place.compile(&[]);
            assert_eq!(output.status.success(), !fails, "{form}, wrong {wrong} times: {}", shown(&output));
            let asked = server
                .asked()
                .iter()
                .filter(|line| line.contains("/blobs/") || line.contains(".tgz"))
                .count();
            assert_eq!(
                asked,
                if fails { 3 } else { wrong + 1 },
                "{form}, wrong {wrong} times: {:?}",
                server.asked()
            );
            if fails {
                assert!(
                    String::from_utf8_lossy(&output.stderr).contains("digest-mismatch"),
                    "{}",
                    shown(&output)
                );
            }
        }
    }
}

/// The archive of a chart without templates.
fn archive() -> Vec<u8> {
    let mut archive =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none()));
    let text = b"apiVersion: v2\nname: shop\nversion: 1.2.3\n";
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    archive.append_data(&mut header, "shop/Chart.yaml", &text[..]).unwrap();
    archive.into_inner().unwrap().finish().unwrap()
}

#[test]
fn what_is_rendered_once_is_not_rendered_again() {
    let mut place = Place::new(&[]);
    let log = place.path("log");
    let script = |version: &str| {
        format!(
            "[ \"$1\" = version ] && echo {version} && exit\necho run >>'{}'\nprintf 'apiVersion: v1\\nkind: ConfigMap\\nmetadata: {{name: a}}\\n'",
            log.display()
        )
    };
    place.stand_in("helm", &script("v3.1.0"));
    place.write("shop/Chart.yaml", "name: shop\n");
    place.write("shop/templates/a.yaml", "a\n");
    place.write("values.yaml", "a: 1\n");
    let spec = "chart \"shop\" { values \"values.yaml\"; values { b 2; }; }";
    place.spec(spec);
    let runs = || fs::read_to_string(&log).unwrap_or_default().lines().count();
    let digest = place.digest(&[]);
    assert_eq!(runs(), 2, "twice, to compare");
    assert_eq!(place.digest(&[]), digest);
    assert_eq!(runs(), 2);
    for (index, change) in [
        &(|place: &mut Place| place.write("shop/templates/a.yaml", "b\n")) as &dyn Fn(&mut Place),
        &|place| place.write("values.yaml", "a: 2\n"),
        &|place| place.spec(&spec.replace("b 2", "b 3")),
        &|place| place.spec(&spec.replace("chart \"shop\"", "chart \"shop\" kube-version=\"1.30.0\"")),
        &|place| place.stand_in("helm", &script("v3.2.0")),
    ]
    .iter()
    .enumerate()
    {
        change(&mut place);
        assert_eq!(place.digest(&[]), digest, "the text is the same, and so is the image");
        assert_eq!(runs(), 4 + 2 * index);
    }
}

#[test]
fn a_renderer_sees_its_files_and_nothing_of_the_user() {
    let mut place = Place::new(&[]);
    let seen = place.path("seen");
    place.stand_in(
        "helm",
        &format!(
            "[ \"$1\" = version ] && echo v3.1.0 && exit\n{{ env | cut -d= -f1 | sort; echo; find . -type f | sort; echo \"$@\"; }} >'{}'\necho 'apiVersion: v1\nkind: A\nmetadata: {{name: a}}'",
            seen.display()
        ),
    );
    place.write("shop/Chart.yaml", "name: shop\n");
    place.write("outside/secret.yaml", "a: 1\n");
    place.write("shop/.git/config", "x");
    fs::create_dir_all(place.path("shop/templates")).unwrap();
    std::os::unix::fs::symlink("../../outside/secret.yaml", place.path("shop/templates/linked.yaml"))
        .unwrap();
    place.spec("chart \"shop\" { values { a 1; }; }");
    let mut command = place.kic(&["compile", "cluster.kdl", "-o", "out.oci"]);
    command.env("KUBECONFIG", "/home/user/.kube/config").env("HELM_DRIVER", "sql").env("SECRET", "x");
    stdout(&mut command);
    let seen = fs::read_to_string(&seen).unwrap();
    let (names, rest) = seen.split_once("\n\n").unwrap();
    assert!(!names.contains("SECRET") && !names.contains("HELM_DRIVER") && names.contains("PATH"), "{names}");
    assert_eq!(
        rest,
        "./chart/Chart.yaml\n./chart/templates/linked.yaml\n./values-0.yaml\ntemplate shop chart --namespace front --include-crds --values values-0.yaml\n"
    );
}

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
