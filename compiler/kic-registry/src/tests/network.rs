//! Connections, redirects and proxies.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::*;
use crate::Proxy;

#[tokio::test]
async fn nobody_there_is_said_soon() {
    let host = closed_port().await;
    let error = registries().resolve(&format!("{host}/a").parse().unwrap()).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::Unreachable { reason, .. } if reason.contains("refused")),
        "{error}"
    );
    assert_eq!(error.place().unwrap().attempts, 3);
    let error = registries().resolve(&"does-not-exist.invalid/a".parse().unwrap()).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_host_is_never_asked_more_at_once_than_allowed() {
    let server = ScriptedServer::start(|_| manifest_reply().wait(Duration::from_millis(10))).await;
    let mut settings = quick();
    settings.connections_per_host = 2;
    let registries = Registries::new(settings).unwrap();
    let images: Vec<_> = (0..12).map(|number| image(&server, &format!("a{number}"))).collect();
    let all = images.iter().map(|image| registries.resolve(image));
    futures::future::try_join_all(all).await.unwrap();
    assert_eq!((server.requests().len(), server.most_at_once()), (12, 2));
}

#[tokio::test]
async fn a_redirect_to_another_host_has_no_credentials() {
    let storage = ScriptedServer::start(|_| manifest_reply()).await;
    let to = storage.url("/bucket/x?signature=hidden");
    let server = ScriptedServer::start(move |request| match request.header("authorization") {
        None => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
        Some(_) if request.path().starts_with("/v2/") => Reply::new(307).header("Location", "/moved"),
        Some(_) => Reply::new(302).header("Location", &to),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let config = format!(r#"{{"auths":{{"{}":{{"username":"me","password":"hidden"}}}}}}"#, server.host());
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let registries =
        Registries::new(Settings { credential_files: vec![folder.path().join("config.json")], ..quick() })
            .unwrap();
    registries.resolve(&image(&server, "a")).await.unwrap();
    let authorizations: Vec<bool> =
        server.requests().iter().map(|request| request.header("authorization").is_some()).collect();
    assert_eq!(authorizations, [false, true, true]);
    assert_eq!(server.asked()[2], "GET /moved");
    assert_eq!(storage.asked(), ["GET /bucket/x?signature=hidden"]);
    assert_eq!(storage.requests()[0].header("authorization"), None);
}

#[tokio::test]
async fn a_refusal_by_storage_gets_no_credentials_and_shows_no_query() {
    let storage =
        ScriptedServer::start(|_| Reply::new(401).header("WWW-Authenticate", "Basic realm=\"give me all\""))
            .await;
    let to = storage.url("/x?signature=hidden");
    let server = ScriptedServer::start(move |_| Reply::new(307).header("Location", &to)).await;
    let error = registries().resolve(&image(&server, "a")).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Unauthorized { place, .. } if place.host == storage.host()));
    assert!(!format!("{error:?} {error}").contains("hidden"), "{error:?}");
    assert_eq!(storage.requests().len(), 1);
}

#[tokio::test]
async fn a_redirect_leaves_its_connection_usable() {
    let ports = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&ports);
    let server = ScriptedServer::start(move |request| {
        seen.lock().unwrap().insert(request.peer);
        if request.path() == "/there" {
            return manifest_reply();
        }
        Reply::new(307).header("Location", "/there").body("<a href=/there>there</a>")
    })
    .await;
    let registries = registries();
    for _ in 0..3 {
        registries.resolve(&image(&server, "a")).await.unwrap();
    }
    assert_eq!((server.requests().len(), ports.lock().unwrap().len()), (6, 1));
}

#[tokio::test]
async fn redirects_end() {
    let server = ScriptedServer::start(|request| {
        Reply::new(307).header("Location", &format!("/again/{}", request.number))
    })
    .await;
    let error = registries().resolve(&image(&server, "a")).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooManyRedirects { limit: 10, .. }), "{error}");
    assert_eq!(server.requests().len(), 11);
    for location in ["ftp://host/x?hidden", "http://", "file:///etc/passwd", "http://me:hidden@[/"] {
        let server = ScriptedServer::start(move |_| Reply::new(302).header("Location", location)).await;
        let error = registries().resolve(&image(&server, "a")).await.unwrap_err();
        assert!(matches!(error, RegistryError::Garbage { .. }), "{location}: {error}");
        assert!(!error.to_string().contains("hidden"), "{error}");
    }
    let server = ScriptedServer::start(|_| Reply::new(302)).await;
    let error = registries().resolve(&image(&server, "a")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Refused { status: 302, .. }), "{error}");
}

