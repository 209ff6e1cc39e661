//! What is different in a run itself: what its store holds, where its output goes, how kic was built.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use kic_base::Epoch;

use super::golden::{assert_golden, assert_golden_of};
use super::{Build, reference, references};
use crate::support::contents::{digest_of, files};
use crate::support::image_layout::{assert_valid, root_digest};
use crate::support::kic::{kic, program, stdout};
use crate::support::random::Random;
use crate::support::rich_spec::{self, Making};

#[test]
fn what_the_store_holds_does_not_show() {
    for reference in references() {
        let cold = reference.build();
        cold.run_and_compare(&reference, "a cold store");
        let again = |axis: &str| {
            reference.build().store(&cold.store).run_and_compare(&reference, axis);
        };
        again("a warm store");
        fs::remove_dir_all(cold.store.join("outputs")).unwrap();
        again("a store without output records");
        fs::remove_dir_all(cold.store.join("embedded")).unwrap();
        again("a store that lost what it knew of embedded blobs");
        let mut blobs: Vec<PathBuf> = files(&cold.store.join("blobs")).into_keys().collect();
        Random::new(5).shuffle(&mut blobs);
        for blob in &blobs[..blobs.len() / 2] {
            fs::remove_file(cold.store.join("blobs").join(blob)).unwrap();
        }
        again("a store that lost half of its blobs");
    }
}

#[test]
fn the_file_system_of_store_and_output_does_not_show() {
    let reference = reference();
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("SKIPPED: no /dev/shm, so store and output were on one file system");
        return;
    };
    let output = memory.path().join("output.oci");
    reference.build().output(&output).run_and_compare(&reference, "an output on another file system");
    let store = memory.path().join("store");
    reference.build().store(&store).run_and_compare(&reference, "a store on another file system");
}

#[test]
fn an_output_that_is_written_over_is_the_same_as_a_new_one() {
    let reference = reference();
    let place = tempfile::tempdir().unwrap();
    let spec = place.path().join("spec");
    rich_spec::make(&spec, Making::default());
    let output = place.path().join("output.oci");
    let text = fs::read_to_string(spec.join("cluster.kdl")).unwrap();
    rich_spec::add_line(&spec, "compression \"none\"");
    let other = Build::new(&spec).output(&output).run();
    assert_ne!(other, root_digest(&reference.layout));
    fs::write(spec.join("cluster.kdl"), text).unwrap();
    Build::new(&spec).output(&output).run_and_compare(&reference, "over another image");
    Build::new(&spec).output(&output).run_and_compare(&reference, "over itself");
}

#[test]
fn an_archive_holds_the_same_image_and_has_the_same_bytes_each_time() {
    let reference = reference();
    let place = tempfile::tempdir().unwrap();
    let archive = |name: &str, jobs: &str| {
        let path = place.path().join(name);
        let digest = reference.build().output(&path).argument("-j").argument(jobs).run();
        assert_eq!(digest, root_digest(&reference.layout));
        path
    };
    let (one, two) = (archive("one.tar", "1"), archive("two.tar", "16"));
    assert_eq!(digest_of(&one), digest_of(&two), "two archives differ");
    assert_golden("archive", &digest_of(&one).to_string());
    let unpacked = place.path().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let status = Command::new("tar").arg("-xf").arg(&one).arg("-C").arg(&unpacked).status().unwrap();
    assert!(status.success());
    reference.assert_same(&unpacked, "an archive, unpacked");
}

#[test]
fn each_compression_gives_its_golden_digest() {
    for method in ["gzip", "none"] {
        let place = tempfile::tempdir().unwrap();
        let spec = place.path().join("spec");
        rich_spec::make(&spec, Making::default());
        rich_spec::add_line(&spec, &format!("compression \"{method}\""));
        let one = Build::new(&spec).argument("-j").argument("1");
        assert_golden(method, &one.run());
        assert_valid(&one.output);
        let many = Build::new(&spec).argument("-j").argument("16").variable("TZ", "Asia/Kathmandu");
        assert_eq!(many.run(), root_digest(&one.output));
        assert_eq!(files(&one.output), files(&many.output), "{method}");
    }
}

