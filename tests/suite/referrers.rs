//! Images kept whole: an index with several platforms, and what refers to it, come into the cache, and out of it again by
//! the clients of others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kic_base::Digest;
use kic_registry::scripted_server::{Reply, ScriptedServer};
use serde_json::{Value, json};

use crate::support::image_layout::blob;
use crate::support::kic::{kic, shown, stdout};
use crate::support::peers::peer;
use crate::support::stock_registry::StockRegistry;
use crate::support::synthetic_image::{Family, SyntheticImage};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// A manifest that refers to `subject`, and its two blobs.
struct Artifact {
    manifest: Vec<u8>,
    blobs: [Vec<u8>; 2],
}

impl Artifact {
    fn new(kind: &str, subject: Option<&[u8]>) -> Self {
        let blobs = [b"{}".to_vec(), format!("{kind} of something").into_bytes()];
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": format!("application/vnd.example.{kind}"),
            "config": { "mediaType": EMPTY, "digest": Digest::of(&blobs[0]), "size": 2 },
            "layers": [{ "mediaType": "text/plain", "digest": Digest::of(&blobs[1]), "size": blobs[1].len() }],
            "annotations": { "org.example.kind": kind },
        });
        if let Some(subject) = subject {
            let media_type =
                if subject.windows(11).any(|word| word == b"\"manifests\"") { INDEX } else { MANIFEST };
            manifest["subject"] =
                json!({ "mediaType": media_type, "digest": Digest::of(subject), "size": subject.len() });
        }
        Self { manifest: serde_json::to_vec_pretty(&manifest).unwrap(), blobs }
    }

    fn push(&self, registry: &StockRegistry, name: &str) {
        self.blobs.iter().for_each(|blob| registry.push_blob("shop", blob));
        registry.push_manifest("shop", name, MANIFEST, &self.manifest);
    }

    fn descriptor(&self) -> Value {
        json!({ "mediaType": MANIFEST, "digest": Digest::of(&self.manifest), "size": self.manifest.len() })
    }
}

/// An index of two platforms with an attestation for each inside, a signature in cosign's way, and in the way of OCI a bill
/// of materials, which has a signature of its own.
struct Shop {
    images: [SyntheticImage; 2],
    attestations: [Artifact; 2],
    index: Vec<u8>,
    cosign: Artifact,
    materials: Artifact,
    signature: Artifact,
}

impl Shop {
    fn new() -> Self {
        let images = ["amd64", "arm64"].map(|name| SyntheticImage::new(Family::Oci, name, &[(50, 3000)]));
        let attestations = ["provenance-1", "provenance-2"].map(|kind| Artifact::new(kind, None));
        let mut manifests: Vec<Value> = Vec::new();
        for image in &images {
            manifests.push(json!({
                "mediaType": MANIFEST, "digest": image.digest(), "size": image.manifest.len(),
                "platform": { "os": "linux", "architecture": image.architecture },
            }));
        }
        for (image, attestation) in images.iter().zip(&attestations) {
            let mut descriptor = attestation.descriptor();
            descriptor["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
            descriptor["annotations"] = json!({
                "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.digest(),
            });
            manifests.push(descriptor);
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        let index = serde_json::to_vec_pretty(&index).unwrap();
        let materials = Artifact::new("materials", Some(&images[0].manifest));
        let signature = Artifact::new("signature", Some(&materials.manifest));
        Self { attestations, cosign: Artifact::new("cosign", None), materials, signature, index, images }
    }

    fn tag(subject: &[u8]) -> String {
        format!("sha256-{}", Digest::of(subject).hex())
    }

    /// Pushes it all, as clients do for a registry that keeps no list of referrers.
    fn push(&self, registry: &StockRegistry) {
        for image in &self.images {
            image.push(registry, "shop", None);
        }
        for artifact in self.attestations.iter().chain([&self.materials, &self.signature]) {
            artifact.push(registry, &Digest::of(&artifact.manifest).to_string());
        }
        registry.push_manifest("shop", "v1", INDEX, &self.index);
        self.cosign.push(registry, &format!("{}.sig", Self::tag(&self.index)));
        for (subject, artifact) in
            [(&self.images[0].manifest, &self.materials), (&self.materials.manifest, &self.signature)]
        {
            let list =
                json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [artifact.descriptor()] });
            registry.push_manifest("shop", &Self::tag(subject), INDEX, list.to_string().as_bytes());
        }
    }
}

fn spec(folder: &Path, host: &str, registry: &str) {
    let text = format!(
        "cluster \"shop\" version=\"v1\" {{\nplatform \"linux/amd64\" \"linux/arm64\"\nbase scratch\n\
         registry \"sea.hub:5000\"{registry} {{ image \"{host}/shop:v1\" as=\"example.com/shop:v1\"; }}\n}}\n"
    );
    fs::write(folder.join("cluster.kdl"), text).unwrap();
}

fn compile(folder: &Path, store: &str, more: &[&str]) -> String {
    let mut command = kic(folder, &folder.join(store));
    stdout(command.args(["compile", "--quiet", "-o", "out.oci"]).args(more)).trim().to_owned()
}

