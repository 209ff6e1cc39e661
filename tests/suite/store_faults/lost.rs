//! What is gone from the store, and what keeps it there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use super::{Place, kept};
use crate::support::contents::layer;
use crate::support::damage::{Damage, damage};
use crate::support::image_layout::{assert_valid, root_digest};
use crate::support::kic::{json, shown, stdout};
use crate::support::random::Random;

/// An image, the store that it was compiled in, and where it stands.
fn compiled() -> (Place, PathBuf, PathBuf) {
    let place = Place::new();
    let (store, output) = (place.path("store"), place.path("out.oci"));
    stdout(&mut place.command(&store, &output));
    (place, store, output)
}

/// Where the store has the layer of that kind and name of an image.
fn blob_of(layout: &Path, kind: &str, name: &str, store: &Path) -> (String, PathBuf) {
    let digest = layer(layout, kind, name)["digest"].as_str().unwrap().to_owned();
    let hex = digest.strip_prefix("sha256:").unwrap();
    let path = store.join("blobs/sha256").join(&hex[..2]).join(hex);
    assert!(path.exists());
    (digest, path)
}

/// What a command found it has printed, too.
fn assert_corrupt(output: &Output, when: &str) {
    assert_eq!(output.status.code(), Some(2), "{when}: {}", shown(output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("store-corrupt"), "{when}: {}", shown(output));
}

#[test]
fn blobs_that_are_gone_are_named_until_they_are_there_again() {
    let (place, store, output) = compiled();
    let command = |arguments: &[&str]| place.specs.store(&store, arguments).output().unwrap();
    let gone =
        [("files", "root"), ("files", "tree")].map(|(kind, name)| blob_of(&output, kind, name, &store));
    for (_, path) in &gone {
        fs::remove_file(path).unwrap();
    }
    for _ in 0..2 {
        let found = command(&["verify", "--format", "json"]);
        assert_corrupt(&found, "two blobs are gone");
        let lost = json(&found)["lost"].as_array().unwrap().clone();
        let lost: Vec<&str> = lost.iter().map(|one| one["digest"].as_str().unwrap()).collect();
        assert!(gone.iter().all(|(digest, _)| lost.contains(&digest.as_str())), "{}", shown(&found));
    }
    let kept = command(&["why-alive", &gone[0].0]);
    assert!(String::from_utf8_lossy(&kept.stdout).contains("it is not in the store"), "{}", shown(&kept));
    let repaired = command(&["verify", "--repair"]);
    assert!(repaired.status.success(), "{}", shown(&repaired));
    assert!(gone.iter().all(|(_, path)| path.exists()), "{}", shown(&repaired));
    let last = command(&["verify"]);
    assert!(last.status.success() && last.stderr.is_empty(), "{}", shown(&last));
    fs::remove_dir_all(&output).unwrap();
    stdout(place.command(&store, &output).arg("--offline"));
    assert_eq!(root_digest(&output), place.golden());
}

#[test]
fn nothing_is_removed_while_the_record_of_a_root_is_damaged() {
    let (place, store, output) = compiled();
    let command = |arguments: &[&str]| place.specs.store(&store, arguments).output().unwrap();
    let damage_roots = || {
        let is_root = |path: &PathBuf| path.starts_with("roots") && path.extension().is_none();
        let mut random = Random::new(53);
        let roots: Vec<PathBuf> = kept(&store).into_iter().filter(is_root).collect();
        roots.iter().for_each(|name| damage(&store.join(name), Damage::Flip, &mut random));
        assert!(roots.len() > 1);
    };
    damage_roots();
    let before = kept(&store);
    for arguments in
        [&["gc"][..], &["gc", "--dry-run"], &["gc", "--max-size", "1B"], &["roots"], &["status"], &["verify"]]
    {
        assert_corrupt(&command(arguments), &format!("{arguments:?}"));
    }
    assert_eq!(kept(&store), before);

    // A compile records what it needs.
    stdout(&mut place.command(&store, &output));
    let done = command(&["gc"]);
    assert!(done.status.success(), "{}", shown(&done));
    fs::remove_dir_all(&output).unwrap();
    stdout(place.command(&store, &output).arg("--offline"));

    damage_roots();
    let given_up = command(&["verify", "--repair"]);
    assert!(given_up.status.success(), "{}", shown(&given_up));
    let done = command(&["gc"]);
    assert!(done.status.success(), "{}", shown(&done));
    assert!(!kept(&store).iter().any(|path| path.starts_with("blobs")), "nothing keeps it now");
}

/// An output shares its files with the store, and so their damage.
#[test]
fn damage_that_an_output_shares_is_mended_there_too() {
    let (place, store, output) = compiled();
    let command = |arguments: &[&str]| place.specs.store(&store, arguments).output().unwrap();
    let (digest, path) = blob_of(&output, "files", "tree", &store);
    let shared = output.join("blobs/sha256").join(path.file_name().unwrap());
    let mut bytes = fs::read(&path).unwrap();
    bytes[90] ^= 4;
    let write = |bytes: &[u8]| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, bytes).unwrap();
    };
    write(&bytes);
    if fs::read(&shared).unwrap() != bytes {
        eprintln!("SKIPPED: outputs share no files with a store here");
        return;
    }
    let told = command(&["verify", "--repair"]);
    assert_corrupt(&told, "nobody else has it");
    assert!(String::from_utf8_lossy(&told.stderr).contains("run `kic compile`"), "{}", shown(&told));
    // What is removed meanwhile does not take away what tells of the damage.
    stdout(&mut place.specs.store(&store, &["gc"]));
    stdout(&mut place.command(&store, &output));
    assert_eq!(root_digest(&output), place.golden());
    assert_valid(&output);
    assert!(path.exists(), "{digest}");
    let done = command(&["gc", "--format", "json"]);
    assert_eq!(json(&done)["removedDamaged"], 1, "{}", shown(&done));
}

/// A collection that was killed may leave a layer, and not what it was made from. The next compile needs no more than the layer.
#[test]
fn what_went_into_layers_that_are_there_is_not_lost() {
    let (place, store, output) = compiled();
    let gone = kept(&store).into_iter().filter(|path| {
        let is_in_output = || output.join("blobs/sha256").join(path.file_name().unwrap()).exists();
        path.starts_with("blobs") && !is_in_output()
    });
    assert!(gone.map(|path| fs::remove_file(store.join(path)).unwrap()).count() > 2);
    let verified = place.specs.store(&store, &["verify"]).output().unwrap();
    assert!(verified.status.success() && verified.stderr.is_empty(), "{}", shown(&verified));
}
