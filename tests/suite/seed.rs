//! The two images of the seed, from a registry into a cluster image and back out of its registry cache.
//!
//! A stock registry plays upstream with images made up for the tests. Needs `docker-registry`, `skopeo` and `crane`.

use std::fs;
use std::path::Path;
use std::process::Command;

use kic_base::{Digest, Epoch};
use serde_json::Value;

use crate::support::image_layout::{assert_valid, blob, document, layers, root_digest};
use crate::support::kic::{kic, shown, stdout};
use crate::support::peers::peer;
use crate::support::seed::{Cached, Seed};
use crate::support::stock_registry::StockRegistry;
use crate::support::synthetic_image::{Family, SyntheticImage, index};
use crate::support::{copy_tree, root, shared_data, updates_expectations};

/// The names under which the private registry answers for an image.
fn aliases(host: &str, path: &str) -> Vec<String> {
    let mut paths = vec![path.to_owned()];
    paths.extend(path.strip_prefix("library/").map(str::to_owned));
    paths.iter().flat_map(|path| [path.clone(), format!("{host}/{path}")]).collect()
}

#[test]
fn the_images_of_the_seed_are_pulled_back_from_a_stock_registry_on_the_cache() {
    let (Some(skopeo), Some(crane), Some(seed)) = (peer("skopeo"), peer("crane"), Seed::new()) else {
        return;
    };
    let digests = seed.compile_both();
    for (layout, digest) in [("base.oci", &digests.0), ("nginx.oci", &digests.1)] {
        assert_valid(&seed.path(layout));
        assert_eq!(&root_digest(&seed.path(layout)), digest);
    }
    golden(&[("kyverno-base", &digests.0), ("my-nginx", &digests.1)]);
    // From here on there is no upstream.
    let cached = seed.cached();
    let host = seed.upstream.host.clone();
    let folder = seed.folder.path().to_owned();
    let unpack = |image: &str, to: &str| {
        stdout(kic(&folder, &folder.join("store")).args(["unpack", "--offline", image, to]))
    };
    seed.upstream.stop();
    assert!(std::net::TcpStream::connect(&host).is_err(), "upstream is stopped");
    unpack("nginx.oci", "root");
    let data = folder.join("root/registry");
    assert!(data.join("docker/registry/v2/repositories/library/nginx").is_dir());
    assert_eq!(
        fs::read(folder.join("root/opt/part-1")).unwrap().len(),
        1_500_000,
        "a file of the base image"
    );
    let registry = StockRegistry::start(&data, true).unwrap();
    let mut pulls = 0;
    for Cached { host, path, tag, manifest, image } in &cached {
        for alias in aliases(host, path) {
            // By tag, by the digest of what the tag stands for, and by that of the platform's image; with plain HTTP.
            let (digest, child) = (Digest::of(manifest).to_string(), image.digest());
            assert_eq!(registry.manifest(&alias, tag), *manifest);
            assert_eq!(registry.manifest(&alias, &digest), *manifest);
            assert_eq!(registry.manifest(&alias, &child), image.manifest);
            for blob in &image.blobs {
                assert!(registry.blob(&alias, &Digest::of(blob).to_string()) == *blob, "{alias}");
            }
            // And with the tools that people use, which check every digest.
            for name in [format!("{alias}:{tag}"), format!("{alias}@{digest}"), format!("{alias}@{child}")] {
                let reference = format!("{}/{name}", registry.host);
                pulls += 1;
                let raw = stdout(Command::new(&crane).args(["manifest", "--insecure", &reference]));
                let expected = if name.ends_with(&child) { image.manifest.as_slice() } else { manifest };
                assert_eq!(raw.as_bytes(), expected, "{reference}");
                let to = folder.join(format!("pull-{pulls}"));
                let mut copy = Command::new(&skopeo);
                copy.args([
                    "copy",
                    "--quiet",
                    "--insecure-policy",
                    "--src-tls-verify=false",
                    "--override-arch=amd64",
                ]);
                stdout(copy.arg(format!("docker://{reference}")).arg(format!("dir:{}", to.display())));
                assert_eq!(fs::read(to.join("manifest.json")).unwrap(), image.manifest, "{reference}");
                for blob in &image.blobs {
                    assert!(fs::read(to.join(Digest::of(blob).hex())).unwrap() == *blob);
                }
            }
        }
    }
    assert_eq!(pulls, (2 + 2 + 4) * 3);
    // What nobody cached is not there.
    for target in ["/v2/library/redis/manifests/latest", "/v2/nginx/manifests/1.0"] {
        assert_eq!(crate::support::http::get(&registry.host, target).status, 404);
    }
}