/// The registry folder of the compiled image.
fn unpack(folder: &Path) -> PathBuf {
    let root = folder.join("root");
    drop(fs::remove_dir_all(&root));
    let mut command = kic(folder, &folder.join("store"));
    stdout(command.args(["unpack", "out.oci", "root", "--platform", "linux/amd64"]));
    root.join("registry")
}

#[test]
fn an_index_and_what_refers_to_it_come_out_of_a_stock_registry_by_the_clients_of_others() {
    let (Some(crane), Some(oras)) = (peer("crane"), peer("oras")) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    let Some(upstream) = StockRegistry::start(&folder.join("upstream"), false) else { return };
    let shop = Shop::new();
    shop.push(&upstream);
    spec(folder, &upstream.host, " with-referrers=#true");
    let digest = compile(folder, "store", &[]);

    // The lock says all of it, and nothing but the lock and the store is needed any more.
    let lock = fs::read_to_string(folder.join("kic.lock")).unwrap();
    assert_eq!(lock.matches("referrer ").count(), 3, "{lock}");
    assert_eq!(compile(folder, "store", &["--locked", "--offline"]), digest);
    assert_eq!(compile(folder, "other-store", &["--locked"]), digest);
    upstream.stop();

    let registry = StockRegistry::start(&unpack(folder), true).unwrap();
    let mut verify = kic(folder, &folder.join("store"));
    stdout(verify.args(["verify", "out.oci"]));
    let run = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        stdout(command.args(arguments).env("HOME", folder).current_dir(folder))
    };
    // By tag, by the digest of the index, and by that of each platform.
    let index = Digest::of(&shop.index);
    for name in [format!("{}/shop:v1", registry.host), format!("{}/shop@{index}", registry.host)] {
        assert_eq!(run(&crane, &["manifest", "--insecure", &name]).as_bytes(), shop.index);
        for image in &shop.images {
            let platform = format!("linux/{}", image.architecture);
            let found = run(&crane, &["digest", "--insecure", "--platform", &platform, &name]);
            assert_eq!(found.trim(), image.digest());
            run(&crane, &["pull", "--insecure", "--platform", &platform, &name, "pulled.tar"]);
            let of_platform = format!("{}/shop@{}", registry.host, image.digest());
            run(&crane, &["validate", "--insecure", "--remote", &of_platform]);
        }
    }
    // Nothing that the index lists is missing, attestations included.
    let from = format!("{}/shop@{index}", registry.host);
    run(&oras, &["copy", "--from-plain-http", &from, "--to-oci-layout", "copy:v1"]);
    for artifact in &shop.attestations {
        assert_eq!(
            fs::read(blob(&folder.join("copy"), &Digest::of(&artifact.manifest).to_string())).unwrap(),
            artifact.manifest
        );
    }
    for (subject, artifact) in
        [(&shop.images[0].manifest, &shop.materials), (&shop.materials.manifest, &shop.signature)]
    {
        let name = format!("{}/shop@{}", registry.host, Digest::of(subject));
        let discovered = run(&oras, &["discover", "--plain-http", "--format", "json", &name]);
        let digest = Digest::of(&artifact.manifest).to_string();
        assert!(discovered.contains(&digest), "{digest} is not in {discovered}");
        assert!(discovered.contains("application/vnd.example."), "{discovered}");
        assert_eq!(registry.manifest("shop", &digest), artifact.manifest);
        assert_eq!(registry.blob("shop", &Digest::of(&artifact.blobs[1]).to_string()), artifact.blobs[1]);
    }
    assert_eq!(registry.manifest("shop", &format!("{}.sig", Shop::tag(&shop.index))), shop.cosign.manifest);
    let list = Shop::tag(&shop.materials.manifest);
    assert_eq!(registry.manifest("example.com/shop", &list), registry.manifest("shop", &list));
}

#[test]
fn without_the_word_nothing_that_refers_to_an_image_comes_along() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    let Some(upstream) = StockRegistry::start(&folder.join("upstream"), false) else { return };
    let shop = Shop::new();
    shop.push(&upstream);
    spec(folder, &upstream.host, "");
    let without = compile(folder, "store", &[]);
    let registry = StockRegistry::start(&unpack(folder), true).unwrap();
    assert_eq!(registry.manifest("shop", "v1"), shop.index);
    let blobs =
        fs::read_dir(folder.join("root/registry/docker/registry/v2/repositories/shop/_manifests/tags"));
    assert_eq!(blobs.unwrap().count(), 1);

    // A lock that says nothing of them is stale once they are asked for.
    spec(folder, &upstream.host, " with-referrers=#true");
    let mut command = kic(folder, &folder.join("store"));
    let output = command.args(["compile", "--locked", "--format", "json", "-o", "out.oci"]).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(said[0]["code"], "lock-stale", "{}", shown(&output));
    let with = compile(folder, "store", &[]);
    assert_ne!(with, without);
    spec(folder, &upstream.host, "");
    assert_eq!(compile(folder, "store", &[]), without);
}

