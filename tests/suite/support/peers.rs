//! Other programs that the tests use: a stock registry, skopeo, umoci and the like.

use std::path::PathBuf;

use super::root;

/// The path of a peer, or `None` with a loud word on what was skipped. Under `KIC_REQUIRE_PEERS=1` a missing peer
/// fails the test.
pub fn peer(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let own = root().join("target/peers/bin");
    let found = std::iter::once(own)
        .chain(std::env::split_paths(&folders))
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        missing(&format!("the peer `{name}` is not installed"));
    }
    found
}

/// The path of a file of definitions that `tests/peers/install` fetches, or `None` as in [`peer`].
pub fn peer_file(name: &str) -> Option<PathBuf> {
    let path = root().join("target/peers/definitions").join(name);
    if path.is_file() {
        return Some(path);
    }
    missing(&format!("the definitions `{name}` are not there"));
    None
}

fn missing(what: &str) {
    let message = format!("{what}: run tests/peers/install");
    assert!(std::env::var("KIC_REQUIRE_PEERS").as_deref() != Ok("1"), "{message}");
    eprintln!("SKIPPED: {message}");
}
