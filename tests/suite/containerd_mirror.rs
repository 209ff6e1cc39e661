//! containerd pulls through the `hosts.toml` files of `std:redirect` from a stock registry on the cache of an image.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::containerd::Containerd;
use crate::support::image_layout::root_digest;
use crate::support::kic::{kic, stdout};
use crate::support::stock_registry::StockRegistry;
use crate::support::{copy_tree, root};

/// The name, behind the registry's host, that a request for a manifest asks for.
fn name_of(request: &str) -> Option<String> {
    let target = request.split('"').nth(1)?.split(' ').nth(1)?;
    let (repository, version) = target.strip_prefix("/v2/")?.split('?').next()?.rsplit_once("/manifests/")?;
    let separator = if version.contains(':') { '@' } else { ':' };
    Some(format!("{repository}{separator}{version}"))
}

#[test]
fn containerd_pulls_what_is_pinned_through_the_mirrors() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // The registry comes first, since the spec names its port; it reads its folder when it is asked.
    let Some(registry) = StockRegistry::start(&folder.join("root/registry"), true) else { return };
    fs::create_dir(folder.join("containerd")).unwrap();
    let Some(daemon) = Containerd::start(&folder.join("containerd")) else { return };
    let ours =
        |arguments: &[&str]| stdout(kic(folder, &folder.join("store")).args(arguments)).trim().to_owned();

    // Two images, so that a pull of the wrong one shows.
    copy_tree(&root().join("examples/hello/greeter-image"), &folder.join("one"), 0o644);
    let two = "cluster \"two\" version=\"v1\" {\n    base \"scratch\"\n    files \"two\" { text \"/etc/two\" \"two\\n\"; }\n}\n";
    fs::write(folder.join("two.kdl"), two).unwrap();
    ours(&["compile", "two.kdl", "--quiet", "-o", "two"]);
    let (one, two) = (root_digest(&folder.join("one")), root_digest(&folder.join("two")));
    assert_ne!(one, two);
    let images = [
        ("docker.io/library/app:v1".to_owned(), "one", &one),
        // Another image of the same path: the host tells them apart.
        ("ghcr.io/library/app:v1".to_owned(), "two", &two),
        (format!("quay.io/example/pinned@{two}"), "two", &two),
        // Of hosts that no file is named for, one of them with a port.
        ("images.example.com/team/app:v2".to_owned(), "two", &two),
        ("images.example.com:5000/other/app:v3".to_owned(), "one", &one),
    ];

    let host = &registry.host;
    let mut spec = format!(
        "cluster \"mirrored\" version=\"v1\" {{\n    base \"scratch\"\n    \
         use \"std:redirect\" to=\"{host}\" engine=\"containerd\" scheme=\"http\"\n    registry \"{host}\" {{\n"
    );
    for (name, layout, _) in &images {
        let short_names = if name.starts_with("ghcr.io/") { " short-names=#false" } else { "" };
        spec.push_str(&format!("        image \"oci:{layout}\" as=\"{name}\"{short_names}\n"));
    }
    spec.push_str("    }\n}\n");
    fs::write(folder.join("cluster.kdl"), spec).unwrap();
    ours(&["compile", "--quiet", "--offline", "-o", "mirrored"]);
    ours(&["unpack", "--quiet", "mirrored", "root"]);

    let hosts = folder.join("root/etc/containerd/certs.d");
    for (name, _, digest) in &images {
        let before = registry.requests().len();
        let mut pull = daemon.ctr(&["images", "pull", "--snapshotter", "native"]);
        pull.args(["--platform", "linux/amd64", "--hosts-dir"]).arg(&hosts).arg(name);
        if Containerd::unpacking(&mut pull).is_none() {
            return;
        }
        let list = stdout(&mut daemon.ctr(&["images", "list", &format!("name=={name}")]));
        let pulled: Vec<&str> = list.lines().skip(1).flat_map(str::split_whitespace).collect();
        assert_eq!((pulled[0], pulled[2]), (name.as_str(), digest.as_str()), "{list}");

        // By its name first; what belongs to the image is asked for by digest.
        let requests = registry.requests()[before..].to_owned();
        let asked: BTreeSet<String> = requests.lines().filter_map(name_of).collect();
        let said = ours(&["redirect", "--format", "json", "--offline", name]);
        let said: Value = serde_json::from_str(&said).unwrap();
        let said = &said.as_array().unwrap()[0];
        let becomes = said["becomes"].as_str().unwrap().strip_prefix(&format!("{host}/")).unwrap();
        assert_eq!((&said["engine"], &said["answered"]), (&"containerd".into(), &true.into()), "{said}");
        let repository = becomes.split(['@', ':']).next().unwrap();
        let by_digest = format!("{repository}@{digest}");
        assert!(asked.contains(becomes), "{becomes} for {name}:\n{requests}");
        assert!(
            asked.iter().all(|name| name == becomes || *name == by_digest),
            "{becomes} for {name}:\n{requests}"
        );
    }
}
