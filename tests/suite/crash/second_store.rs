//! `kic compile --check`, killed while it builds into a second store.

use std::time::{Duration, Instant};

use crate::support::kic::{shown, stdout};
use crate::support::killing::{send, wait};
use crate::support::sharing_specs::{SharingSpecs, names, slowly};

#[test]
fn a_check_that_is_killed_leaves_no_second_store_for_long() {
    let place = SharingSpecs::served(1, 1 << 20, slowly);
    let store = place.path("store");
    place.assert_compiles(0, &store, &[]);
    let check = || {
        let mut command = place.compile(0, &store, &place.output(0));
        command.arg("--check");
        command
    };
    let scratch = || -> Vec<String> {
        names(&place.path("")).into_iter().filter(|name| name.starts_with(".kic-check-")).collect()
    };
    // A folder that is no store yet belongs to nobody who could be told apart from the living.
    let is_store = || scratch().iter().any(|name| place.path(name).join("version").exists());
    // The second store is there after the first build, which has nothing to do.
    let mut killed = 0;
    for _ in 0..30 {
        let mut child = check().spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_store() && child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        send(&child, "KILL");
        wait(&mut child, "check");
        killed += usize::from(!scratch().is_empty());
        assert!(scratch().len() <= 1, "second stores pile up");
        if killed == 4 {
            break;
        }
    }
    assert_eq!(killed, 4, "no check was hit");
    let next = check().output().unwrap();
    assert!(next.status.success(), "{}", shown(&next));
    assert!(scratch().is_empty(), "a second store is left over");
    place.assert_tidy(&store, "after checks that were killed");
    stdout(&mut place.store(&store, &["verify", "--quiet"]));
}
