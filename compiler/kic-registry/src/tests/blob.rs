use std::collections::BTreeMap;

use super::*;
use crate::scripted_server::Request;
use crate::{Piece, Ranges};

pub(super) fn small_ranges() -> Settings {
    let ranges = Ranges { above: 64 << 10, front: 16 << 10, part: 16 << 10, at_once: 4, aim: Duration::ZERO };
    Settings { ranges, ..quick() }
}

pub(super) async fn blob_server(
    bytes: &[u8],
    mut script: impl FnMut(&Request, &[u8]) -> Reply + Send + 'static,
) -> ScriptedServer {
    let bytes = bytes.to_vec();
    ScriptedServer::start(move |request| script(request, &bytes)).await
}

async fn download(
    registries: &Registries,
    server: &ScriptedServer,
    bytes: &[u8],
) -> Result<Vec<u8>, RegistryError> {
    collect(registries.blob(&image(server, "a/b"), &digest_of(bytes), bytes.len() as u64)).await
}

/// The same in pieces, each put to its place.
async fn download_pieces(
    registries: &Registries,
    server: &ScriptedServer,
    bytes: &[u8],
) -> Result<Vec<u8>, RegistryError> {
    put_together(registries.blob_pieces(&image(server, "a/b"), &digest_of(bytes), bytes.len() as u64, 0, &[]))
        .await
}

async fn put_together(
    stream: impl Stream<Item = Result<Piece, RegistryError>> + Send,
) -> Result<Vec<u8>, RegistryError> {
    stream
        .try_fold(Vec::new(), |mut all, Piece { offset, bytes }| async move {
            let (begin, end) = (offset as usize, offset as usize + bytes.len());
            all.resize(all.len().max(end), 0);
            all[begin..end].copy_from_slice(&bytes);
            Ok(all)
        })
        .await
}

pub(super) fn range_of(request: &Request) -> Option<&str> {
    request.header("range")
}