#[test]
fn layers_below_are_the_base_images_whichever_way_the_base_is_named() {
    let (Some(skopeo), Some(seed)) = (peer("skopeo"), Seed::new()) else { return };
    let (base, _) = seed.compile_both();
    let lower = layers(&seed.path("base.oci"));
    assert_eq!(seed.compile("kyverno-base/cluster.kdl", "base.tar", &[]), base);
    // The base image's own layers lie at the bottom, their bytes untouched.
    for (layer, bytes) in lower.iter().zip(&seed.base.blobs[1..]) {
        assert_eq!(layer, &Digest::of(bytes).to_string());
        assert!(fs::read(blob(&seed.path("base.oci"), layer)).unwrap() == *bytes);
    }
    seed.push(&skopeo, "oci:base.oci:v1.19.8", "own/kubernetes-kyverno:v1.19.8");
    let reference = format!("base \"{}/own/kubernetes-kyverno:v1.19.8\"", seed.upstream.host);
    let text = fs::read_to_string(seed.path("my-nginx/cluster.kdl")).unwrap();
    let form = "base spec=\"../kyverno-base/cluster.kdl\"";
    assert!(text.contains(form));
    let forms = [
        ("by-reference", reference.as_str()),
        ("by-layout", "base oci=\"../base.oci\""),
        ("by-archive", "base oci=\"../base.tar\""),
        ("by-transport", "base \"oci:../base.oci\""),
        ("by-archive-transport", "base \"oci-archive:../base.tar\""),
    ];
    for (name, base) in forms {
        copy_tree(&seed.path("my-nginx"), &seed.path(name), 0o644);
        drop(fs::remove_file(seed.path(name).join("kic.lock")));
        fs::write(seed.path(name).join("cluster.kdl"), text.replace(form, base)).unwrap();
        seed.compile(&format!("{name}/cluster.kdl"), &format!("{name}.oci"), &[]);
    }
    let spec_layers = layers(&seed.path("nginx.oci"));
    assert!(spec_layers.starts_with(&lower), "{lower:?}\n{spec_layers:?}");
    assert!(spec_layers.len() > lower.len() + 1, "nginx's layers are on top");
    for (name, _) in forms {
        let layout = seed.path(&format!("{name}.oci"));
        assert_valid(&layout);
        assert_eq!(layers(&layout), spec_layers, "{name}");
        // Configuration and plan are the same, too. What may differ is an annotation: the name of a base in a
        // registry, and the derivation of the plan, one of whose inputs was known in another form.
        let config = |layout: &Path| document(layout, &root_digest(layout))["config"]["digest"].clone();
        assert_eq!(config(&layout), config(&seed.path("nginx.oci")), "{name}");
        if name != "by-reference" {
            assert_eq!(root_digest(&layout), root_digest(&seed.path("by-layout.oci")), "{name}");
        }
    }
    // The plan goes on where the base's ends.
    let plan = plan(&seed, "by-reference.oci");
    let steps: Vec<String> = plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| {
            let said = |key: &str| step[key].as_str().map(|name| format!("{key} {name}"));
            said("apply").or_else(|| said("wait")).or_else(|| said("run")).unwrap()
        })
        .collect();
    let expected = [
        "apply kyverno",
        "wait kyverno",
        "apply redirect",
        "wait redirect",
        "run kubectl run nginx --image=nginx:latest",
    ];
    assert_eq!(steps, expected);
}

