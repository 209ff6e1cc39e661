use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::stream;

use super::*;
use crate::Pushed;
use crate::scripted_server::Request;

/// What a registry has, and its uploads.
#[derive(Default)]
struct State {
    blobs: BTreeMap<String, Vec<u8>>,
    upload: Vec<u8>,
}

type Shared = Arc<Mutex<State>>;

/// A registry that takes pushes; `disturb` may answer in its place, with a flag for "take it all the same".
async fn registry(
    mut disturb: impl FnMut(&Request) -> Option<(Reply, bool)> + Send + 'static,
) -> (ScriptedServer, Shared) {
    let state = Shared::default();
    let shared = Arc::clone(&state);
    let server = ScriptedServer::start(move |request| {
        let disturbed = disturb(request);
        if let Some((reply, false)) = &disturbed {
            return reply.clone();
        }
        let reply = answer(request, &mut shared.lock().unwrap());
        disturbed.map_or(reply, |(reply, _)| reply)
    })
    .await;
    (server, state)
}

fn answer(request: &Request, state: &mut State) -> Reply {
    let digest = request.path().rsplit('/').next().unwrap().to_owned();
    match (request.method.as_str(), request.path()) {
        ("HEAD", _) if state.blobs.contains_key(&digest) => {
            Reply::new(200).header("Docker-Content-Digest", &digest)
        }
        ("POST", _) => {
            state.upload.clear();
            if request.parameters("from") == ["other"] {
                return Reply::new(201).header("Location", "/v2/a/blobs/x");
            }
            Reply::new(202).header("Location", "/upload/1?state=x")
        }
        ("PATCH", "/upload/1") => {
            let range = request.header("content-range").unwrap();
            if range.split('-').next().unwrap() != state.upload.len().to_string() {
                return Reply::new(416);
            }
            state.upload.extend_from_slice(&request.body);
            Reply::new(202)
                .header("Location", "/upload/1?state=y")
                .header("Range", &format!("0-{}", state.upload.len() - 1))
        }
        ("GET", "/upload/1") => Reply::new(204)
            .header("Location", "/upload/1?state=z")
            .header("Range", &format!("0-{}", state.upload.len().saturating_sub(1))),
        ("PUT", "/upload/1") => {
            state.upload.extend_from_slice(&request.body);
            let bytes = std::mem::take(&mut state.upload);
            let digest = digest_of(&bytes).to_string();
            if request.parameters("digest") != [digest.clone()] {
                return Reply::new(400).body(r#"{"errors":[{"code":"DIGEST_INVALID","message":"no"}]}"#);
            }
            state.blobs.insert(digest, bytes);
            Reply::new(201)
        }
        ("PUT", _) => {
            state.blobs.insert(request.path().to_owned(), request.body.clone());
            Reply::new(201).header("Docker-Content-Digest", &digest_of(&request.body).to_string())
        }
        _ => Reply::new(404),
    }
}

/// The bytes in small items.
fn body(bytes: &[u8]) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    let items: Vec<_> = bytes.chunks(10_000).map(|item| Ok(Bytes::copy_from_slice(item))).collect();
    stream::iter(items)
}

async fn push(server: &ScriptedServer, bytes: &[u8]) -> Result<Pushed, RegistryError> {
    let digest = digest_of(bytes);
    registries().push_blob(&image(server, "a"), &digest, bytes.len() as u64, body(bytes), None).await
}

fn methods(server: &ScriptedServer) -> Vec<String> {
    server.requests().into_iter().map(|request| request.method).collect()
}

/// More than two chunks.
const LARGE: usize = 17 << 20;

#[tokio::test]
async fn a_small_blob_goes_in_one_request_and_is_not_sent_twice() {
    let (server, state) = registry(|_| None).await;
    for bytes in [content(30_000), Vec::new()] {
        assert_eq!(push(&server, &bytes).await.unwrap(), Pushed::Uploaded);
        assert!(state.lock().unwrap().blobs[&digest_of(&bytes).to_string()] == bytes);
        assert_eq!(push(&server, &bytes).await.unwrap(), Pushed::Existed);
    }
    assert_eq!(methods(&server), ["HEAD", "POST", "PUT", "HEAD", "HEAD", "POST", "PUT", "HEAD"]);
    let put = &server.requests()[2];
    assert_eq!(put.parameters("state"), ["x"]);
}

