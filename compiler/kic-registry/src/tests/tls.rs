use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// A certificate authority made for this run, as a file, and a server's side of TLS that it vouches for.
fn authority(names: &[&str]) -> (tempfile::TempDir, PathBuf, Arc<rustls::ServerConfig>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, issuer.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (folder, file, Arc::new(config))
}

fn trusting(file: PathBuf) -> Registries {
    Registries::new(Settings { certificate_files: vec![file], ..quick() }).unwrap()
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_and_loopback_speaks_https_then() {
    let (_folder, file, config) = authority(&["127.0.0.1"]);
    let server = ScriptedServer::start_tls(config, |_| manifest_reply()).await;
    let registries = trusting(file);
    for _ in 0..2 {
        assert_eq!(registries.resolve(&image(&server, "a:b")).await.unwrap().bytes, index());
    }
    assert_eq!(server.asked(), ["HEAD /v2/", "GET /v2/a/manifests/b", "GET /v2/a/manifests/b"]);
    let url = server.url("x").replace("http:", "https:");
    assert_eq!(collect(registries.fetch(&url, None)).await.unwrap(), index());
}

#[tokio::test]
async fn a_loopback_host_without_tls_is_spoken_to_by_http_all_the_same() {
    let (_folder, file, _) = authority(&["127.0.0.1"]);
    let server = ScriptedServer::start(|_| manifest_reply()).await;
    trusting(file).resolve(&image(&server, "a")).await.unwrap();
    assert_eq!(server.asked().last().unwrap(), "GET /v2/a/manifests/latest");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_or_for_another_name_is_a_tls_error() {
    let (_folder, _, config) = authority(&["127.0.0.1"]);
    let server = ScriptedServer::start_tls(config, |_| manifest_reply()).await;
    let (_other_folder, other, _) = authority(&["127.0.0.1"]);
    let error = trusting(other).resolve(&image(&server, "a")).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Tls { .. }), "{error}");
    assert_eq!(error.place().unwrap().attempts, 1);

    let (_folder, file, config) = authority(&["elsewhere.example"]);
    let server = ScriptedServer::start_tls(config, |_| manifest_reply()).await;
    let error = trusting(file).resolve(&image(&server, "a")).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Tls { reason, .. } if reason.contains("name")), "{error}");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn an_https_address_without_tls_behind_it_is_a_tls_error() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/x", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut hello = [0; 16 << 10];
            let _ = stream.read(&mut hello).await;
            let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nno TLS here").await;
        }
    });
    let error = collect(registries().fetch(&url, None)).await.unwrap_err();
    assert!(matches!(error, RegistryError::Tls { .. }), "{error}");
    server.abort();
}

#[tokio::test]
async fn https_is_not_left_for_http() {
    let (_folder, file, config) = authority(&["127.0.0.1"]);
    let server = ScriptedServer::start_tls(config, |request| match request.path() {
        "/realm" => Reply::new(401).header("www-authenticate", "Bearer realm=\"http://plain.invalid/t\""),
        path if path.starts_with("/v2/a/manifests") => {
            Reply::new(401).header("www-authenticate", "Bearer realm=\"http://plain.invalid/t?hidden\"")
        }
        "/v2/" => Reply::new(200),
        _ => Reply::new(302).header("location", "http://plain.invalid/x?hidden"),
    })
    .await;
    let registries = trusting(file);
    let error = registries.resolve(&image(&server, "b")).await.unwrap_err();
    assert!(matches!(&error, RegistryError::InsecureRedirect { to, .. } if to == "plain.invalid"), "{error}");
    let error = registries.resolve(&image(&server, "a")).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::BadRealm { realm, .. } if realm == "http://plain.invalid/t"),
        "{error}"
    );
    assert!(!format!("{error:?}").contains("hidden"));
}

#[test]
fn a_file_without_certificates_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, content) in [("empty", ""), ("text", "hello"), ("broken", broken), ("der", "0\u{1}")] {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let settings = Settings { certificate_files: vec![path.clone()], ..quick() };
        let error = Registries::new(settings).unwrap_err();
        assert!(matches!(&error, RegistryError::BadCertificateFile { path: p, .. } if *p == path), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let settings = Settings { certificate_files: vec![folder.path().join("missing")], ..quick() };
    let error = Registries::new(settings).unwrap_err();
    assert!(matches!(error, RegistryError::BadCertificateFile { .. }), "{error}");
}
