//! Downloads that go on with what an earlier one brought.

#![allow(clippy::single_range_in_vec_init, reason = "what is had is often one range")]

use super::blob::{blob_server, range_of, small_ranges};
use super::*;
use crate::scripted_server::Request;

/// Fetches what is missing beside the ranges that are had; the offsets and lengths of what comes, and all that was asked for.
async fn go_on(
    settings: Settings,
    bytes: &[u8],
    had: &[std::ops::Range<u64>],
    script: impl FnMut(&Request, &[u8]) -> Reply + Send + 'static,
) -> (Vec<(u64, u64)>, Vec<Option<String>>) {
    let server = blob_server(bytes, script).await;
    let registries = Registries::new(settings).unwrap();
    let size = bytes.len() as u64;
    let mut stream = registries.blob_pieces(&image(&server, "a/b"), &digest_of(bytes), size, 0, had);
    let mut all = vec![0; bytes.len()];
    for range in had {
        let range = range.start as usize..range.end as usize;
        all[range.clone()].copy_from_slice(&bytes[range]);
    }
    let mut came = Vec::new();
    while let Some(piece) = stream.try_next().await.unwrap() {
        let at = piece.offset as usize;
        all[at..at + piece.bytes.len()].copy_from_slice(&piece.bytes);
        came.push((piece.offset, piece.bytes.len() as u64));
    }
    assert!(all == bytes, "{had:?}");
    (came, server.requests().iter().map(|request| range_of(request).map(str::to_owned)).collect())
}

fn some(ranges: &[&str]) -> Vec<Option<String>> {
    ranges.iter().map(|range| Some((*range).to_owned())).collect()
}

#[tokio::test]
async fn what_is_had_is_not_asked_for() {
    let bytes = content(50_000);
    for (had, asked) in [
        (vec![], vec![None]),
        (vec![0..50_000], vec![]),
        (vec![0..20_000], some(&["bytes=20000-"])),
        (vec![30_000..50_000], some(&["bytes=0-29999"])),
        (vec![10..20, 30_000..40_000], some(&["bytes=0-9", "bytes=20-29999", "bytes=40000-"])),
    ] {
        let missing = 50_000 - had.iter().map(|range| range.end - range.start).sum::<u64>();
        let (came, requests) = go_on(small_ranges(), &bytes, &had, Reply::file).await;
        assert_eq!(requests, asked, "{had:?}");
        assert_eq!(came.iter().map(|(_, length)| length).sum::<u64>(), missing, "{had:?}");
    }
}

#[tokio::test]
async fn what_is_missing_of_a_large_blob_comes_in_parts() {
    let bytes = content(400_000);
    let had = [50_000..100_000, 120_000..130_000, 390_000..400_000];
    let (came, requests) = go_on(small_ranges(), &bytes, &had, Reply::file).await;
    assert_eq!(came.iter().map(|(_, length)| length).sum::<u64>(), 330_000);
    assert!(requests.len() > 6, "{requests:?}");
    // None reaches into what is had.
    for (begin, length) in &came {
        let is_had = |at: u64| had.iter().any(|range| range.contains(&at));
        assert!(!is_had(*begin) && !is_had(begin + length - 1), "{begin} {length}");
    }
    // Cuts and refusals on the way, and parts that begin between what is had.
    let (_, requests) = go_on(small_ranges(), &bytes, &had, |request, bytes| match request.number {
        1 | 4 => Reply::file(request, bytes).cut_after(1000),
        2 => Reply::new(500),
        _ => Reply::file(request, bytes),
    })
    .await;
    assert!(requests.iter().all(Option::is_some), "{requests:?}");
}

#[tokio::test]
async fn a_registry_that_ignores_ranges_brings_what_is_missing_at_once_or_from_some_request_on() {
    let bytes = content(400_000);
    for had in [
        vec![0..100_000],
        vec![50_000..100_000, 120_000..130_000],
        vec![0..10, 20..30, 399_000..400_000],
        vec![0..399_999],
    ] {
        for from in [0, 1, 3] {
            let (_, requests) = go_on(small_ranges(), &bytes, &had, move |request, bytes| {
                if request.number < from { Reply::file(request, bytes) } else { Reply::new(200).body(bytes) }
            })
            .await;
            assert!(requests.len() <= 12, "{had:?} {from}: {requests:?}");
        }
    }
    // Also one stream for all that is not much.
    let bytes = content(50_000);
    let had = [0..10_000, 20_000..30_000];
    let (came, requests) = go_on(small_ranges(), &bytes, &had, |_, bytes| Reply::new(200).body(bytes)).await;
    assert_eq!(requests, some(&["bytes=10000-19999"]));
    assert_eq!(came.iter().map(|(_, length)| length).sum::<u64>(), 40_000);
}
