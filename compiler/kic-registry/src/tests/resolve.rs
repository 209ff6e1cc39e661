use std::collections::BTreeMap;

use super::*;
use crate::ManifestBytes;

async fn resolve(server: &ScriptedServer, rest: &str) -> Result<ManifestBytes, RegistryError> {
    registries().resolve(&image(server, rest)).await
}

/// The error for one reply, given to every request.
async fn refused(reply: Reply) -> (RegistryError, ScriptedServer) {
    let server = ScriptedServer::start(move |_| reply.clone()).await;
    (resolve(&server, "a/b:c").await.unwrap_err(), server)
}

#[tokio::test]
async fn a_tag_gives_the_bytes_as_they_were_sent() {
    let server = ScriptedServer::start(|_| manifest_reply()).await;
    let manifest = resolve(&server, "a/b:c").await.unwrap();
    let digest = digest_of(&index());
    assert_eq!(manifest, ManifestBytes { bytes: index(), media_type: INDEX.into(), digest });
    assert_eq!(server.asked(), ["GET /v2/a/b/manifests/c"]);
    assert!(server.requests()[0].header("accept").unwrap().contains(INDEX));
    assert_eq!(server.requests()[0].header("accept-encoding"), None);
    let by_digest = format!("a/b:c@{digest}");
    assert_eq!(resolve(&server, &by_digest).await.unwrap(), manifest);
    assert_eq!(server.asked()[1], format!("GET /v2/a/b/manifests/{digest}"));
}

#[tokio::test]
async fn ipv6_works() {
    let Some(server) = ScriptedServer::start_ipv6(|_| manifest_reply()).await else { return };
    assert!(server.host().starts_with("[::1]:"));
    resolve(&server, "a:b").await.unwrap();
}

