use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::CredentialsUsed;
use crate::scripted_server::Request;

/// A registry that wants tokens, and the server of its tokens, in one. Tokens are `REPOSITORY/NUMBER`; `valid` says which
/// are good.
pub(super) async fn token_registry(
    mut valid: impl FnMut(&str) -> bool + Send + 'static,
    grant: impl Fn(&Request, &str) -> Reply + Send + 'static,
) -> ScriptedServer {
    ScriptedServer::start(move |request| {
        let host = request.header("host").unwrap().to_owned();
        if request.path() == "/token" {
            return grant(request, &format!("token-{}", request.number));
        }
        let token = request.header("authorization").and_then(|header| header.strip_prefix("Bearer "));
        if token.is_some_and(&mut valid) {
            return manifest_reply();
        }
        let repository = request.path().trim_start_matches("/v2/").split("/manifests").next().unwrap();
        let challenge = format!(
            r#"Bearer realm="http://{host}/token",service="the registry",scope="repository:{repository}:pull""#
        );
        Reply::new(401).header("WWW-Authenticate", &challenge)
    })
    .await
}

pub(super) fn granted(token: &str) -> Reply {
    Reply::new(200).body(format!(r#"{{"token":"{token}","expires_in":300}}"#))
}

pub(super) fn with_config(config: &str) -> (Registries, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    (Registries::new(with_folder(folder.path())).unwrap(), folder)
}

pub(super) fn with_folder(folder: &Path) -> Settings {
    Settings { credential_files: vec![folder.join("config.json")], ..quick() }
}

fn token_requests(server: &ScriptedServer) -> Vec<Request> {
    server.requests().into_iter().filter(|request| request.path() == "/token").collect()
}

#[tokio::test]
async fn a_token_is_for_one_repository_and_is_kept() {
    let server = token_registry(|_| true, |_, token| granted(token)).await;
    let registries = registries();
    for reference in ["a/b:1", "a/b:2", "c:1", "a/b:3"] {
        registries.resolve(&image(&server, reference)).await.unwrap();
    }
    let asked: Vec<String> =
        server.asked().into_iter().map(|line| line.split('?').next().unwrap().into()).collect();
    // The first request is refused; from then on it is known that tokens are wanted.
    assert_eq!(
        asked,
        [
            "GET /v2/a/b/manifests/1",
            "GET /token",
            "GET /v2/a/b/manifests/1",
            "GET /v2/a/b/manifests/2",
            "GET /token",
            "GET /v2/c/manifests/1",
            "GET /v2/a/b/manifests/3",
        ]
    );
    let tokens = token_requests(&server);
    assert_eq!(tokens[0].parameters("scope"), ["repository:a/b:pull"]);
    assert_eq!(tokens[0].parameters("service"), ["the registry"]);
    assert_eq!(tokens[1].parameters("scope"), ["repository:c:pull"]);
    assert!(tokens.iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn many_requests_at_once_fetch_one_token() {
    let server = token_registry(|_| true, |_, token| granted(token).wait(Duration::from_millis(30))).await;
    let mut settings = quick();
    settings.connections_per_host = 1;
    let registries = Registries::new(settings).unwrap();
    let images: Vec<_> = (0..8).map(|number| image(&server, &format!("a:{number}"))).collect();
    futures::future::try_join_all(images.iter().map(|image| registries.resolve(image))).await.unwrap();
    assert_eq!(token_requests(&server).len(), 1);
}

#[tokio::test]
async fn a_token_that_died_is_renewed_once() {
    let mut used = BTreeSet::new();
    // Every token is good for one request.
    let server = token_registry(move |token| used.insert(token.to_owned()), |_, token| granted(token)).await;
    let registries = registries();
    for _ in 0..3 {
        registries.resolve(&image(&server, "a")).await.unwrap();
    }
    assert_eq!(token_requests(&server).len(), 3);

    let server = token_registry(|_| false, |_, token| granted(token)).await;
    let error = registries.resolve(&image(&server, "a")).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::Unauthorized { credentials: CredentialsUsed::None, .. }),
        "{error}"
    );
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_token_past_its_time_is_not_used() {
    let server = token_registry(
        |_| true,
        |_, token| Reply::new(200).body(format!(r#"{{"access_token":"{token}","expires_in":0}}"#)),
    )
    .await;
    let registries = registries();
    for _ in 0..2 {
        registries.resolve(&image(&server, "a")).await.unwrap();
    }
    assert_eq!(token_requests(&server).len(), 2);
    assert_eq!(server.requests().len(), 5);
}

#[tokio::test]
async fn passwords_go_to_the_token_server_only() {
    let server = token_registry(|_| true, |_, token| granted(token)).await;
    let config = format!(r#"{{"auths":{{"{}":{{"auth":"bWU6aGlkZGVu"}}}}}}"#, server.host());
    let (registries, _folder) = with_config(&config);
    registries.resolve(&image(&server, "a")).await.unwrap();
    for request in server.requests() {
        let authorization = request.header("authorization").unwrap_or_default();
        assert_eq!(authorization == "Basic bWU6aGlkZGVu", request.path() == "/token", "{request:?}");
    }
    assert_eq!(token_requests(&server)[0].parameters("account"), ["me"]);
}

#[tokio::test]
async fn an_identity_token_is_traded_for_a_token() {
    let server = token_registry(
        |_| true,
        |request, token| match request.parameters("refresh_token") == ["hidden&="] {
            true => Reply::new(200).body(format!(r#"{{"token":null,"access_token":"{token}"}}"#)),
            false => Reply::new(401),
        },
    )
    .await;
    let config = format!(r#"{{"auths":{{"{}":{{"identitytoken":"hidden&="}}}}}}"#, server.host());
    let (registries, _folder) = with_config(&config);
    registries.resolve(&image(&server, "a")).await.unwrap();
    let request = &token_requests(&server)[0];
    assert_eq!(request.method, "POST");
    assert_eq!(request.target, "/token");
    assert_eq!(request.parameters("grant_type"), ["refresh_token"]);
    assert_eq!(request.parameters("scope"), ["repository:a:pull"]);
}

#[tokio::test]
async fn refused_credentials_are_named_without_their_secret() {
    let server = token_registry(
        |_| true,
        |_, _| Reply::new(401).body(r#"{"errors":[{"code":"UNAUTHORIZED","message":"wrong"}]}"#),
    )
    .await;
    let config = format!(r#"{{"auths":{{"{}":{{"auth":"bWU6aGlkZGVu"}}}}}}"#, server.host());
    let (registries, folder) = with_config(&config);
    let error = registries.resolve(&image(&server, "a")).await.unwrap_err();
    let RegistryError::Unauthorized { credentials: CredentialsUsed::From(origin), message, .. } = &error
    else {
        panic!("{error}");
    };
    assert!(origin.contains(&server.host()) && origin.contains(folder.path().to_str().unwrap()), "{origin}");
    assert_eq!(message, "wrong");
    let all = format!("{error:?} {error} {registries:?}");
    assert!(!all.contains("hidden") && !all.contains("bWU6aGlkZGVu"), "{all}");
}

#[tokio::test]
async fn a_token_server_in_disorder_is_said_so() {
    for (reply, expected) in [
        (Reply::new(200).header("content-type", "text/html").body("<html>hotel"), "<html>hotel"),
        (Reply::new(200).body(r#"{"token":""}"#), "sent no token"),
        (Reply::new(200).body(r#"{"token":"two\nlines"}"#), "sent no token"),
        (Reply::new(200).body(r#"{"secret":"hidden"}"#), "sent no token"),
        (Reply::new(200).body([b'x'; 1000]).endless(), "more than 1048576 bytes"),
        (Reply::new(404), "names no usable token server"),
        (Reply::new(400), "answers 400"),
    ] {
        let server = token_registry(|_| true, move |_, _| reply.clone()).await;
        let error = registries().resolve(&image(&server, "a")).await.unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("hidden"), "{error}");
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test]
async fn tokens_are_taken_in_all_the_forms_that_servers_write() {
    for rest in [
        r#""token":"{}""#,
        r#""access_token":"{}""#,
        r#""token":"","access_token":"{}""#,
        r#""token":"{}","access_token":"other""#,
        r#""token":"{}","expires_in":300.5"#,
        r#""token":"{}","expires_in":"300""#,
        r#""token":"{}","expires_in":1e300"#,
        r#""token":"{}","expires_in":null"#,
        r#""token":"{}","expires_in":{}"#,
    ] {
        let server = token_registry(
            |_| true,
            move |_, token| Reply::new(200).body(format!("{{{}}}", rest.replacen("{}", token, 1))),
        )
        .await;
        let registries = registries();
        for _ in 0..2 {
            registries.resolve(&image(&server, "a")).await.unwrap();
        }
        assert_eq!(token_requests(&server).len(), 1, "{rest}");
    }
    let server = token_registry(
        |_| true,
        |_, token| Reply::new(200).body(format!(r#"{{"token":"{token}","expires_in":-1}}"#)),
    )
    .await;
    let registries = registries();
    for _ in 0..2 {
        registries.resolve(&image(&server, "a")).await.unwrap();
    }
    assert_eq!(token_requests(&server).len(), 2);
}

#[tokio::test]
async fn a_host_that_a_registry_redirects_to_got_no_credentials_and_is_not_said_to() {
    let other = ScriptedServer::start(|_| Reply::new(401)).await;
    let address = format!("http://{}/elsewhere", other.host());
    let server = ScriptedServer::start(move |request| match request.header("authorization") {
        Some(_) => Reply::new(307).header("Location", &address),
        None => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
    })
    .await;
    let config = format!(r#"{{"auths":{{"{}":{{"auth":"bWU6aGlkZGVu"}}}}}}"#, server.host());
    let (registries, _folder) = with_config(&config);
    // The second request knows the way at once.
    for _ in 0..2 {
        let error = registries.resolve(&image(&server, "a")).await.unwrap_err();
        assert!(
            matches!(&error, RegistryError::Unauthorized { credentials: CredentialsUsed::None, .. }),
            "{error}"
        );
    }
    assert!(other.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn a_busy_token_server_is_asked_again() {
    let server = token_registry(
        |_| true,
        |request, token| match request.number {
            1 => Reply::new(503),
            2 => Reply::new(429).header("retry-after", "0"),
            3 => Reply::raw(b""),
            _ => granted(token),
        },
    )
    .await;
    registries().resolve(&image(&server, "a")).await.unwrap();
    assert_eq!(token_requests(&server).len(), 4);
}

#[tokio::test]
async fn a_token_server_without_a_usable_address_is_refused() {
    for realm in ["", "/token", "ftp://host/", "http://[", "file:///etc/passwd?hidden"] {
        let server = ScriptedServer::start(move |_| {
            Reply::new(401).header("WWW-Authenticate", &format!("Bearer realm=\"{realm}\""))
        })
        .await;
        let error = registries().resolve(&image(&server, "a")).await.unwrap_err();
        assert!(matches!(error, RegistryError::BadRealm { .. }), "{realm}: {error}");
        assert!(!error.to_string().contains("hidden"), "{error}");
    }
}

#[tokio::test]
async fn basic_credentials_are_sent_when_asked_for_and_then_at_once() {
    let server = ScriptedServer::start(|request| match request.header("authorization") {
        Some("Basic bWU6aGlkZGVu") => manifest_reply(),
        _ => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
    })
    .await;
    let config = format!(r#"{{"auths":{{"{}":{{"auth":"bWU6aGlkZGVu"}}}}}}"#, server.host());
    let (registries, _folder) = with_config(&config);
    for reference in ["a", "b"] {
        registries.resolve(&image(&server, reference)).await.unwrap();
    }
    assert_eq!(server.requests().len(), 3);

    let config = format!(r#"{{"auths":{{"{}":{{"auth":"bWU6d3Jvbmc="}}}}}}"#, server.host());
    let (registries, _folder) = with_config(&config);
    let error = registries.resolve(&image(&server, "a")).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::Unauthorized { credentials: CredentialsUsed::From(_), .. }),
        "{error}"
    );
}