#[tokio::test]
async fn long_waits_are_told_of_and_short_ones_are_not() {
    for (silence, pause, repository, expected) in [
        (20, 1, "silent", Some("no answer yet")),
        (20, 200, "busy", Some("waiting 0 s before the next try: the registry answers 503")),
        (10_000, 1, "silent", None),
        (10_000, 1, "busy", None),
    ] {
        let mut asked = 0;
        let server = ScriptedServer::start(move |request| {
            asked += 1;
            match (request.path(), asked) {
                ("/v2/silent/manifests/latest", _) => manifest_reply().wait(Duration::from_millis(300)),
                (_, 1) => Reply::new(503),
                _ => manifest_reply(),
            }
        })
        .await;
        let told = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&told);
        let mut settings = quick();
        settings.tell = Some(crate::Tell::new(move |what| writer.lock().unwrap().push(what.to_owned())));
        settings.timeouts.silence = Duration::from_millis(silence);
        settings.backoff.first = Duration::from_millis(pause);
        settings.backoff.most = Duration::from_millis(pause);
        Registries::new(settings).unwrap().resolve(&image(&server, repository)).await.unwrap();
        let told = told.lock().unwrap().clone();
        match expected {
            Some(words) => assert!(told.len() == 1 && told[0].contains(words), "{repository}: {told:?}"),
            None => assert!(told.is_empty(), "{repository}: {told:?}"),
        }
    }
}

/// Settings for hosts that exist only behind a proxy.
fn behind(proxy: &str) -> Settings {
    Settings {
        insecure: ["docker.io", "plain.invalid"].map(String::from).into(),
        proxy: Proxy {
            http: Some(proxy.to_owned()),
            https: Some(proxy.to_owned()),
            no_proxy: Some("direct.invalid".into()),
        },
        retries: 1,
        ..quick()
    }
}

#[tokio::test]
async fn plain_http_goes_through_the_proxy_and_docker_hub_has_its_address() {
    let proxy = ScriptedServer::start(|_| manifest_reply()).await;
    let registries = Registries::new(behind(&format!("me:hidden@{}", proxy.host()))).unwrap();
    registries.resolve(&"plain.invalid:5000/a:b".parse().unwrap()).await.unwrap();
    registries.resolve(&"nginx".parse().unwrap()).await.unwrap();
    assert_eq!(
        proxy.asked(),
        [
            "GET http://plain.invalid:5000/v2/a/manifests/b",
            "GET http://registry-1.docker.io/v2/library/nginx/manifests/latest",
        ]
    );
    assert_eq!(proxy.requests()[0].header("proxy-authorization"), Some("Basic bWU6aGlkZGVu"));
    let error = registries.resolve(&"direct.invalid/a".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
    let local = ScriptedServer::start(|_| manifest_reply()).await;
    registries.resolve(&image(&local, "a")).await.unwrap();
    assert_eq!((proxy.requests().len(), local.requests().len()), (2, 1));
}

#[tokio::test]
async fn what_a_proxy_may_have_answered_itself_names_it() {
    for (status, said) in
        [(502, "the registry, or the proxy, answers 502"), (404, "not found"), (418, "answers 418")]
    {
        let proxy = ScriptedServer::start(move |_| Reply::new(status)).await;
        let settings = Settings { retries: 0, ..behind(&format!("me:hidden@{}", proxy.host())) };
        let error = Registries::new(settings)
            .unwrap()
            .resolve(&"plain.invalid/a".parse().unwrap())
            .await
            .unwrap_err();
        let text = error.to_string();
        let place = format!("from `plain.invalid` through the proxy `{}`", proxy.host());
        assert!(text.contains(said) && text.contains(&place), "{text}");
        assert!(!format!("{error:?}{error}").contains("hidden"), "{error:?}");
    }
    // Nobody stands between us and this machine.
    let server = ScriptedServer::start(|_| Reply::new(502)).await;
    let error = registries().resolve(&image(&server, "a")).await.unwrap_err();
    assert!(!error.to_string().contains("proxy"), "{error}");
}

#[tokio::test]
async fn https_asks_the_proxy_to_connect() {
    let proxy = ScriptedServer::start(|_| Reply::new(407)).await;
    let registries = Registries::new(behind(&proxy.url(""))).unwrap();
    let error = registries.resolve(&"secure.invalid/a".parse().unwrap()).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Proxy { proxy: p, .. } if *p == proxy.host()), "{error}");
    assert_eq!(proxy.asked()[0], "CONNECT secure.invalid:443");
    let error = registries.resolve(&"plain.invalid/a".parse().unwrap()).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Proxy { reason, .. } if reason.contains("407")), "{error}");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let host = closed_port().await;
    let registries = Registries::new(behind(&format!("http://me:hidden@{host}"))).unwrap();
    let error = registries.resolve(&"plain.invalid/a".parse().unwrap()).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Proxy { proxy, .. } if *proxy == host), "{error}");
    assert!(!format!("{error:?}{error}{registries:?}").contains("hidden"));
}

#[tokio::test]
async fn a_connection_that_is_never_made_is_given_up() {
    // A listener that never accepts, its queue full: the next connection waits.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = Arc::new(socket.listen(1).unwrap());
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let connect = tokio::net::TcpStream::connect(address);
        waiting.push(tokio::time::timeout(Duration::from_millis(50), connect).await);
    }
    let mut settings = quick();
    settings.timeouts.connect = Duration::from_millis(30);
    let registries = Registries::new(settings).unwrap();
    let error = registries.resolve(&format!("{address}/a").parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Timeout { waiting: crate::Waiting::Connection, .. }), "{error}");
}