#[test]
fn a_second_compile_needs_no_network_and_builds_nothing() {
    let Some(seed) = Seed::new() else { return };
    let (base, nginx) = seed.compile_both();
    seed.upstream.stop();
    let json = |spec: &str| -> Value {
        let mut command =
            seed.kic("store", &["compile", spec, "--no-output", "--locked", "--offline", "--format", "json"]);
        serde_json::from_str(&stdout(&mut command)).unwrap()
    };
    for (spec, digest) in [("kyverno-base/cluster.kdl", &base), ("my-nginx/cluster.kdl", &nginx)] {
        let compiled = json(spec);
        assert_eq!(compiled["digest"].as_str().unwrap(), digest);
        for layer in compiled["platforms"][0]["layers"].as_array().unwrap() {
            assert_eq!(layer["outcome"], "reused", "{layer}");
        }
        let plan: Value = serde_json::from_str(&stdout(
            &mut seed.kic("store", &["plan", spec, "--offline", "--format", "json"]),
        ))
        .unwrap();
        let actions: Vec<_> =
            plan.as_array().unwrap().iter().map(|step| step["action"].as_str().unwrap()).collect();
        assert!(!actions.is_empty() && actions.iter().all(|action| *action == "reuse"), "{plan}");
    }
    // A registry that is gone matters no more than one that may not be asked.
    let mut command = seed.kic("store", &["compile", "my-nginx/cluster.kdl", "--no-output", "--quiet"]);
    assert_eq!(stdout(&mut command).trim(), nginx);
    // An empty store has nothing to go on with.
    let output = seed
        .kic("other-store", &["compile", "my-nginx/cluster.kdl", "-o", "new.oci", "--offline"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("offline"), "{}", shown(&output));
    assert!(!seed.path("new.oci").exists());
}

#[test]
fn the_lock_keeps_digests_until_it_is_told_to_move_them() {
    let Some(seed) = Seed::new() else { return };
    let spec = "my-nginx/cluster.kdl";
    let fails = |arguments: &[&str], code: &str| {
        let output = seed.kic("store", arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
        assert!(String::from_utf8_lossy(&output.stderr).contains(code), "{}", shown(&output));
    };
    fails(&["compile", spec, "-o", "no.oci", "--locked"], "lock-missing");
    assert!(!seed.path("no.oci").exists() && !seed.path("my-nginx/kic.lock").exists());
    let said = stdout(&mut seed.kic("store", &["lock", spec]));
    let nginx = Digest::of(&seed.nginx_index).to_string();
    let lock = fs::read_to_string(seed.path("my-nginx/kic.lock")).unwrap();
    assert!(said.contains(&nginx) && lock.contains(&nginx), "{said}{lock}");
    assert!(lock.contains(&seed.nginx[0].digest()), "the platform's digest: {lock}");
    // The base is a spec, and has its own lock.
    let base_lock = fs::read_to_string(seed.path("kyverno-base/kic.lock")).unwrap();
    assert!(
        base_lock.contains(&seed.kyverno.digest()) && !lock.contains(&seed.kyverno.digest()),
        "{base_lock}{lock}"
    );
    let first = seed.compile(spec, "first.oci", &["--locked"]);
    assert_eq!(fs::read_to_string(seed.path("my-nginx/kic.lock")).unwrap(), lock);

    // The tag moves; the image does not.
    let newer = SyntheticImage::new(Family::Oci, "amd64", &[(50, 400_000)]);
    newer.push(&seed.upstream, "library/nginx", None);
    let newer_index = index(Family::Oci, std::slice::from_ref(&newer));
    seed.upstream.push_manifest("library/nginx", "latest", Family::Oci.types()[0], &newer_index);
    assert_eq!(seed.compile(spec, "second.oci", &[]), first);
    assert_eq!(
        stdout(&mut seed.kic("fresh-store", &["compile", spec, "--no-output", "--quiet"])).trim(),
        first
    );
    assert_eq!(fs::read_to_string(seed.path("my-nginx/kic.lock")).unwrap(), lock);

    // Until it is told to.
    let said = stdout(&mut seed.kic("store", &["lock", spec, "--update", "docker.io/library/nginx:latest"]));
    let newer_digest = Digest::of(&newer_index).to_string();
    assert!(said.contains(&nginx) && said.contains(&newer_digest), "{said}");
    let third = seed.compile(spec, "third.oci", &["--locked"]);
    assert_ne!(third, first);
    fails(&["lock", spec, "--update", "docker.io/library/redis:latest"], "unknown-pin");

    // A new image in the spec: refused when locked, added when not, the other pins kept.
    fs::write(seed.path("my-nginx/imageList"), "nginx:latest\nghcr.io/kyverno/kyverno:v1.5.8\n").unwrap();
    fails(&["compile", spec, "--no-output", "--locked"], "lock-missing");
    seed.compile(spec, "fourth.oci", &[]);
    let lock = fs::read_to_string(seed.path("my-nginx/kic.lock")).unwrap();
    assert!(lock.contains(&newer_digest) && lock.contains(&seed.kyverno.digest()), "{lock}");
}

#[test]
fn inspect_says_the_same_of_a_layout_an_archive_and_a_registry() {
    let (Some(skopeo), Some(seed)) = (peer("skopeo"), Seed::new()) else { return };
    seed.compile_both();
    seed.compile("my-nginx/cluster.kdl", "nginx.tar", &[]);
    let reference = format!("{}/own/my-nginx:v1.19.8", seed.upstream.host);
    seed.push(&skopeo, "oci:nginx.oci:v1.19.8", "own/my-nginx:v1.19.8");
    let inspect = |image: &str, store: &str| -> Value {
        let text = stdout(&mut seed.kic(store, &["inspect", image, "--format", "json"]));
        let mut inspection: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(inspection["image"], image);
        inspection.as_object_mut().unwrap().remove("image");
        inspection
    };
    let layout = inspect("nginx.oci", "store");
    assert_eq!(inspect("nginx.tar", "other"), layout);
    assert_eq!(inspect("oci:nginx.oci:v1.19.8", "another"), layout);
    // From a store that has nothing: the registry is read, not remembered.
    assert_eq!(inspect(&reference, "empty"), layout);
    assert_eq!(layout["digest"].as_str().unwrap(), root_digest(&seed.path("nginx.oci")));
    let image = &layout["platforms"][0];
    let kinds: Vec<_> =
        image["layers"].as_array().unwrap().iter().map(|layer| layer["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds[..3], ["base"; 3]);
    for kind in ["manifests", "policies", "readiness", "registry-cache", "registry-catalogue", "launch"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    let names: Vec<_> = image["plan"]["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["reference"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "docker.io/library/nginx:latest",
            "ghcr.io/kyverno/kyverno:v1.5.8",
            "ghcr.io/kyverno/kyvernopre:v1.5.8"
        ]
    );
    let text = stdout(&mut seed.kic("store", &["inspect", "nginx.oci"]));
    assert!(
        text.contains("docker.io/library/nginx:latest")
            && text.contains("run kubectl run nginx --image=nginx:latest"),
        "{text}"
    );
}

#[test]
fn kyvernos_own_manifest_brings_its_two_images_into_the_cache() {
    let (Some(data), Some(seed)) = (shared_data(), Seed::new()) else { return };
    let manifest = data.join("kyverno/install-v1.5.8.yaml");
    let original = fs::read(&manifest).unwrap();
    fs::write(seed.path("kyverno-base/etc/install.yaml"), &original).unwrap();
    let spec = seed.path("kyverno-base/cluster.kdl");
    let text = fs::read_to_string(&spec).unwrap();
    assert!(text.contains("image-list \"imageList\""));
    fs::write(&spec, text.replace("image-list \"imageList\"", "discover")).unwrap();
    seed.compile("kyverno-base/cluster.kdl", "base.oci", &[]);
    assert_valid(&seed.path("base.oci"));
    let plan = plan(&seed, "base.oci");
    let names: Vec<_> =
        plan["images"].as_array().unwrap().iter().map(|image| image["reference"].as_str().unwrap()).collect();
    assert_eq!(names, ["ghcr.io/kyverno/kyverno:v1.5.8", "ghcr.io/kyverno/kyvernopre:v1.5.8"]);
    stdout(&mut seed.kic("store", &["unpack", "base.oci", "root"]));
    let unpacked = fs::read(seed.path("root/manifests/kyverno/install.yaml")).unwrap();
    assert!(unpacked == original, "a manifest without changes keeps its bytes");
}

#[test]
fn images_of_two_platforms_are_cached_for_both() {
    let Some(seed) = Seed::new() else { return };
    let text = "cluster \"both\" version=\"v1\" {\n    platform \"linux/amd64\" \"linux/arm64\"\n    base scratch\n    \
                registry \"sea.hub:5000\" {\n        image \"nginx\"\n    }\n}\n";
    fs::write(seed.path("cluster.kdl"), text).unwrap();
    seed.compile("cluster.kdl", "both.oci", &[]);
    assert_valid(&seed.path("both.oci"));
    let index = document(&seed.path("both.oci"), &root_digest(&seed.path("both.oci")));
    let platforms: Vec<_> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|child| &child["platform"]["architecture"])
        .collect();
    assert_eq!(platforms, ["amd64", "arm64"]);
    seed.upstream.stop();
    for architecture in ["amd64", "arm64"] {
        let root = format!("root-{architecture}");
        let platform = format!("linux/{architecture}");
        stdout(&mut seed.kic("store", &["unpack", "both.oci", &root, "--platform", &platform]));
        let registry = StockRegistry::start(&seed.path(&root).join("registry"), true).unwrap();
        assert_eq!(registry.manifest("nginx", "latest"), seed.nginx_index);
        for image in &seed.nginx[..2] {
            assert_eq!(registry.manifest("nginx", &image.digest()), image.manifest);
            for blob in &image.blobs {
                assert!(registry.blob("nginx", &Digest::of(blob).to_string()) == *blob);
            }
        }
    }
}

/// The launch plan of a layout.
fn plan(seed: &Seed, layout: &str) -> Value {
    let text = stdout(&mut seed.kic("store", &["inspect", layout, "--format", "json"]));
    let inspection: Value = serde_json::from_str(&text).unwrap();
    inspection["platforms"][0]["plan"].clone()
}

/// Compares with `tests/seed/expected-digests`: `EPOCH NAME DIGEST` a line, of the current epoch.
fn golden(images: &[(&str, &String)]) {
    let file = root().join("tests/seed/expected-digests");
    let epoch = Epoch::CURRENT.number();
    let ours: String = images.iter().map(|(name, digest)| format!("{epoch} {name} {digest}\n")).collect();
    if updates_expectations() {
        fs::write(&file, &ours).unwrap();
    }
    assert_eq!(ours, fs::read_to_string(&file).unwrap());
}