#[tokio::test]
async fn a_blob_comes_in_one_request() {
    let bytes = content(100_000);
    let server = blob_server(&bytes, Reply::file).await;
    assert!(download(&registries(), &server, &bytes).await.unwrap() == bytes);
    assert_eq!(server.asked(), [format!("GET /v2/a/b/blobs/{}", digest_of(&bytes))]);
    assert_eq!(range_of(&server.requests()[0]), None);
    assert!(download(&registries(), &server, b"").await.unwrap().is_empty());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn content_encodings_are_left_alone() {
    let bytes = b"not really gzip";
    let server =
        blob_server(bytes, |request, bytes| Reply::file(request, bytes).header("Content-Encoding", "gzip"))
            .await;
    assert_eq!(download(&registries(), &server, bytes).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_blob_cut_off_goes_on_where_it_was() {
    let bytes = content(50_000);
    let server = blob_server(&bytes, |request, bytes| match request.number {
        0..=2 => Reply::file(request, bytes).cut_after(10_000),
        3 => Reply::new(503),
        _ => Reply::file(request, bytes),
    })
    .await;
    assert!(download(&registries(), &server, &bytes).await.unwrap() == bytes);
    let requests = server.requests();
    let ranges: Vec<_> = requests.iter().map(range_of).collect();
    let rest = Some("bytes=30000-");
    assert_eq!(ranges, [None, Some("bytes=10000-"), Some("bytes=20000-"), rest, rest]);
}

#[tokio::test]
async fn a_server_without_ranges_is_read_from_the_start_and_skipped() {
    let bytes = content(50_000);
    let server = blob_server(&bytes, |request, bytes| {
        let whole = Reply::new(200).body(bytes);
        if request.number < 3 { whole.cut_after(10_000 * (request.number + 1)) } else { whole }
    })
    .await;
    assert!(download(&registries(), &server, &bytes).await.unwrap() == bytes);
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn a_connection_that_breaks_often_still_brings_everything() {
    // More breaks than tries, but each brings a good piece.
    let bytes = content(12 * 300_000);
    let server = blob_server(&bytes, |request, bytes| Reply::file(request, bytes).cut_after(300_000)).await;
    assert!(download(&registries(), &server, &bytes).await.unwrap() == bytes);
    assert_eq!(server.requests().len(), 12);
}

#[tokio::test]
async fn a_connection_that_brings_next_to_nothing_is_given_up() {
    let bytes = content(50_000);
    let server = blob_server(&bytes, |request, bytes| Reply::file(request, bytes).cut_after(1)).await;
    let error = download(&registries(), &server, &bytes).await.unwrap_err();
    assert!(matches!(error, RegistryError::Broken { .. }), "{error}");
    assert_eq!(error.place().unwrap().attempts, 6);
}

#[tokio::test]
async fn too_many_and_too_few_bytes_are_errors_of_their_own() {
    let bytes = content(1000);
    let too_long = content(1001);
    for reply in [
        Reply::new(200).body(&too_long),
        Reply::new(200).body(&too_long).chunked(),
        Reply::new(200).body(&bytes).endless(),
    ] {
        let server = blob_server(&bytes, move |_, _| reply.clone()).await;
        let error = download(&registries(), &server, &bytes).await.unwrap_err();
        assert!(matches!(error, RegistryError::TooLarge { limit: 1000, .. }), "{error}");
        assert_eq!(server.requests().len(), 1);
    }
    // The registry says itself that it has less.
    let server = blob_server(&bytes, |request, bytes| Reply::file(request, &bytes[..900])).await;
    let error = download(&registries(), &server, &bytes).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::Truncated { expected: 1000, found: 900, declared: true, .. }),
        "{error}"
    );
    assert_eq!(server.requests().len(), 1);
    // It does not say so, but ends again and again.
    let server = blob_server(&bytes, |_, bytes| Reply::new(200).body(&bytes[..900]).chunked()).await;
    let error = download(&registries(), &server, &bytes).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::Truncated { expected: 1000, found: 900, declared: false, .. }),
        "{error}"
    );
    assert_eq!(server.requests().len(), 6);
    // It ends, and then says that there is no more.
    let server = blob_server(&bytes, |request, bytes| match request.number {
        0 => Reply::new(200).body(&bytes[..900]).chunked(),
        _ => Reply::file(request, &bytes[..900]),
    })
    .await;
    let error = download(&registries(), &server, &bytes).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::Truncated { expected: 1000, found: 900, declared: true, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn everything_there_is_enough_when_the_end_is_not_said() {
    let bytes = content(1000);
    // The last chunk never comes, but all bytes did.
    let server = blob_server(&bytes, |_, bytes| Reply::new(200).body(bytes).chunked().cut_after(1000)).await;
    assert!(download(&registries(), &server, &bytes).await.unwrap() == bytes);
}

#[tokio::test]
async fn ranges_that_are_not_what_was_asked_for_are_garbage() {
    let bytes = content(1000);
    for range in ["bytes 0-999/1000", "bytes 101-999/1000", "pages 1-2/3", ""] {
        let server = blob_server(&bytes, move |request, bytes| match request.number {
            0 => Reply::new(200).body(bytes).cut_after(100),
            _ => Reply::new(206).header("content-range", range).body(bytes),
        })
        .await;
        let error = download(&registries(), &server, &bytes).await.unwrap_err();
        assert!(matches!(error, RegistryError::Garbage { .. }), "{range}: {error}");
    }
    let server = blob_server(&bytes, move |request, bytes| match request.number {
        0 => Reply::new(200).body(bytes).cut_after(100),
        _ => Reply::new(206).header("content-range", "bytes 100-999/5000").body(bytes),
    })
    .await;
    let error = download(&registries(), &server, &bytes).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { limit: 1000, .. }), "{error}");
}

#[tokio::test]
async fn a_web_page_is_no_blob() {
    let bytes = content(1000);
    let server = blob_server(&bytes, |_, _| {
        Reply::new(200).header("content-type", "text/html").body("<html>log in</html>")
    })
    .await;
    let error = download(&registries(), &server, &bytes).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::Garbage { content_type, start, .. } if content_type == "text/html" && start == "<html>log in</html>"),
        "{error}"
    );
}

#[tokio::test]
async fn a_trickle_is_cut_and_resumed_elsewhere() {
    let bytes = content(1000);
    let slow = blob_server(&bytes, |request, bytes| {
        Reply::file(request, bytes).trickle(5, Duration::from_millis(10))
    })
    .await;
    let good = blob_server(&bytes, Reply::file).await;
    let mut settings = quick();
    settings.timeouts.speed_window = Duration::from_millis(60);
    settings.timeouts.minimum_speed = 100_000;
    settings.mirrors = BTreeMap::from([(good.host(), vec![slow.url("")])]);
    let registries = Registries::new(settings).unwrap();
    assert!(download(&registries, &good, &bytes).await.unwrap() == bytes);
    assert_eq!(slow.requests().len(), 1);
    assert!(range_of(&good.requests()[0]).is_some_and(|range| range != "bytes=0-"));
}

