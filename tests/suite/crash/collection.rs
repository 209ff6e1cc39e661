//! `kic store gc`, killed.

use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::support::contents::files;
use crate::support::kic::{shown, stdout};
use crate::support::killing::{Ended, Moments};
use crate::support::random::Random;
use crate::support::repeats::{chance, kills};
use crate::support::sharing_specs::{SharingSpecs, VARIANTS};

#[test]
fn a_collection_that_is_killed_leaves_a_good_store() {
    let place = SharingSpecs::new(2, 1 << 20);
    let store = place.path("store");
    let mut random = chance(41);
    let count = kills(8);
    // How long a collection takes in peace, here and now.
    place.assert_compiles(0, &store, &[]);
    litter(&store, &mut random);
    let started = Instant::now();
    stdout(&mut place.store(&store, &["gc", "--quiet"]));
    let mut moments = Moments::new(Random::new(random.next()), count, started.elapsed());
    let mut some_left = 0;
    for round in 0..count as usize {
        // One image that is kept, another one whose output is gone, and what nobody needs.
        place.forget_outputs();
        let (kept, gone) = (round % 2, (round + 1) % 2);
        place.assert_compiles(gone, &store, &[]);
        place.forget_outputs();
        drop(fs::remove_file(place.path(VARIANTS[gone]).join("kic.lock")));
        place.assert_compiles(kept, &store, &[]);
        litter(&store, &mut random);
        let before = files(&store.join("blobs")).len();
        let (ended, when) = moments.end(&mut place.store(&store, &["gc", "--quiet"]), "KILL");
        if ended == Ended::Killed {
            some_left += usize::from(files(&store.join("blobs")).len() < before);
        }
        // What is kept is there; what is gone is had again; and the next collection comes to its end.
        place.assert_compiles(kept, &store, &["--offline"]);
        place.assert_compiles(gone, &store, &[]);
        let verified = place.store(&store, &["verify", "--quiet"]).output().unwrap();
        assert!(verified.status.success(), "round {round}, {when}: {}", shown(&verified));
        stdout(&mut place.store(&store, &["gc", "--quiet"]));
        place.assert_compiles(kept, &store, &["--offline"]);
        place.assert_tidy(&store, &when);
    }
    moments.assert_hit();
    eprintln!("{some_left} of {count} collections were killed after they had removed something");
}

/// Lays blobs into a store that nobody needs.
fn litter(store: &Path, random: &mut Random) {
    for number in 0..300 {
        let bytes = random.bytes(64 + number);
        let hex = kic_base::Digest::of(&bytes).hex();
        let path = store.join("blobs/sha256").join(&hex[..2]).join(&hex);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}