#[tokio::test]
async fn what_is_no_registry_is_not_taken_for_one_that_has_it_all() {
    let page = |_: &Request| Reply::new(200).header("Content-Type", "text/html").body("<html>Log in</html>");
    let server = ScriptedServer::start(page).await;
    let error = push(&server, &content(30_000)).await.unwrap_err();
    assert!(matches!(error, RegistryError::Garbage { .. }), "{error}");
    let error = registries().push_manifest(&image(&server, "a:b"), INDEX, &index()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Garbage { .. }), "{error}");

    // Without a digest, the size tells; and an answer about another blob is none.
    let bytes = content(7);
    let found = |reply: Reply| async {
        let mut reply = Some(reply);
        let (server, _) = registry(move |_| reply.take().map(|reply| (reply, false))).await;
        push(&server, &bytes).await
    };
    assert_eq!(found(Reply::new(200).body("7 bytes")).await.unwrap(), Pushed::Existed);
    assert_eq!(found(Reply::new(200).body("more bytes")).await.unwrap(), Pushed::Uploaded);
    let other = digest_of(b"other").to_string();
    let error = found(Reply::new(200).header("Docker-Content-Digest", &other)).await.unwrap_err();
    assert!(matches!(error, RegistryError::Garbage { .. }), "{error}");
}

#[tokio::test]
async fn a_large_blob_goes_in_few_chunks() {
    let (server, state) = registry(|_| None).await;
    let bytes = content(LARGE);
    assert_eq!(push(&server, &bytes).await.unwrap(), Pushed::Uploaded);
    assert!(state.lock().unwrap().blobs[&digest_of(&bytes).to_string()] == bytes);
    assert_eq!(methods(&server), ["HEAD", "POST", "PATCH", "PATCH", "PATCH", "PUT"]);
}

#[tokio::test]
async fn failures_of_an_upload_are_made_good() {
    let (server, _state) = registry(|request| match request.number {
        0 | 2 => Some((Reply::new(503), false)),
        4 => Some((Reply::raw(b""), false)),
        _ => None,
    })
    .await;
    assert_eq!(push(&server, &content(30_000)).await.unwrap(), Pushed::Uploaded);

    let bytes = content(LARGE);
    // A chunk that is lost; one that arrives, but its answer is lost; the same with the end.
    let (server, state) = registry(|request| match (request.method.as_str(), request.number) {
        ("PATCH", 2) => Some((Reply::new(500), false)),
        ("PATCH", 5) => Some((Reply::raw(b""), true)),
        // What the session has is not to be had at once either.
        ("GET", 6) => Some((Reply::new(500), false)),
        ("PUT", number) if number < 11 => Some((Reply::new(504), true)),
        _ => None,
    })
    .await;
    assert_eq!(push(&server, &bytes).await.unwrap(), Pushed::Uploaded);
    assert!(state.lock().unwrap().blobs[&digest_of(&bytes).to_string()] == bytes);
    let expected =
        "HEAD POST PATCH GET PATCH PATCH GET PATCH GET PATCH PUT HEAD".split(' ').collect::<Vec<_>>();
    assert_eq!(methods(&server), expected);
}

#[tokio::test]
async fn a_registry_without_chunks_gets_one_stream() {
    let bytes = content(LARGE);
    let (server, state) =
        registry(|request| (request.method == "PATCH").then(|| (Reply::new(405), false))).await;
    assert_eq!(push(&server, &bytes).await.unwrap(), Pushed::Uploaded);
    assert!(state.lock().unwrap().blobs[&digest_of(&bytes).to_string()] == bytes);
    assert_eq!(methods(&server), ["HEAD", "POST", "PATCH", "POST", "PUT"]);
}

