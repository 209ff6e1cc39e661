use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::auth::{granted, token_registry, with_config, with_folder};
use super::*;

/// A registry with basic auth that takes any credentials.
async fn basic_registry() -> ScriptedServer {
    ScriptedServer::start(|request| match request.header("authorization") {
        Some(_) => manifest_reply(),
        None => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
    })
    .await
}

fn last_authorization(server: &ScriptedServer) -> Option<String> {
    server.requests().last().and_then(|request| request.header("authorization").map(str::to_owned))
}

#[tokio::test]
async fn the_key_of_a_path_comes_before_that_of_its_host() {
    let server = basic_registry().await;
    let host = server.host();
    let config = format!(
        r#"{{"auths":{{
            "http://{host}/v2/":{{"username":"host","password":"x"}},
            "{host}/team":{{"username":"team","password":"x"}},
            "{host}/team/app":{{"username":"app","password":"x"}},
            "{host}/tea":{{"username":"tea","password":"x"}}
        }}}}"#
    );
    let (registries, _folder) = with_config(&config);
    for (repository, user) in [
        ("other", "aG9zdDp4"),
        ("team/other", "dGVhbTp4"),
        ("team/app", "YXBwOng="),
        ("team/app/part", "YXBwOng="),
        ("team/apple", "dGVhbTp4"),
    ] {
        registries.resolve(&image(&server, repository)).await.unwrap();
        assert_eq!(last_authorization(&server), Some(format!("Basic {user}")), "{repository}");
    }
}

#[tokio::test]
async fn public_images_need_no_credentials_while_there_are_some_for_others() {
    let server = token_registry(|_| true, |_, token| granted(token)).await;
    let config = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"bWU6aGlkZGVu"},"ghcr.io":{}},
        "credHelpers":{"gcr.io":"no-such-helper"},"credsStore":"no-such-helper-at-all"}"#;
    let (registries, _folder) = with_config(config);
    registries.resolve(&image(&server, "a")).await.unwrap();
    assert_eq!(server.requests()[1].header("authorization"), None);
    let missing = tempfile::tempdir().unwrap();
    let registries = Registries::new(with_folder(&missing.path().join("nowhere"))).unwrap();
    registries.resolve(&image(&server, "a")).await.unwrap();
}

