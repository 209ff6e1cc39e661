//! A large layer that comes in ranges, from registries that are at their worst with just these.

use std::fs;

use kic_base::Digest;
use kic_registry::scripted_server::{Reply, Request, ScriptedServer};

use crate::support::contents::files;
use crate::support::kic::{kic, shown};
use crate::support::synthetic_image::{Family, SyntheticImage};

/// More than kic takes in one stream.
const LARGE: usize = 20 << 20;

/// Compiles an image of one large layer from a registry that answers for the layer what `manner` makes of the good
/// answer; returns the output, the digests of its layers as kic said them, and the `Range` of each request for the layer.
fn compile(
    manner: impl Fn(&Request, Reply, &[u8]) -> Reply + Send + 'static,
) -> (std::process::Output, Vec<String>, Vec<String>) {
    let image = SyntheticImage::new(Family::Oci, "amd64", &[(9, LARGE)]);
    let layer = Digest::of(&image.blobs[1]).to_string();
    let served = image.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let large = layer.clone();
    let server = runtime.block_on(ScriptedServer::start(move |request| {
        let path = request.path();
        if path.contains("/manifests/") {
            let reply = Reply::new(200).header("content-type", served.media_type);
            reply.header("docker-content-digest", &served.digest()).body(&served.manifest)
        } else if path.ends_with(&large) {
            manner(request, Reply::file(request, &served.blobs[1]), &served.blobs[1])
        } else {
            Reply::file(request, &served.blobs[0])
        }
    }));
    let folder = tempfile::tempdir().unwrap();
    let spec = format!(
        "cluster \"large\" {{\n base scratch\n registry \"sea.hub:5000\" {{ image \"{}/large:v1\" as=\"docker.io/library/large:v1\"; }}\n}}\n",
        server.host()
    );
    fs::write(folder.path().join("cluster.kdl"), spec).unwrap();
    let output = kic(folder.path(), &folder.path().join("store"))
        .args(["compile", "--format", "json", "-o", "out"])
        .output()
        .unwrap();
    // Names in the image have the server's port; what lies in its layers has not.
    let said = serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap_or_default();
    let layers = said.pointer("/platforms/0/layers").and_then(|layers| layers.as_array());
    let digests = layers
        .into_iter()
        .flatten()
        .filter_map(|layer| layer["digest"].as_str().map(str::to_owned))
        .collect();
    if !output.status.success() {
        assert!(!folder.path().join("out").exists());
        let kept = files(&folder.path().join("store/embedded"));
        assert!(!kept.keys().any(|path| path.ends_with(layer.trim_start_matches("sha256:"))), "{kept:?}");
    }
    let requests = server.requests();
    let ranges = requests.iter().filter(|request| request.path().ends_with(&layer));
    let ranges = ranges.map(|request| request.header("range").unwrap_or("").to_owned()).collect();
    (output, digests, ranges)
}

/// The bytes with one of them another, in the second half.
fn damaged(request: &Request, bytes: &[u8]) -> Reply {
    let mut bytes = bytes.to_vec();
    bytes[LARGE - 1000] ^= 1;
    Reply::file(request, &bytes)
}

#[test]
fn ranges_cuts_and_their_absence_make_no_difference() {
    let (output, good, ranges) = compile(|_, reply, _| reply);
    assert!(output.status.success(), "{}", shown(&output));
    assert!(good.len() > 1, "{}", shown(&output));
    assert!(ranges.len() > 2, "{ranges:?}");
    // In the middle of a part, and in the front.
    let (output, cut, _) = compile(|request, reply, _| match request.header("range") {
        Some(range) if range.ends_with("00000-") || request.number % 3 == 2 => reply.cut_after(300_000),
        _ => reply,
    });
    assert_eq!(cut, good, "{}", shown(&output));
    let (output, ignored, ranges) = compile(|_, _, bytes| Reply::new(200).body(bytes));
    assert_eq!(ignored, good, "{}", shown(&output));
    assert!(ranges.len() <= 2, "{ranges:?}");
}

#[test]
fn a_damaged_part_is_found_and_fetched_again_in_one_stream() {
    let (output, healed, ranges) =
        compile(
            |request, reply, bytes| {
                if request.header("range").is_some() { damaged(request, bytes) } else { reply }
            },
        );
    assert!(output.status.success(), "{}", shown(&output));
    let (_, good, _) = compile(|_, reply, _| reply);
    assert_eq!(healed, good);
    assert_eq!(ranges.last().map(String::as_str), Some(""), "{ranges:?}");
}

#[test]
fn damage_that_stays_is_a_wrong_digest_and_nothing_is_kept() {
    let (output, _, _) = compile(|request, _, bytes| damaged(request, bytes));
    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    let said: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(said[0]["code"], "digest-mismatch", "{}", shown(&output));
}
