use super::*;

async fn fetch(server: &ScriptedServer, limit: Option<u64>) -> Result<Vec<u8>, RegistryError> {
    collect(registries().fetch(&server.url("/dir/file?token=hidden"), limit)).await
}

#[tokio::test]
async fn a_file_comes_whole_whatever_its_length_is_said_to_be() {
    for chunked in [false, true] {
        let server = ScriptedServer::start(move |_| {
            let reply = Reply::new(200).body(content(100_000));
            if chunked { reply.chunked() } else { reply }
        })
        .await;
        assert!(fetch(&server, None).await.unwrap() == content(100_000));
        assert!(fetch(&server, Some(100_000)).await.unwrap() == content(100_000));
        let error = fetch(&server, Some(99_999)).await.unwrap_err();
        assert!(matches!(error, RegistryError::TooLarge { limit: 99_999, .. }), "{error}");
        assert_eq!(server.asked()[0], "GET /dir/file?token=hidden");
    }
    let server = ScriptedServer::start(|_| Reply::new(200)).await;
    assert!(fetch(&server, None).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_endless_file_ends_at_its_limit() {
    let server = ScriptedServer::start(|_| Reply::new(200).body(content(1000)).endless()).await;
    let error = fetch(&server, Some(50_000)).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { limit: 50_000, .. }), "{error}");
    // Even where nobody knows how large it should be.
    let few = Registries::new(Settings { unannounced: 70_000, ..quick() }).unwrap();
    let error = collect(few.fetch(&server.url("/file"), None)).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { limit: 70_000, .. }), "{error}");
    // What is announced is taken.
    let server = ScriptedServer::start(|_| Reply::new(200).body(content(100_000))).await;
    assert_eq!(collect(few.fetch(&server.url("/file"), None)).await.unwrap(), content(100_000));
}

#[tokio::test]
async fn a_file_cut_off_goes_on_if_it_is_the_same() {
    let server = ScriptedServer::start(|request| {
        let reply = Reply::file(request, &content(5000)).header("ETag", "\"one\"");
        if request.number == 0 { reply.cut_after(2000) } else { reply }
    })
    .await;
    assert!(fetch(&server, None).await.unwrap() == content(5000));
    let second = &server.requests()[1];
    assert_eq!((second.header("range"), second.header("if-range")), (Some("bytes=2000-"), Some("\"one\"")));

    // The whole file again, unchanged, by its date.
    let server = ScriptedServer::start(|request| {
        let reply =
            Reply::new(200).body(content(5000)).header("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        if request.number == 0 { reply.cut_after(2000) } else { reply }
    })
    .await;
    assert!(fetch(&server, None).await.unwrap() == content(5000));

    // Nothing to tell it by but its length.
    let server = ScriptedServer::start(|request| {
        let reply = Reply::file(request, &content(5000));
        if request.number == 0 { reply.cut_after(2000) } else { reply }
    })
    .await;
    assert!(fetch(&server, None).await.unwrap() == content(5000));
}

#[tokio::test]
async fn a_file_that_changed_meanwhile_is_said_so() {
    for (status, size) in [(200, 5000), (206, 5000), (206, 6000), (200, 4000)] {
        let server = ScriptedServer::start(move |request| {
            let tag = if size == 5000 { format!("\"{}\"", request.number) } else { String::new() };
            let reply = if request.number == 0 {
                Reply::new(200).body(content(5000)).cut_after(2000)
            } else if status == 206 {
                Reply::file(request, &content(size))
            } else {
                Reply::new(200).body(content(size))
            };
            if tag.is_empty() { reply } else { reply.header("ETag", &tag) }
        })
        .await;
        let error = fetch(&server, None).await.unwrap_err();
        assert!(matches!(error, RegistryError::Changed { .. }), "{status} {size}: {error}");
        assert!(!format!("{error:?}").contains("hidden"));
    }
}

#[tokio::test]
async fn failures_are_those_of_registries() {
    let server = ScriptedServer::start(|_| Reply::new(404)).await;
    let error = fetch(&server, None).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains("hidden"), "{error:?}");
    let server = ScriptedServer::start(|request| match request.number {
        0 => Reply::new(503),
        1 => Reply::new(302).header("Location", "/other"),
        _ => Reply::new(200).body("x"),
    })
    .await;
    assert_eq!(fetch(&server, None).await.unwrap(), b"x");
    assert_eq!(server.asked()[2], "GET /other");
}

#[tokio::test]
async fn what_is_no_address_is_refused() {
    for url in ["", "file:///etc/passwd", "ftp://me:hidden@host/", "http://", "no address?hidden"] {
        let error = collect(registries().fetch(url, None)).await.unwrap_err();
        assert!(matches!(error, RegistryError::BadUrl { .. }), "{url}: {error}");
        assert!(!format!("{error:?}").contains("hidden"), "{error:?}");
    }
}
