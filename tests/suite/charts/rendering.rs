//! What a renderer sees, how often it runs, and how it fails.

use std::fs;

use kic_base::Digest;
use kic_registry::scripted_server::{Reply, ScriptedServer};

use super::Place;
use crate::support::kic::{shown, stdout};
use crate::support::peers::peer;

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
fn a_run_with_nothing_changed_does_not_ask_what_is_rendered_and_any_change_is_seen() {
    let mut place = Place::new(&[]);
    let script = |name: &str| {
        format!(
            "[ \"$1\" = version ] && echo v3.1.0 && exit\nprintf 'apiVersion: v1\\nkind: ConfigMap\\nmetadata: {{name: {name}}}\\n'"
        )
    };
    place.stand_in("helm", &script("a"));
    place.stand_in(
        "kustomize",
        "[ \"$1\" = version ] && echo v5.0.0 && exit\nprintf 'apiVersion: v1\\nkind: ConfigMap\\nmetadata: {name: k}\\n'",
    );
    place.write("shop/Chart.yaml", "name: shop\n");
    place.write("shop/templates/a.yaml", "a\n");
    place.write("elsewhere/one.yaml", "1\n");
    place.write("elsewhere/two.yaml", "2\n");
    std::os::unix::fs::symlink("../../elsewhere/one.yaml", place.path("shop/templates/link.yaml")).unwrap();
    place.write("values.yaml", "a: 1\n");
    place.write("overlay/kustomization.yaml", "resources: [../base]\n");
    place.write("base/kustomization.yaml", "resources: [a.yaml]\n");
    place.write("base/a.yaml", "a\n");
    place.spec("chart \"shop\" { values \"values.yaml\"; }\nkustomize \"overlay\"");
    place.programs.insert(0, place.path("first"));
    fs::create_dir(place.path("first")).unwrap();
    // A run that finds nothing changed writes nothing, and any other one what the next run knows by.
    let memos = |place: &Place| -> Vec<_> {
        let files = fs::read_dir(place.path("store/memos")).into_iter().flatten().map(|entry| entry.unwrap());
        let mut memos: Vec<_> =
            files.map(|file| (file.path(), file.metadata().unwrap().modified().unwrap())).collect();
        memos.sort();
        memos
    };
    let is_asked = |place: &Place| {
        let before = memos(place);
        let output = place.compile(&[]);
        assert!(output.status.success(), "{}", shown(&output));
        memos(place) != before
    };
    let settle = || std::thread::sleep(std::time::Duration::from_millis(60));
    settle();
    place.digest(&[]);
    assert!(!is_asked(&place));
    type Change<'a> = (&'a str, &'a dyn Fn(&mut Place));
    let changes: [Change; 11] = [
        ("a file of the chart", &|place| place.write("shop/templates/a.yaml", "b\n")),
        ("a new file of it", &|place| place.write("shop/templates/b.yaml", "b\n")),
        ("one that is gone", &|place| fs::remove_file(place.path("shop/templates/b.yaml")).unwrap()),
        ("what a link leads to", &|place| place.write("elsewhere/one.yaml", "3\n")),
        ("where it leads", &|place| {
            fs::remove_file(place.path("shop/templates/link.yaml")).unwrap();
            std::os::unix::fs::symlink("../../elsewhere/two.yaml", place.path("shop/templates/link.yaml"))
                .unwrap();
        }),
        ("values", &|place| place.write("values.yaml", "a: 2\n")),
        ("the kustomization", &|place| place.write("overlay/kustomization.yaml", "resources: [ ../base ]\n")),
        ("what it builds on", &|place| place.write("base/a.yaml", "b\n")),
        ("a new file there", &|place| place.write("base/b.yaml", "b\n")),
        ("the program", &|place| {
            let path = place.path("stand-ins/helm");
            let text = fs::read_to_string(&path).unwrap().replace("name: a", "name: b");
            fs::write(path, text).unwrap();
        }),
        ("another program before it", &|place| {
            fs::copy(place.path("stand-ins/helm"), place.path("first/helm")).unwrap();
        }),
    ];
    for (what, change) in changes {
        change(&mut place);
        settle();
        assert!(is_asked(&place), "{what}");
        assert!(!is_asked(&place), "after {what}");
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
