//! A registry that serves OCI layouts of this machine, with the manners that a test wants.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kic_registry::scripted_server::{Reply, Request};
use serde_json::Value;

use super::image_layout::{index, root_digest};
use super::server::Server;

/// A registry on a free loopback port. It lives as long as the value.
pub struct Upstream {
    server: Server,
}

impl Upstream {
    /// Serves each layout as the image `(REPOSITORY, TAG)`. `manner` changes what is answered.
    pub fn serve(
        images: &[(&str, &str, &Path)],
        manner: impl Fn(&Request, Reply) -> Reply + Send + 'static,
    ) -> Self {
        let mut tags: BTreeMap<String, String> = BTreeMap::new();
        let mut blobs: BTreeMap<String, PathBuf> = BTreeMap::new();
        for (repository, tag, layout) in images {
            let digest = root_digest(layout);
            tags.insert(format!("/v2/{repository}/manifests/{tag}"), digest);
            for entry in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
                let path = entry.unwrap().path();
                blobs.insert(format!("sha256:{}", path.file_name().unwrap().to_str().unwrap()), path);
            }
            assert!(index(layout)["manifests"].is_array());
        }
        let server = Server::start(move |request| {
            let reply = answer(request, &tags, &blobs);
            manner(request, reply)
        });
        Self { server }
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        self.server.host()
    }

    /// All requests so far, as `METHOD TARGET`.
    pub fn asked(&self) -> Vec<String> {
        self.server.asked()
    }
}

/// Whether a request is for the bytes of a blob.
pub fn is_blob(request: &Request) -> bool {
    request.method == "GET" && request.path().contains("/blobs/")
}

fn answer(request: &Request, tags: &BTreeMap<String, String>, blobs: &BTreeMap<String, PathBuf>) -> Reply {
    let path = request.path();
    if path == "/v2/" {
        return Reply::new(200);
    }
    let digest = match tags.get(path) {
        Some(digest) => digest.as_str(),
        None => path.rsplit('/').next().unwrap_or_default(),
    };
    let Some(bytes) = blobs.get(digest).and_then(|path| fs::read(path).ok()) else { return Reply::new(404) };
    if !path.contains("/manifests/") {
        return Reply::file(request, &bytes).header("docker-content-digest", digest);
    }
    let document: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let media_type = document["mediaType"].as_str().unwrap_or("application/vnd.oci.image.manifest.v1+json");
    Reply::new(200).header("content-type", media_type).header("docker-content-digest", digest).body(bytes)
}
