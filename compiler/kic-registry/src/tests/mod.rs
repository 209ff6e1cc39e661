//! The behaviour of the client, seen from outside, against servers that misbehave by script.

mod auth;
mod blob;
mod credentials;
mod fetch;
mod network;
mod push;
mod referrers;
mod resolve;
mod tls;
mod unfinished;

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use kic_base::{Digest, ImageReference};

use crate::scripted_server::{Reply, ScriptedServer};
use crate::{Backoff, Registries, RegistryError, Settings};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Quick pauses, and patience where a loaded machine may need it.
fn quick() -> Settings {
    Settings {
        backoff: Backoff {
            first: Duration::from_millis(1),
            most: Duration::from_millis(4),
            longest_retry_after: Duration::from_secs(5),
        },
        ..Settings::default()
    }
}

fn registries() -> Registries {
    Registries::new(quick()).unwrap()
}

fn image(server: &ScriptedServer, rest: &str) -> ImageReference {
    format!("{}/{rest}", server.host()).parse().unwrap()
}

/// An index with white space of its own.
fn index() -> Vec<u8> {
    format!("{{ \"schemaVersion\":2,\n\t\"mediaType\": \"{INDEX}\", \"manifests\" : [] }}\n").into_bytes()
}

fn manifest_reply() -> Reply {
    Reply::new(200).header("Content-Type", INDEX).body(index())
}

/// Bytes that differ from place to place, with a period that is no power of two.
fn content(size: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let block: Vec<u8> = std::iter::repeat_with(next).take(65_521).collect();
    let mut bytes = block.repeat(size / block.len());
    bytes.extend_from_slice(&block[..size - bytes.len()]);
    bytes
}

async fn collect(
    stream: impl Stream<Item = Result<Bytes, RegistryError>> + Send,
) -> Result<Vec<u8>, RegistryError> {
    stream
        .try_fold(Vec::new(), |mut all, bytes| async move {
            all.extend_from_slice(&bytes);
            Ok(all)
        })
        .await
}

fn digest_of(bytes: &[u8]) -> Digest {
    Digest::of(bytes)
}

/// Nobody listens there.
async fn closed_port() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn futures_can_be_spawned() {
    fn send<T: Send>(_: &T) {}
    let registries = registries_without_runtime();
    let image: ImageReference = "localhost:1/a".parse().unwrap();
    let digest = digest_of(b"");
    send(&registries.resolve(&image));
    send(&registries.blob(&image, &digest, 1));
    send(&registries.push_blob(&image, &digest, 0, futures::stream::empty(), None));
    send(&registries.push_manifest(&image, "", b""));
    fn shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    shared(&registries);
}

fn registries_without_runtime() -> Registries {
    Registries::new(quick()).unwrap()
}
