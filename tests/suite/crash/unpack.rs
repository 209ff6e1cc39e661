//! `kic unpack`, killed.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use crate::support::contents::files;
use crate::support::kic::{kic, shown, stdout};
use crate::support::killing::{Ended, Moments};
use crate::support::random::Random;
use crate::support::repeats::{chance, kills};
use crate::support::sharing_specs::names;

#[test]
fn an_unpack_that_is_killed_leaves_nothing_or_everything() {
    let place = tempfile::tempdir().unwrap();
    let mut random = chance(13);
    for number in 0..150 {
        let folder = place.path().join(format!("tree/{}", number % 8));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(number.to_string()), random.bytes(number * 200)).unwrap();
    }
    let text = "cluster \"image\" { base scratch; files \"one\" { copy \"tree\" to=\"/one\"; }
        files \"two\" { copy \"tree\" to=\"/two\"; }; }";
    fs::write(place.path().join("cluster.kdl"), text).unwrap();
    let store = place.path().join("store");
    stdout(kic(place.path(), &store).args(["compile", "-q"]));
    fs::create_dir(place.path().join("out")).unwrap();
    let unpack = |name: &str| {
        let mut command = kic(place.path(), &store);
        command.args(["unpack", "--quiet", "image.oci"]).arg(Path::new("out").join(name));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let began = Instant::now();
    stdout(&mut unpack("whole"));
    let whole = files(&place.path().join("out/whole"));
    let destination = place.path().join("out/root");
    let count = kills(15);
    let mut moments = Moments::new(Random::new(random.next()), count, began.elapsed());
    for round in 0..count as usize {
        drop(fs::remove_dir_all(&destination));
        // An empty folder is a destination too, and is empty again afterwards.
        let empty = round.is_multiple_of(3);
        if empty {
            fs::create_dir(&destination).unwrap();
        }
        let signal = ["KILL", "INT", "KILL", "KILL", "TERM"][round % 5];
        let (ended, when) = moments.end(&mut unpack("root"), signal);
        let when = format!("round {round}, {when}");
        if ended == Ended::Before {
            assert_eq!(files(&destination), whole, "{when}");
            continue;
        }
        // Killed between its last step and its end, it leaves everything.
        let all = ended == Ended::Killed && destination.exists() && files(&destination) == whole;
        if !all {
            assert_eq!(destination.exists(), empty, "{when}: a part is there");
            assert!(!empty || names(&destination).is_empty(), "{when}: a part is there");
        }
        if ended == Ended::Asked {
            let beside = names(&place.path().join("out"));
            assert_eq!(beside.len(), 1 + usize::from(empty), "{when}: something is beside it: {beside:?}");
        }
        if !all {
            let next = unpack("root").output().unwrap();
            assert!(next.status.success(), "{when}, the next run: {}", shown(&next));
            assert_eq!(files(&destination), whole, "{when}");
            let left = names(&place.path().join("out"));
            assert_eq!(left, ["root", "whole"], "{when}: something is beside it");
        }
    }
    moments.assert_hit();
}