#[test]
fn source_date_epoch_changes_the_digest_and_nothing_else_does_then() {
    let reference = reference();
    let at = |seconds: &str, jobs: &str| {
        let build = reference.build().variable("SOURCE_DATE_EPOCH", seconds).argument("-j").argument(jobs);
        let digest = build.run();
        (digest, build)
    };
    let (digest, build) = at("1700000000", "1");
    assert_ne!(digest, root_digest(&reference.layout));
    assert_golden("zstd at 1700000000", &digest);
    assert_valid(&build.output);
    let (again, other) = at("1700000000", "16");
    assert_eq!(again, digest);
    assert_eq!(files(&build.output), files(&other.output));
    // The last second of a tar header without extensions, in a store that holds the same layers of other times.
    let last = reference.build().store(&build.store).variable("SOURCE_DATE_EPOCH", "8589934591").run();
    assert_ne!(last, digest);
    reference.build().store(&build.store).run_and_compare(&reference, "after other times, in one store");
}

#[test]
fn every_epoch_that_this_kic_knows_gives_its_golden_digest() {
    for number in 1..=Epoch::CURRENT.number() {
        let place = tempfile::tempdir().unwrap();
        let spec = place.path().join("spec");
        rich_spec::make_of_epoch(&spec, number);
        let build = Build::new(&spec).argument("--locked");
        assert_golden_of(number, "zstd", &build.run());
    }
}

/// A spec without pins has no lock that would name the epoch, so the record does; that of the first epoch, which had no other, does not.
#[test]
fn an_image_of_any_epoch_is_compiled_again_from_its_record() {
    struct Nobody;
    impl kic::Watch for Nobody {
        fn event(&self, _: kic::Event) {}
    }
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::write(path("text"), Random::new(3).bytes(600_000)).unwrap();
    let spec = "cluster \"c\" { base scratch; files \"f\" { copy \"text\" to=\"/\"; }; }";
    fs::write(path("cluster.kdl"), spec).unwrap();
    let mut digests = BTreeSet::new();
    for (lock, name) in [(None, "lockless"), (Some("lock version=1 epoch=1\n"), "locked")] {
        lock.iter().for_each(|lock| fs::write(path("kic.lock"), lock).unwrap());
        for number in 1..=Epoch::CURRENT.number() {
            let mut request = crate::faults::request_for(place.path());
            request.record_source = true;
            request.gather.epoch = Epoch::from_number(number).unwrap();
            let context =
                crate::faults::context_for(&path(&format!("store-{name}-{number}")), Arc::new(Nobody));
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            let compiled = runtime.block_on(kic::compile(&request, &crate::faults::Disk, &context)).unwrap();
            digests.insert((name, compiled.image.root.digest));
            let mut again = kic(place.path(), &path("other-store"));
            stdout(again.args(["verify", "--rebuild", "out.oci"]));
            fs::remove_dir_all(path("out.oci")).unwrap();
        }
    }
    // Where there is a lock, it alone says the epoch, and the record has nothing of another one.
    let count = |name: &str| digests.iter().filter(|(of, _)| *of == name).count();
    assert_eq!((count("lockless"), count("locked")), (Epoch::CURRENT.number() as usize, 1));
}

#[test]
fn a_debug_and_a_release_build_of_kic_give_the_same_image() {
    let own = program();
    let target = own.ancestors().nth(2).unwrap();
    let other = if own.starts_with(target.join("release")) { "debug" } else { "release" };
    let other = target.join(other).join("kic");
    if !is_fresh(&other) {
        assert!(
            std::env::var("KIC_REQUIRE_RELEASE").as_deref() != Ok("1"),
            "{} is missing or old: cargo build --release --package kic-cli",
            other.display()
        );
        eprintln!(
            "SKIPPED: {} is missing, or older than the sources: only one build of kic was tried",
            other.display()
        );
        return;
    }
    for reference in references() {
        let mut build = reference.build();
        build.program.clone_from(&other);
        build.run_and_compare(&reference, "another build of kic");
    }
}

/// Whether a program is there and newer than every source that cargo lists for it.
fn is_fresh(program: &Path) -> bool {
    let (Ok(list), Ok(metadata)) = (fs::read_to_string(program.with_extension("d")), fs::metadata(program))
    else {
        return false;
    };
    let sources = list.split_once(": ").map_or("", |(_, sources)| sources).replace("\\ ", "\0");
    let built = metadata.modified().unwrap();
    sources.split_whitespace().all(|source| {
        fs::metadata(source.replace('\0', " "))
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|time| time <= built)
    })
}

#[test]
fn nothing_of_a_build_stays_beside_its_output() {
    let reference = reference();
    let build = reference.build();
    build.run_and_compare(&reference, "the plain case");
    let mut names: Vec<_> =
        fs::read_dir(build.scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["output.oci", "store"]);
    assert_eq!(fs::read_dir(build.store.join("tmp")).unwrap().count(), 0);
    assert!(!reference.spec().join("kic.lock").exists(), "a spec without pins needs no lock");
}