#[tokio::test]
async fn a_reader_that_takes_its_time_is_not_a_slow_registry() {
    let bytes = content(300_000);
    let server = blob_server(&bytes, Reply::file).await;
    let mut settings = quick();
    settings.timeouts.speed_window = Duration::from_millis(50);
    settings.timeouts.minimum_speed = 10_000_000_000;
    let registries = Registries::new(settings).unwrap();
    let mut stream = registries.blob(&image(&server, "a"), &digest_of(&bytes), bytes.len() as u64);
    let first = stream.try_next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    // What lies ready in the buffers needs no waiting.
    let second = stream.try_next().await.unwrap().unwrap();
    assert!(bytes.starts_with(&[&first[..], &second].concat()));
}

#[tokio::test]
async fn a_wrong_blob_is_asked_for_at_another_source() {
    let bytes = content(100);
    let wrong = blob_server(&bytes, |_, _| Reply::new(200).body(content(101).split_off(1))).await;
    let good = blob_server(&bytes, Reply::file).await;
    let settings = Settings { mirrors: BTreeMap::from([(good.host(), vec![wrong.url("")])]), ..quick() };
    let registries = Registries::new(settings).unwrap();
    let reference = image(&good, "a");
    let digest = digest_of(&bytes);
    let first = collect(registries.blob(&reference, &digest, 100)).await.unwrap();
    assert_ne!(digest_of(&first), digest);
    let second = collect(registries.blob_again(&reference, &digest, 100, 1)).await.unwrap();
    assert_eq!(digest_of(&second), digest);
    assert_eq!((wrong.requests().len(), good.requests().len()), (1, 1));
    assert_eq!(good.requests()[0].header("cache-control"), Some("no-cache"));
    assert_eq!(wrong.requests()[0].header("cache-control"), None);
}

#[tokio::test]
async fn a_large_blob_comes_in_ranges_at_once() {
    let bytes = content(300_001);
    let server = blob_server(&bytes, |request, bytes| {
        // Later parts are faster.
        let wait = 20u64.saturating_sub(request.number as u64 * 5);
        Reply::file(request, bytes).wait(Duration::from_millis(wait))
    })
    .await;
    let registries = Registries::new(small_ranges()).unwrap();
    assert!(download_pieces(&registries, &server, &bytes).await.unwrap() == bytes);
    let mut ranges: Vec<String> =
        server.requests().iter().map(|request| range_of(request).unwrap().to_owned()).collect();
    assert_eq!(ranges[0], "bytes=0-16383");
    ranges.sort();
    ranges.dedup();
    assert_eq!(ranges.len(), 300_001usize.div_ceil(16 << 10));
    assert!((2..=4).contains(&server.most_at_once()), "{}", server.most_at_once());
}

#[tokio::test]
async fn ranges_survive_cuts_refusals_and_changes_of_mind() {
    let bytes = content(300_000);
    let server = blob_server(&bytes, |request, bytes| match request.number {
        3 | 7 => Reply::file(request, bytes).cut_after(1000),
        5 => Reply::new(500),
        9 => Reply::raw(b""),
        _ => Reply::file(request, bytes),
    })
    .await;
    let registries = Registries::new(small_ranges()).unwrap();
    assert!(download_pieces(&registries, &server, &bytes).await.unwrap() == bytes);
    // Ranges are ignored at once, or from some request on.
    for from in [0, 1, 4] {
        let server = blob_server(&bytes, move |request, bytes| {
            if request.number < from { Reply::file(request, bytes) } else { Reply::new(200).body(bytes) }
        })
        .await;
        assert!(download_pieces(&registries, &server, &bytes).await.unwrap() == bytes);
        assert!(server.requests().len() <= 12, "{}", server.requests().len());
    }
    let server = blob_server(&bytes, |request, bytes| match request.number {
        0 => Reply::file(request, bytes),
        _ => Reply::new(404),
    })
    .await;
    let error = download_pieces(&registries, &server, &bytes).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn many_large_blobs_share_the_connections_and_all_arrive() {
    let bytes = content(200_000);
    let server = blob_server(&bytes, Reply::file).await;
    let mut settings = small_ranges();
    settings.connections_per_host = 2;
    let registries = Registries::new(settings).unwrap();
    let reference = image(&server, "a");
    let digest = digest_of(&bytes);
    // Eight readers, of which two begin before the others: nobody may wait for what another one holds.
    let mut streams: Vec<_> =
        (0..8).map(|_| registries.blob_pieces(&reference, &digest, 200_000, 0, &[])).collect();
    let mut begun = Vec::new();
    for stream in streams.iter_mut().take(2) {
        begun.push(stream.try_next().await.unwrap().unwrap());
    }
    let all = streams.into_iter().map(put_together);
    let all = tokio::time::timeout(Duration::from_secs(60), futures::future::try_join_all(all)).await;
    let all = all.expect("no deadlock").unwrap();
    for (number, got) in all.iter().enumerate() {
        let from = begun.get(number).map_or(0, |piece| piece.bytes.len());
        assert!(got[from..] == bytes[from..]);
    }
    assert!(server.most_at_once() <= 2, "{}", server.most_at_once());
}

#[tokio::test]
async fn a_download_that_is_dropped_stops() {
    let bytes = content(300_000);
    let server = blob_server(&bytes, |request, bytes| {
        Reply::file(request, bytes).trickle(4096, Duration::from_millis(5))
    })
    .await;
    let registries = Registries::new(small_ranges()).unwrap();
    let mut stream = registries.blob_pieces(&image(&server, "a"), &digest_of(&bytes), 300_000, 0, &[]);
    stream.try_next().await.unwrap().unwrap();
    drop(stream);
    tokio::time::sleep(Duration::from_millis(30)).await;
    let asked = server.requests().len();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.requests().len(), asked);
}

