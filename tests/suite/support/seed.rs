//! The two specs of the seed, `examples/kyverno-base` and `examples/my-nginx`, and the registry that they need: a stock
//! registry with images made up for the tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::kic::{kic, stdout};
use super::stock_registry::StockRegistry;
use super::synthetic_image::{Family, SyntheticImage, index};
use super::{copy_tree, root};

const BASE: &str = "sealer-io/kubernetes-rawdocker";

/// The upstream registry, what is in it, and a folder with the two specs.
pub struct Seed {
    pub upstream: StockRegistry,
    pub base: SyntheticImage,
    pub kyverno: SyntheticImage,
    pub kyvernopre: SyntheticImage,
    pub nginx: Vec<SyntheticImage>,
    pub nginx_index: Vec<u8>,
    pub folder: tempfile::TempDir,
}

impl Seed {
    pub fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let upstream = StockRegistry::start(&folder.path().join("upstream"), false)?;
        // 10 is in two images; 2 << 20 is worth a layer of its own; the small ones share the catalogue.
        let base = SyntheticImage::new(Family::Docker, "amd64", &[(1, 1_500_000), (2, 40_000), (3, 1000)]);
        let kyverno = SyntheticImage::new(Family::Oci, "amd64", &[(10, 600_000), (11, 2 << 20), (12, 1000)]);
        let kyvernopre = SyntheticImage::new(Family::Docker, "amd64", &[(10, 600_000), (13, 700_000)]);
        let nginx = vec![
            SyntheticImage::new(Family::Oci, "amd64", &[(20, 3 << 20), (21, 50_000), (22, 1000)]),
            SyntheticImage::new(Family::Oci, "arm64", &[(30, 3 << 20), (31, 50_000)]),
            SyntheticImage::new(Family::Oci, "unknown", &[(40, 1000)]),
        ];
        let nginx_index = index(Family::Oci, &nginx);
        base.push(&upstream, BASE, Some("v1.19.8"));
        kyverno.push(&upstream, "kyverno/kyverno", Some("v1.5.8"));
        kyvernopre.push(&upstream, "kyverno/kyvernopre", Some("v1.5.8"));
        for image in &nginx {
            image.push(&upstream, "library/nginx", None);
        }
        upstream.push_manifest("library/nginx", "latest", Family::Oci.types()[0], &nginx_index);
        for name in ["kyverno-base", "my-nginx"] {
            copy_tree(&root().join("examples").join(name), &folder.path().join(name), 0o644);
        }
        Some(Self { upstream, base, kyverno, kyvernopre, nginx, nginx_index, folder })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// kic in the folder, with all registries of the specs at upstream, and the store of that name.
    pub fn kic(&self, store: &str, arguments: &[&str]) -> Command {
        let mut command = kic(self.folder.path(), &self.path(store));
        command.args(arguments);
        for host in ["docker.io", "ghcr.io", "registry.cn-qingdao.aliyuncs.com"] {
            command.args(["--registry-mirror", &format!("{host}=http://{}", self.upstream.host)]);
        }
        command
    }

    /// Compiles a spec, and returns the digest.
    pub fn compile(&self, spec: &str, output: &str, more: &[&str]) -> String {
        let mut arguments = vec!["compile", spec, "-o", output, "--quiet"];
        arguments.extend(more);
        stdout(&mut self.kic("store", &arguments)).trim().to_owned()
    }

    /// Both images, as layouts `base.oci` and `nginx.oci`.
    pub fn compile_both(&self) -> (String, String) {
        (
            self.compile("kyverno-base/cluster.kdl", "base.oci", &[]),
            self.compile("my-nginx/cluster.kdl", "nginx.oci", &[]),
        )
    }

    /// `skopeo copy SOURCE` to a repository and tag of the upstream registry, digests kept.
    pub fn push(&self, skopeo: &Path, source: &str, to: &str) {
        let mut command = Command::new(skopeo);
        command.args([
            "copy",
            "--quiet",
            "--insecure-policy",
            "--dest-tls-verify=false",
            "--preserve-digests",
            source,
        ]);
        command.current_dir(self.folder.path()).arg(format!("docker://{}/{to}", self.upstream.host));
        stdout(&mut command);
    }

    /// Every image that my-nginx's cluster can ask for.
    pub fn cached(&self) -> [Cached<'_>; 3] {
        let cached = |host, path, tag, manifest, image| Cached { host, path, tag, manifest, image };
        [
            cached("ghcr.io", "kyverno/kyverno", "v1.5.8", &self.kyverno.manifest, &self.kyverno),
            cached("ghcr.io", "kyverno/kyvernopre", "v1.5.8", &self.kyvernopre.manifest, &self.kyvernopre),
            cached("docker.io", "library/nginx", "latest", &self.nginx_index, &self.nginx[0]),
        ]
    }
}

/// An image that is cached.
pub struct Cached<'a> {
    pub host: &'static str,
    pub path: &'static str,
    pub tag: &'static str,
    /// What the tag stands for: its manifest, or an index.
    pub manifest: &'a [u8],
    /// The image of the platform that is cached.
    pub image: &'a SyntheticImage,
}