#[tokio::test]
async fn a_blob_is_mounted_where_possible_and_sent_where_not() {
    let (server, _state) = registry(|request| match request.parameters("from").first()?.as_str() {
        "forbidden" => Some((Reply::new(403), false)),
        _ => None,
    })
    .await;
    let bytes = content(100);
    let digest = digest_of(&bytes);
    for (from, expected) in [("other", Pushed::Mounted), ("unknown", Pushed::Uploaded)] {
        let from = image(&server, from);
        let pushed =
            registries().push_blob(&image(&server, "a"), &digest, 100, body(&bytes), Some(&from)).await;
        assert_eq!(pushed.unwrap(), expected);
    }
    let post = &server.requests()[1];
    assert_eq!(
        (post.parameters("mount"), post.parameters("from")),
        (vec![digest.to_string()], vec!["other".into()])
    );
    let bytes = content(101);
    let digest = digest_of(&bytes);
    let forbidden = image(&server, "forbidden");
    let pushed =
        registries().push_blob(&image(&server, "a"), &digest, 101, body(&bytes), Some(&forbidden)).await;
    assert_eq!(pushed.unwrap(), Pushed::Uploaded);
    // Another registry cannot be mounted from.
    let bytes = content(102);
    let elsewhere: ImageReference = "elsewhere.example/other".parse().unwrap();
    let digest = digest_of(&bytes);
    let pushed =
        registries().push_blob(&image(&server, "a"), &digest, 102, body(&bytes), Some(&elsewhere)).await;
    assert_eq!(pushed.unwrap(), Pushed::Uploaded);
    assert_eq!(server.requests().last().unwrap().parameters("from"), Vec::<String>::new());
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_promised_is_refused() {
    let (server, state) = registry(|_| None).await;
    for (size, real) in [(100, 99), (100, 101), (LARGE, LARGE - 1), (LARGE, LARGE + 1)] {
        let digest = digest_of(b"x");
        let pushed = registries()
            .push_blob(&image(&server, "a"), &digest, size as u64, body(&content(real)), None)
            .await;
        let error = pushed.unwrap_err();
        assert!(matches!(error, RegistryError::Body { .. }), "{error}");
    }
    let broken = stream::iter([Err(std::io::Error::other("the disk is gone"))]);
    let error =
        registries().push_blob(&image(&server, "a"), &digest_of(b"x"), 1, broken, None).await.unwrap_err();
    assert!(error.to_string().contains("the disk is gone"), "{error}");
    assert!(state.lock().unwrap().blobs.is_empty());
}

#[tokio::test]
async fn bytes_with_another_digest_are_refused_by_the_registry() {
    let (server, _state) = registry(|_| None).await;
    let pushed = registries().push_blob(&image(&server, "a"), &digest_of(b"y"), 1, body(b"x"), None).await;
    let error = pushed.unwrap_err();
    assert!(
        matches!(&error, RegistryError::Refused { status: 400, message, .. } if message == "no"),
        "{error}"
    );
}

#[tokio::test]
async fn passes_are_for_pushing_and_stay_with_the_registry() {
    let storage = ScriptedServer::start(|_| Reply::new(201)).await;
    let to = storage.url("/put/here?signature=hidden");
    let server = ScriptedServer::start(move |request| {
        let host = request.header("host").unwrap();
        match (request.path(), request.header("authorization")) {
            ("/token", _) => Reply::new(200).body(r#"{"token":"secret"}"#),
            (_, None) => Reply::new(401)
                .header("WWW-Authenticate", &format!("Bearer realm=\"http://{host}/token\",service=\"x\"")),
            _ if request.method == "HEAD" => Reply::new(404),
            _ => Reply::new(202).header("Location", &to),
        }
    })
    .await;
    let from = image(&server, "from");
    let bytes = content(10);
    let digest = digest_of(&bytes);
    let pushed = registries().push_blob(&image(&server, "a"), &digest, 10, body(&bytes), Some(&from)).await;
    assert_eq!(pushed.unwrap(), Pushed::Uploaded);
    let token = server.requests().into_iter().find(|request| request.path() == "/token").unwrap();
    assert_eq!(token.parameters("scope"), ["repository:a:pull,push", "repository:from:pull"]);
    assert_eq!(storage.requests().len(), 1);
    assert_eq!(storage.requests()[0].header("authorization"), None);
    assert_eq!(storage.requests()[0].body, bytes);
}

#[tokio::test]
async fn a_manifest_goes_out_as_it_is() {
    let (server, state) = registry(|request| (request.number == 0).then(|| (Reply::new(500), false))).await;
    let digest = registries().push_manifest(&image(&server, "a/b:c"), INDEX, &index()).await.unwrap();
    assert_eq!(digest, digest_of(&index()));
    assert_eq!(state.lock().unwrap().blobs["/v2/a/b/manifests/c"], index());
    let request = server.requests().pop().unwrap();
    assert_eq!(request.header("content-type"), Some(INDEX));
    let by_digest = image(&server, &format!("a/b@{digest}"));
    registries().push_manifest(&by_digest, INDEX, &index()).await.unwrap();
    assert!(state.lock().unwrap().blobs.contains_key(&format!("/v2/a/b/manifests/{digest}")));
    let error = registries().push_manifest(&by_digest, INDEX, b"other").await.unwrap_err();
    assert!(matches!(error, RegistryError::DigestMismatch { .. }), "{error}");
    let (server, _state) = registry(|_| {
        Some((Reply::new(201).header("Docker-Content-Digest", &digest_of(b"z").to_string()), false))
    })
    .await;
    let error = registries().push_manifest(&image(&server, "a"), INDEX, &index()).await.unwrap_err();
    assert!(matches!(error, RegistryError::DigestMismatch { .. }), "{error}");
}

#[tokio::test]
async fn an_upload_that_stands_still_is_given_up() {
    let (server, _state) = registry(|request| {
        (request.method == "PUT").then(|| (Reply::new(201).wait(Duration::from_secs(600)), false))
    })
    .await;
    let mut settings = quick();
    settings.timeouts.first_byte = Duration::from_millis(60);
    settings.retries = 0;
    let bytes = content(1 << 20);
    let registries = Registries::new(settings).unwrap();
    let pushed = registries
        .push_blob(&image(&server, "a"), &digest_of(&bytes), bytes.len() as u64, body(&bytes), None)
        .await;
    let error = pushed.unwrap_err();
    assert!(matches!(error, RegistryError::Timeout { waiting: crate::Waiting::Answer, .. }), "{error}");
}