#[tokio::test]
async fn storage_that_a_range_was_sent_to_is_asked_directly_until_it_refuses() {
    let bytes = content(300_000);
    let storage = {
        let bytes = bytes.clone();
        let mut left = 6;
        ScriptedServer::start(move |request| {
            left -= 1;
            if left == 0 { Reply::new(403) } else { Reply::file(request, &bytes) }
        })
        .await
    };
    let to = storage.url("/x?signature=1");
    let server = ScriptedServer::start(move |_| Reply::new(307).header("Location", &to)).await;
    let registries = Registries::new(small_ranges()).unwrap();
    assert!(download_pieces(&registries, &server, &bytes).await.unwrap() == bytes);
    let (registry, storage) = (server.requests().len(), storage.requests().len());
    assert!(registry <= 6, "{registry} of {storage}");
    assert_eq!(storage, 300_000usize.div_ceil(16 << 10) + 1);
}

#[tokio::test]
async fn while_no_connection_is_free_nothing_is_split() {
    let bytes = content(300_000);
    let server = blob_server(&bytes, Reply::file).await;
    let mut settings = small_ranges();
    settings.ranges.front = 100_000;
    settings.connections_per_host = 1;
    let registries = Registries::new(settings).unwrap();
    assert!(download_pieces(&registries, &server, &bytes).await.unwrap() == bytes);
    let requests = server.requests();
    let ranges: Vec<_> = requests.iter().filter_map(range_of).collect();
    assert_eq!(ranges, ["bytes=0-99999", "bytes=100000-199999", "bytes=200000-"]);
}

#[tokio::test]
async fn a_part_from_another_place_or_of_another_size_ends_the_download() {
    let bytes = content(300_000);
    for (range, is_garbage) in
        [("bytes 0-16383/300000", true), ("bytes 1-2", true), ("", true), ("bytes 16384-32767/300001", false)]
    {
        let server = blob_server(&bytes, move |request, bytes| match request.number {
            0 => Reply::file(request, bytes),
            _ => Reply::new(206).header("content-range", range).body(&bytes[16_384..32_768]),
        })
        .await;
        let registries = Registries::new(small_ranges()).unwrap();
        let error = download_pieces(&registries, &server, &bytes).await.unwrap_err();
        match error {
            RegistryError::Garbage { .. } => assert!(is_garbage, "{range}: {error}"),
            RegistryError::TooLarge { limit: 300_000, .. } => assert!(!is_garbage, "{range}: {error}"),
            error => panic!("{range}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_fast_registry_is_asked_for_long_ranges() {
    let bytes = content(24 << 20);
    let server = blob_server(&bytes, Reply::file).await;
    let mut settings = small_ranges();
    (settings.ranges.front, settings.connections_per_host) = (4 << 20, 1);
    settings.ranges.aim = Duration::from_secs(3600);
    let registries = Registries::new(settings).unwrap();
    assert!(download_pieces(&registries, &server, &bytes).await.unwrap() == bytes);
    let requests = server.requests();
    let ranges: Vec<_> = requests.iter().filter_map(range_of).collect();
    assert_eq!(ranges, ["bytes=0-4194303", "bytes=4194304-"]);
}