/// A registry that keeps a list of referrers, page by page, and has something of an older kind in it.
#[test]
fn a_list_of_referrers_becomes_the_index_that_registries_without_one_want() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    let shop = Shop::new();
    let listed = shop.materials.descriptor();
    let older = json!({ "mediaType": "application/vnd.oci.artifact.manifest.v1+json", "digest": Digest::of(b"older"), "size": 5 });
    let mut bytes: Vec<Vec<u8>> = vec![shop.images[0].manifest.clone()];
    bytes.extend(shop.images[0].blobs.iter().cloned());
    bytes.push(shop.materials.manifest.clone());
    bytes.extend(shop.materials.blobs.iter().cloned());
    let (image, subject) = (shop.images[0].digest(), Digest::of(&shop.images[0].manifest));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(ScriptedServer::start(move |request| {
        let path = request.path();
        let page = |what: &Value| {
            let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [what] });
            Reply::new(200).header("content-type", INDEX).body(list.to_string())
        };
        if path == format!("/v2/shop/referrers/{subject}") {
            return if request.target.ends_with("?page=2") {
                page(&older)
            } else {
                page(&listed).header("link", &format!("<{path}?page=2>; rel=\"next\""))
            };
        }
        if path.contains("/referrers/") {
            let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] });
            return Reply::new(200).header("content-type", INDEX).body(list.to_string());
        }
        let name = path.rsplit('/').next().unwrap();
        let name = if name == "v1" { image.as_str() } else { name };
        match bytes.iter().find(|bytes| Digest::of(bytes).to_string() == name) {
            Some(found) if path.contains("/manifests/") => {
                Reply::new(200).header("content-type", MANIFEST).body(found)
            }
            Some(found) => Reply::file(request, found),
            None => Reply::new(404),
        }
    }));
    let text = format!(
        "cluster \"shop\" {{\nbase scratch\nregistry \"sea.hub:5000\" {{ image \"{}/shop:v1\" as=\"example.com/shop:v1\" \
         with-referrers=#true; }}\n}}\n",
        server.host()
    );
    fs::write(folder.join("cluster.kdl"), text).unwrap();
    let mut command = kic(folder, &folder.join("store"));
    let output = command.args(["compile", "--format", "json", "-o", "out.oci"]).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let said: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((said.as_array().unwrap().len(), &said[0]["code"]), (1, &json!("referrer-left-out")));

    let folder_of_registry = unpack(folder);
    let Some(registry) = StockRegistry::start(&folder_of_registry, true) else { return };
    let list = registry.manifest("shop", &Shop::tag(&shop.images[0].manifest));
    let list: Value = serde_json::from_slice(&list).unwrap();
    let mut descriptor = shop.materials.descriptor();
    descriptor["artifactType"] = json!("application/vnd.example.materials");
    descriptor["annotations"] = json!({ "org.example.kind": "materials" });
    assert_eq!(list["manifests"], json!([descriptor]));
}

/// An index of nearly four MiB, which is what a registry must take, in a repository with thousands of tags.
#[test]
fn a_very_large_index_among_thousands_of_tags_comes_and_goes_as_it_is() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    let Some(upstream) = StockRegistry::start(&folder.join("upstream"), false) else { return };
    let image = SyntheticImage::new(Family::Oci, "amd64", &[(60, 3000)]);
    image.push(&upstream, "shop", None);
    let entry = |number: usize| {
        let architecture = if number == 0 { "amd64".to_owned() } else { format!("other{number}") };
        json!({
            "mediaType": MANIFEST, "digest": image.digest(), "size": image.manifest.len(),
            "platform": { "os": "linux", "architecture": architecture }, "annotations": { "long": "x".repeat(500) },
        })
    };
    let manifests: Vec<Value> = (0..5200).map(entry).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }).to_string();
    assert!((3_500_000..4 << 20).contains(&index.len()), "{} bytes", index.len());
    upstream.push_manifest("shop", "v1", INDEX, index.as_bytes());
    let tags = folder.join("upstream/docker/registry/v2/repositories/shop/_manifests/tags");
    for number in 0..3000 {
        let tag = tags.join(format!("v1.{number}/current"));
        fs::create_dir_all(&tag).unwrap();
        fs::write(tag.join("link"), image.digest()).unwrap();
    }
    let text = format!(
        "cluster \"shop\" {{\nbase scratch\nregistry \"sea.hub:5000\" with-referrers=#true {{ image \"{}/shop:v1\" \
         as=\"example.com/shop:v1\"; }}\n}}\n",
        upstream.host
    );
    fs::write(folder.join("cluster.kdl"), text).unwrap();
    compile(folder, "store", &[]);
    let registry = StockRegistry::start(&unpack(folder), true).unwrap();
    assert!(registry.manifest("shop", "v1") == index.as_bytes());
    assert!(registry.manifest("shop", &Digest::of(index.as_bytes()).to_string()) == index.as_bytes());
    assert_eq!(registry.manifest("example.com/shop", &image.digest()), image.manifest);
}