#[tokio::test]
async fn the_media_type_is_found_where_the_registry_does_not_say_it() {
    let shapes = [
        (&br#"{"schemaVersion":2,"manifests":[]}"#[..], INDEX),
        (br#"{"layers":[],"config":{}}"#, "application/vnd.oci.image.manifest.v1+json"),
        (br#"{"mediaType":"application/vnd.x"}"#, "application/vnd.x"),
    ];
    for (bytes, media_type) in shapes {
        for content_type in ["application/json; charset=utf-8", "text/plain"] {
            let server = ScriptedServer::start(move |_| {
                Reply::new(200).header("content-type", content_type).body(bytes)
            })
            .await;
            assert_eq!(resolve(&server, "a").await.unwrap().media_type, media_type);
        }
    }
}

#[tokio::test]
async fn content_of_another_digest_is_refused() {
    let server = ScriptedServer::start(|_| manifest_reply()).await;
    let other = digest_of(b"other");
    let error = resolve(&server, &format!("a@{other}")).await.unwrap_err();
    let RegistryError::DigestMismatch { expected, found, place } = error else { panic!("{error}") };
    assert_eq!((expected, found), (other, digest_of(&index())));
    assert_eq!(place.attempts, 3);
    let (error, _server) =
        refused(manifest_reply().header("Docker-Content-Digest", &other.to_string())).await;
    assert!(matches!(error, RegistryError::DigestMismatch { expected, .. } if expected == other), "{error}");
}

#[tokio::test]
async fn manifests_are_bounded() {
    let (error, _server) = refused(manifest_reply().claim(9 << 20)).await;
    assert!(matches!(error, RegistryError::TooLarge { limit: 8_388_608, .. }), "{error}");
    let (error, server) = refused(manifest_reply().body([b' '; 65536]).endless()).await;
    assert!(matches!(error, RegistryError::TooLarge { limit: 8_388_608, .. }), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_login_page_is_shown_for_what_it_is() {
    let page = format!("<html>\n\n  <title>Wi-Fi\u{7}</title> {}", "x".repeat(200));
    let reply = Reply::new(200).header("Content-Type", "text/html; charset=utf-8").body(page);
    let (error, server) = refused(reply).await;
    let RegistryError::Garbage { content_type, start, place, .. } = error else { panic!("{error}") };
    assert_eq!(content_type, "text/html; charset=utf-8");
    assert!(start.starts_with("<html> <title>Wi-Fi</title> xxx") && start.len() == 80, "{start}");
    assert_eq!((place.host, place.wanted), (server.host(), format!("{}/a/b:c", server.host())));
    for (content_type, body) in [
        (INDEX, &b"{"[..]),
        (INDEX, b"[]"),
        (INDEX, b""),
        (INDEX, br#"{"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#),
        ("application/json", br#"{"hello":"world"}"#),
        ("application/json", b"\xff\xfe\0\0"),
    ] {
        let (error, _server) = refused(Reply::new(200).header("Content-Type", content_type).body(body)).await;
        assert!(matches!(error, RegistryError::Garbage { .. }), "{error}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_http_are_a_broken_connection() {
    let (error, server) = refused(Reply::raw(b"SSH-2.0-OpenSSH_9.2\r\n")).await;
    assert!(matches!(error, RegistryError::Broken { .. }), "{error}");
    assert_eq!(error.place().unwrap().attempts, 6);
    assert_eq!(server.requests().len(), 6);
}

#[tokio::test]
async fn schema_1_has_its_own_error() {
    for (content_type, body) in [
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", "{}"),
        ("application/json", r#"{"schemaVersion":1,"fsLayers":[]}"#),
    ] {
        let (error, _server) = refused(Reply::new(200).header("Content-Type", content_type).body(body)).await;
        assert!(matches!(error, RegistryError::Schema1 { .. }), "{error}");
    }
}

#[tokio::test]
async fn every_status_has_its_error() {
    let json = |status: u16| {
        let body = r#"{"errors":[{"code":"DENIED","message":"go\u0007 away","detail":null}]}"#;
        Reply::new(status).header("content-type", "application/json").body(body)
    };
    let (error, server) = refused(json(404)).await;
    assert!(matches!(&error, RegistryError::NotFound { message, .. } if message == "go away"), "{error}");
    assert!(error.to_string().contains("a/b:c"), "{error}");
    assert_eq!(server.requests().len(), 1);
    let (error, _server) = refused(json(403)).await;
    assert!(matches!(&error, RegistryError::Forbidden { message, .. } if message == "go away"), "{error}");
    let (error, _server) = refused(json(401)).await;
    assert!(matches!(&error, RegistryError::Unauthorized { message, .. } if message == "go away"), "{error}");
    let (error, server) = refused(json(418)).await;
    assert!(matches!(&error, RegistryError::Refused { status: 418, .. }), "{error}");
    assert_eq!(server.requests().len(), 1);
    for status in [500, 503, 504, 408] {
        let (error, server) = refused(json(status)).await;
        assert!(matches!(&error, RegistryError::Unavailable { status: s, .. } if *s == status), "{error}");
        assert_eq!((server.requests().len(), error.place().unwrap().attempts), (6, 6));
    }
    let (error, server) = refused(json(429)).await;
    assert!(matches!(&error, RegistryError::RateLimited { retry_after: None, .. }), "{error}");
    assert_eq!(server.requests().len(), 6);
}

#[tokio::test]
async fn a_wait_that_is_asked_for_is_kept() {
    let server = ScriptedServer::start(|request| match request.number {
        0 => Reply::new(429).header("Retry-After", "1"),
        1 => Reply::new(503)
            .header("Date", "Sun, 06 Nov 1994 08:49:36 GMT")
            .header("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT"),
        _ => manifest_reply(),
    })
    .await;
    let began = tokio::time::Instant::now();
    resolve(&server, "a").await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_wait_that_is_too_long_ends_the_work_at_once() {
    let (error, server) = refused(Reply::new(429).header("Retry-After", "21600")).await;
    assert_eq!(error.retry_after(), Some(Duration::from_secs(21600)));
    assert!(error.to_string().contains("21600 s"), "{error}");
    assert_eq!(server.requests().len(), 1);
    let more = "to wait more than a day:";
    for (asked, told) in [("86400", "to wait 86400 s:"), ("86401", more), ("99999999999999999999999", more)] {
        let (error, _server) = refused(Reply::new(429).header("Retry-After", asked)).await;
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[tokio::test]
async fn failures_that_pass_are_tried_again() {
    let server = ScriptedServer::start(|request| match request.number {
        0 => Reply::new(500),
        1 => Reply::raw(b""),
        2 => manifest_reply().cut_after(10),
        3 => manifest_reply().claim(1000),
        4 => Reply::new(429),
        _ => manifest_reply(),
    })
    .await;
    assert_eq!(resolve(&server, "a").await.unwrap().bytes, index());
    assert_eq!(server.requests().len(), 6);
}

#[tokio::test]
async fn silence_and_trickles_are_cut_off() {
    let (short, long) = (Duration::from_millis(50), Duration::from_secs(600));
    // What is not to be cut off has its usual patience.
    let mut silence = quick();
    silence.timeouts.first_byte = short;
    let mut pause = quick();
    pause.timeouts.idle = short;
    let mut slow = quick();
    slow.timeouts.speed_window = short;
    slow.timeouts.minimum_speed = 1_000_000;
    for (mut settings, reply, expected) in [
        (silence, manifest_reply().wait(long), "an answer"),
        (pause, manifest_reply().trickle(20, long), "more of the content"),
        (slow, manifest_reply().trickle(1, Duration::from_millis(20)), "too slow"),
    ] {
        settings.retries = 1;
        let registries = Registries::new(settings).unwrap();
        let server = ScriptedServer::start(move |_| reply.clone()).await;
        let error = registries.resolve(&image(&server, "a")).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.place().unwrap().attempts, 2);
    }
}

#[tokio::test]
async fn mirrors_are_asked_in_order_before_the_registry() {
    let broken = ScriptedServer::start(|_| Reply::new(500)).await;
    let empty = ScriptedServer::start(|_| Reply::new(404)).await;
    let wrong =
        ScriptedServer::start(|_| Reply::new(200).header("content-type", INDEX).body(r#"{"manifests":[]}"#))
            .await;
    let server = ScriptedServer::start(|_| manifest_reply()).await;
    let mut settings = quick();
    let mirrors =
        vec![broken.url(""), format!("http://{}", closed_port().await), empty.url("hub/"), wrong.url("v2/x")];
    settings.mirrors = BTreeMap::from([(server.host(), mirrors.clone())]);
    let registries = Registries::new(settings.clone()).unwrap();
    let reference = image(&server, &format!("a/b@{}", digest_of(&index())));
    assert_eq!(registries.resolve(&reference).await.unwrap().bytes, index());
    let path = |prefix: &str| vec![format!("GET /v2/{prefix}a/b/manifests/{}", digest_of(&index()))];
    assert_eq!(broken.asked(), path(""));
    assert_eq!(empty.asked(), path("hub/"));
    assert_eq!(wrong.asked(), path("x/"));
    assert_eq!(server.asked(), path(""));

    let missing = ScriptedServer::start(|_| Reply::new(404)).await;
    settings.mirrors = BTreeMap::from([(missing.host(), mirrors)]);
    settings.retries = 1;
    let registries = Registries::new(settings).unwrap();
    let reference = image(&missing, &format!("a/b@{}", digest_of(&index())));
    let error = registries.resolve(&reference).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::NotFound { place, .. } if place.host == missing.host()),
        "{error}"
    );
}

#[tokio::test]
async fn a_mirrors_address_is_checked_at_once() {
    let mut settings = quick();
    settings.mirrors = BTreeMap::from([("docker.io".into(), vec!["https://me:hidden@mirror".into()])]);
    let error = Registries::new(settings).unwrap_err();
    assert!(
        matches!(error, RegistryError::BadUrl { .. }) && !format!("{error:?}").contains("hidden"),
        "{error}"
    );
}