#[tokio::test]
async fn a_broken_configuration_is_named_without_its_secrets() {
    let server = basic_registry().await;
    let host = server.host();
    for config in [
        r#"{"auths":"hidden"}"#.to_owned(),
        "{hidden".into(),
        format!(r#"{{"auths":{{"{host}":{{"auth":"!hidden!"}}}}}}"#),
        format!(r#"{{"auths":{{"{host}":{{"auth":"aGlkZGVu"}}}}}}"#),
        format!(r#"{{"auths":{{"{host}":{{"auth":"bWU6aGlkZGVu","username":"me","password":"hidden2"}}}}}}"#),
    ] {
        let (registries, folder) = with_config(&config);
        let error = registries.resolve(&image(&server, "a")).await.unwrap_err();
        let RegistryError::DockerConfig { path, .. } = &error else { panic!("{error}") };
        assert_eq!(*path, folder.path().join("config.json"));
        assert!(!error.to_string().contains("hidden"), "{error}");
    }
}

#[tokio::test]
async fn entries_are_decoded_as_docker_decodes_them() {
    let server = basic_registry().await;
    let host = server.host();
    for (entry, expected) in [
        (r#""auth":"bWU6aGlk\nZGVu\r\n""#, Some("bWU6aGlkZGVu")),
        (r#""auth":"bWU6aGlkZGVuAAA=""#, Some("bWU6aGlkZGVu")),
        (r#""auth":"bWU6YTpi""#, Some("bWU6YTpi")),
        (r#""auth":null,"email":"me@example.com""#, None),
        (r#""auth":"","identitytoken":"""#, None),
    ] {
        let (registries, _folder) = with_config(&format!(r#"{{"auths":{{"{host}":{{{entry}}}}}}}"#));
        let result = registries.resolve(&image(&server, "a")).await;
        let Some(expected) = expected else {
            assert!(matches!(result, Err(RegistryError::Unauthorized { .. })), "{entry}: {result:?}");
            continue;
        };
        result.unwrap();
        assert_eq!(last_authorization(&server), Some(format!("Basic {expected}")), "{entry}");
    }
}

#[tokio::test]
async fn the_first_file_that_has_credentials_counts() {
    let server = basic_registry().await;
    let host = server.host();
    let folder = tempfile::tempdir().unwrap();
    let entry = |key: &str, user: &str| {
        format!(
            r#"{{"auths":{{"{key}":{{"username":"{user}","password":"x"}}}},"credsStore":"no-such-helper"}}"#
        )
    };
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("other"), entry("other.example.com", "other")).unwrap();
    std::fs::write(file("team"), entry(&format!("{host}/team"), "team")).unwrap();
    std::fs::write(file("host"), entry(&host, "host")).unwrap();
    let credential_files = ["missing", "other", "team", "host"].map(file).to_vec();
    let settings = Settings { credential_files, credential_helpers: Some(folder.path().into()), ..quick() };
    let registries = Registries::new(settings).unwrap();
    for (repository, user) in [("app", "aG9zdDp4"), ("team/app", "dGVhbTp4")] {
        registries.resolve(&image(&server, repository)).await.unwrap();
        assert_eq!(last_authorization(&server), Some(format!("Basic {user}")), "{repository}");
    }
}

/// Writes an executable script. Only the one test below starts programs, as a program cannot be started while another
/// thread, about to start one too, holds the file open for writing.
fn helper(folder: &Path, name: &str, script: &str) {
    let path = folder.join(format!("docker-credential-{name}"));
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn credential_helpers_are_asked_and_may_fail() {
    let server = basic_registry().await;
    let host = server.host();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    helper(
        folder.path(),
        "good",
        &format!(
            r#"read server; echo "$1 $server" >> {}; echo '{{"ServerURL":"x","Username":"me","Secret":"hidden"}}'"#,
            log.display()
        ),
    );
    helper(folder.path(), "empty", "echo credentials not found in native keychain; exit 1");
    helper(folder.path(), "angry", "echo the keychain is locked; exit 1");
    helper(folder.path(), "babbling", "echo hidden nonsense");
    helper(folder.path(), "hanging", "exec sleep 600");
    helper(folder.path(), "slow", r#"sleep 0.3; echo '{"ServerURL":"x","Username":"me","Secret":"hidden"}'"#);
    let mut settings = with_folder(folder.path());
    settings.credential_helpers = Some(folder.path().into());
    settings.timeouts.credential_helper = Duration::from_secs(10);
    let resolve = async |config: String, patience: Duration| {
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        let mut settings = settings.clone();
        settings.timeouts.credential_helper = patience;
        let registries = Registries::new(settings).unwrap();
        registries.resolve(&image(&server, "a")).await?;
        registries.resolve(&image(&server, "b")).await
    };
    let long = Duration::from_secs(30);
    for config in [
        format!(r#"{{"credHelpers":{{"{host}":"good"}},"credsStore":"angry"}}"#),
        format!(r#"{{"auths":{{"{host}":{{}}}},"credsStore":"good"}}"#),
        r#"{"credsStore":"good"}"#.to_owned(),
    ] {
        resolve(config, long).await.unwrap();
        assert_eq!(last_authorization(&server).as_deref(), Some("Basic bWU6aGlkZGVu"));
    }
    // Each of the three was asked once for its two repositories.
    assert_eq!(std::fs::read_to_string(&log).unwrap(), format!("get {host}\n").repeat(3));

    for (name, patience, expected) in [
        ("angry", long, "the keychain is locked"),
        ("babbling", long, "not the JSON"),
        ("missing", long, "No such file"),
        ("hanging", Duration::from_millis(50), "no answer"),
        ("../evil", long, "characters"),
    ] {
        let error =
            resolve(format!(r#"{{"credHelpers":{{"{host}":"{name}"}}}}"#), patience).await.unwrap_err();
        let RegistryError::CredentialHelper { helper, registry, reason } = &error else { panic!("{error}") };
        assert_eq!((helper, registry), (&format!("docker-credential-{name}"), &host));
        assert!(reason.contains(expected) && !error.to_string().contains("hidden"), "{error}");
        // In the store of all registries, without an entry for this one: no credentials.
        let error = resolve(format!(r#"{{"credsStore":"{name}"}}"#), patience).await.unwrap_err();
        assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error}");
    }
    let error = resolve(format!(r#"{{"credHelpers":{{"{host}":"empty"}}}}"#), long).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error}");

    // One that takes long is told of.
    for (silence, expected) in [(20, 1), (60_000, 0)] {
        std::fs::write(
            folder.path().join("config.json"),
            format!(r#"{{"credHelpers":{{"{host}":"slow"}}}}"#),
        )
        .unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&told);
        let mut settings = settings.clone();
        settings.tell = Some(crate::Tell::new(move |what| writer.lock().unwrap().push(what.to_owned())));
        settings.timeouts.silence = Duration::from_millis(silence);
        Registries::new(settings).unwrap().resolve(&image(&server, "a")).await.unwrap();
        let told = told.lock().unwrap().clone();
        let is_of_it = |what: &&String| what.contains("docker-credential-slow") && what.contains(&host);
        assert_eq!(told.iter().filter(is_of_it).count(), expected, "{told:?}");
    }
}
