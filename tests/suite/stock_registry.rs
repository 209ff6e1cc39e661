//! kic's registry client against the registry that everybody runs.

use std::io;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use kic_base::{Digest, ImageReference};
use kic_registry::{Pushed, Registries, RegistryError, Settings};

use crate::support::random::Random;
use crate::support::stock_registry::StockRegistry;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[tokio::test]
async fn the_stock_registry_takes_and_gives_everything() {
    let folder = tempfile::tempdir().unwrap();
    let Some(registry) = StockRegistry::start(folder.path(), false) else { return };
    let registries = Registries::new(Settings::default()).unwrap();
    let image = |text: &str| format!("{}/{text}", registry.host).parse::<ImageReference>().unwrap();
    let error = registries.resolve(&image("a")).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
    // The largest goes up in several chunks, and comes down in several ranges at once.
    for size in [0, 1000, 100 << 20] {
        let bytes = Bytes::from(Random::new(size as u64).bytes(size));
        let digest = Digest::of(&bytes);
        let push = async |name: &str, from: Option<&ImageReference>| {
            let pieces: Vec<io::Result<Bytes>> =
                (0..size).step_by(50_000).map(|at| Ok(bytes.slice(at..size.min(at + 50_000)))).collect();
            registries
                .push_blob(&image(name), &digest, size as u64, stream::iter(pieces), from)
                .await
                .unwrap()
        };
        assert_eq!(push("a/b", None).await, Pushed::Uploaded);
        assert_eq!(push("a/b", None).await, Pushed::Existed);
        assert_eq!(push("c", Some(&image("a/b"))).await, Pushed::Mounted);
        for name in ["a/b", "c"] {
            let pieces: Vec<_> = registries.blob(&image(name), &digest, size as u64).collect().await;
            let got: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.unwrap()).collect();
            assert!(got == bytes, "{size} bytes from {name}");
            assert!(registry.blob(name, &digest.to_string()) == bytes, "{size} bytes from {name}");
        }
    }
    let index =
        format!("{{\"schemaVersion\": 2,\n  \"mediaType\": \"{INDEX}\", \"manifests\": []}}").into_bytes();
    let digest = registries.push_manifest(&image("a/b:c"), INDEX, &index).await.unwrap();
    for name in ["a/b:c".to_owned(), format!("a/b@{digest}")] {
        let manifest = registries.resolve(&image(&name)).await.unwrap();
        assert_eq!((&manifest.bytes[..], manifest.media_type.as_str()), (&index[..], INDEX));
    }
}
