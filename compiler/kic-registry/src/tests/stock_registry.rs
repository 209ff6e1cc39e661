//! Against the registry that everybody runs. `cargo test -p kic-registry -- --ignored`, with `docker-registry` installed.

use futures::stream;

use super::*;
use crate::Pushed;

#[tokio::test]
#[ignore = "needs docker-registry"]
async fn the_stock_registry_takes_and_gives_everything() {
    let folder = tempfile::tempdir().unwrap();
    let host = closed_port().await;
    let config = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {host}\n",
        folder.path().display()
    );
    std::fs::write(folder.path().join("config.yml"), config).unwrap();
    let mut command = tokio::process::Command::new("docker-registry");
    command.arg("serve").arg(folder.path().join("config.yml")).kill_on_drop(true);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let _registry = command.spawn().unwrap();
    let registries = registries();
    let image = |text: &str| format!("{host}/{text}").parse::<ImageReference>().unwrap();
    let began = std::time::Instant::now();
    while matches!(registries.resolve(&image("a")).await, Err(RegistryError::Unreachable { .. })) {
        assert!(began.elapsed() < Duration::from_secs(30));
    }
    let error = registries.resolve(&image("a")).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
    for size in [0, 1000, 100 << 20] {
        let bytes = Bytes::from(content(size));
        let digest = digest_of(&bytes);
        let items: Vec<_> =
            (0..size).step_by(50_000).map(|at| Ok(bytes.slice(at..size.min(at + 50_000)))).collect();
        let push = async |name: &str, from: Option<&ImageReference>| {
            let body = stream::iter(
                items
                    .iter()
                    .map(|item: &std::io::Result<Bytes>| Ok(item.as_ref().unwrap().clone()))
                    .collect::<Vec<_>>(),
            );
            registries.push_blob(&image(name), &digest, size as u64, body, from).await.unwrap()
        };
        let began = std::time::Instant::now();
        assert_eq!(push("a/b", None).await, Pushed::Uploaded);
        println!("{size} bytes up: {:?}", began.elapsed());
        assert_eq!(push("a/b", None).await, Pushed::Existed);
        assert_eq!(push("c", Some(&image("a/b"))).await, Pushed::Mounted);
        for name in ["a/b", "c"] {
            let began = std::time::Instant::now();
            let got = collect(registries.blob(&image(name), &digest, size as u64)).await.unwrap();
            println!("{size} bytes down: {:?}", began.elapsed());
            assert!(got == bytes);
        }
    }
    let digest = registries.push_manifest(&image("a/b:c"), INDEX, &index()).await.unwrap();
    for name in ["a/b:c".to_owned(), format!("a/b@{digest}")] {
        let manifest = registries.resolve(&image(&name)).await.unwrap();
        assert_eq!((manifest.bytes, manifest.media_type.as_str()), (index(), INDEX));
    }
    assert!(registries.exists(&image("c"), &digest_of(b"")).await.unwrap());
    assert!(!registries.exists(&image("c"), &digest_of(b"nowhere")).await.unwrap());
}
