//! What a power failure takes: bytes that the disk did not have yet, in the store and in the output alike.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use kic_base::Digest;

use super::Place;
use crate::support::contents::files;
use crate::support::image_layout::{assert_valid, blob, document, layers, root_digest};
use crate::support::kic::shown;
use crate::support::random::Random;
use crate::support::repeats::{chance, rounds};

/// Zeros from some page on, as a file has them whose last pages were never written.
fn lose(path: &Path, random: &mut Random) {
    let size = fs::metadata(path).unwrap().len();
    let from = random.below(size) / 4096 * 4096;
    // A layer ends with zeros.
    let from = from.min(size.saturating_sub(8192));
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(&vec![0; usize::try_from(size - from).unwrap()], from).unwrap();
}

#[test]
fn what_a_power_failure_took_is_noticed_and_had_anew() {
    if !cfg!(target_os = "linux") {
        eprintln!("SKIPPED: elsewhere than on Linux everything is synced");
        return;
    }
    let place = Place::new();
    let (store, output) = (place.path("store"), place.path("out.oci"));
    let assert_whole = |when: &str| {
        let root = root_digest(&output);
        let manifest = document(&output, &root);
        let config = manifest["config"]["digest"].as_str().unwrap().to_owned();
        for digest in layers(&output).into_iter().chain([root, config]) {
            let found = Digest::of(&fs::read(blob(&output, &digest)).unwrap());
            assert_eq!(found.to_string(), digest, "{when}");
        }
    };
    let file = fs::read(place.path("tree/3/file")).unwrap();
    let mut random = chance(59);
    let mut lost = 0;
    for round in 0..rounds(9) {
        let done = place.compile(&store, &output);
        assert!(done.status.success(), "{}", shown(&done));
        let mut when = format!("round {round}:");
        let all = |folder: PathBuf| files(&folder).into_keys().map(move |name| folder.join(name));
        for path in all(store.join("blobs")).chain(all(output.join("blobs"))) {
            let file = fs::metadata(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            if random.below(8) == 0 {
                lose(&path, &mut random);
                when += &format!(" {}", path.display());
                lost += 1;
            }
            fs::set_permissions(&path, file.permissions()).unwrap();
            // Before this machine started.
            let before = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
            File::open(&path).unwrap().set_modified(before).unwrap();
        }
        if random.below(3) == 0 {
            let size = random.below(2) * 200;
            fs::write(output.join("index.json"), vec![0; usize::try_from(size).unwrap()]).unwrap();
            when += &format!(" index.json ({size})");
        }
        match round % 3 {
            // What the last run found out is lost, too.
            1 => fs::remove_dir_all(store.join("memos")).unwrap(),
            // And there is something to do.
            2 => {
                place.specs.write("tree/3/file", b"another one");
                let done = place.compile(&store, &output);
                assert!(done.status.success(), "{when}: {}", shown(&done));
                assert_ne!(root_digest(&output), place.golden(), "{when}");
                assert_whole(&when);
                place.specs.write("tree/3/file", &file);
            }
            _ => {}
        }
        let next = place.compile(&store, &output);
        assert!(next.status.success(), "{when}: {}", shown(&next));
        assert_eq!(root_digest(&output), place.golden(), "{when}");
        assert_whole(&when);
    }
    assert!(lost >= rounds(9), "{lost}");
    // Of an image whose manifest is lost nobody knows which blobs were its own. They stay, until all is looked at.
    let checked = place.command(&store, &output).arg("--check").output().unwrap();
    assert!(checked.status.success(), "{}", shown(&checked));
    assert_valid(&output);
}
