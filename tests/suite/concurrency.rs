//! Many processes use one store, and one output, at the same time.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::contents::files;
use crate::support::image_layout::{assert_valid, index, root_digest};
use crate::support::kic::{json, shown};
use crate::support::random::Random;
use crate::support::repeats::rounds;
use crate::support::sharing_specs::{SharingSpecs, VARIANTS, names, spec};

/// How many specs take part.
const MANY: usize = 4;

/// Starts all commands, then waits for all of them. Each must give the digest of its spec.
fn run_at_once(place: &SharingSpecs, commands: Vec<(usize, Command)>, when: &str) {
    let running: Vec<_> =
        commands.into_iter().map(|(variant, mut command)| (variant, command.spawn().unwrap())).collect();
    for (variant, child) in running {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{when}, {}: {}", VARIANTS[variant], shown(&output));
        let digest = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert_eq!(digest, place.golden[variant], "{when}, {}", VARIANTS[variant]);
    }
}

#[test]
fn eight_processes_share_one_store() {
    let place = SharingSpecs::new(MANY, 5 << 20);
    let store = place.path("store");
    let mut random = Random::new(29);
    for round in 0..5 {
        let when = format!("round {round}");
        // A store that is not there yet; a warm one; one that lost its records; one that lost half of its blobs.
        match round {
            0 | 3 => drop(fs::remove_dir_all(&store)),
            1 => {}
            2 => fs::remove_dir_all(store.join("outputs")).unwrap(),
            _ => {
                for blob in files(&store.join("blobs")).keys().filter(|_| random.below(2) == 0) {
                    fs::remove_file(store.join("blobs").join(blob)).unwrap();
                }
                place.forget_locks();
            }
        }
        let output = |process: usize| place.path(&format!("round-{round}-{process}.oci"));
        let commands = (0..8).map(|process| {
            let variant = process % MANY;
            let mut command = place.compile(variant, &store, &output(process));
            command.args(["-j", ["1", "2", "16"][process % 3]]);
            (variant, command)
        });
        run_at_once(&place, commands.collect(), &when);
        for process in 0..8 {
            assert_eq!(files(&output(process)), files(&place.alone(process % MANY)), "{when}");
            fs::remove_dir_all(output(process)).unwrap();
        }
        place.assert_tidy(&store, &when);
    }
}

#[test]
fn processes_that_write_to_one_output_leave_the_whole_image_of_one() {
    let place = SharingSpecs::new(MANY, 5 << 20);
    let store = place.path("store");
    for round in 0..5 {
        let when = format!("round {round}");
        let output = place.path("outputs/shared.oci");
        let archive = place.path("outputs/shared.tar");
        fs::create_dir_all(output.parent().unwrap()).unwrap();
        if round % 2 == 0 {
            drop(fs::remove_dir_all(&output));
        }
        // Twice the same image, and another one, to a layout; two images to an archive.
        let (one, other) = (round % MANY, (round + 1) % MANY);
        let commands = [(one, &output), (one, &output), (other, &output), (one, &archive), (other, &archive)];
        let commands = commands.map(|(variant, output)| (variant, place.compile(variant, &store, output)));
        run_at_once(&place, commands.into(), &when);
        let digest = root_digest(&output);
        let variant = [one, other].into_iter().find(|variant| place.golden[*variant] == digest);
        let variant = variant.unwrap_or_else(|| panic!("{when}: {digest} is the image of nobody"));
        assert_valid(&output);
        assert_eq!(
            files(&output),
            files(&place.alone(variant)),
            "{when}: the other image has left something"
        );
        assert!(
            [one, other].map(|variant| &place.golden[variant]).contains(&&root_digest(&archive)),
            "{when}"
        );
        assert_eq!(names(&place.path("outputs")), ["shared.oci", "shared.tar"], "{when}: left beside");
        place.assert_tidy(&store, &when);
    }
}

#[test]
fn processes_that_write_different_tags_to_one_layout_leave_all_images() {
    let place = SharingSpecs::new(MANY, 5 << 20);
    let output = place.path("tags.oci");
    for (number, variant) in VARIANTS[..MANY].iter().enumerate() {
        let text = spec(number).replace("version=\"v1\"", &format!("version=\"{variant}\""));
        place.write(&format!("{variant}/cluster.kdl"), text.as_bytes());
    }
    let store = place.path("store");
    let running: Vec<_> =
        (0..MANY).map(|variant| place.compile(variant, &store, &output).spawn().unwrap()).collect();
    let running: Vec<_> = running.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let mut digests = BTreeSet::new();
    for output in &running {
        assert!(output.status.success(), "{}", shown(output));
        digests.insert(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let index = index(&output);
    let found = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["digest"].as_str().unwrap().to_owned());
    assert_eq!(found.collect::<BTreeSet<_>>(), digests);
    assert_valid(&output);
}

#[test]
fn processes_that_unpack_at_once_each_get_everything() {
    let place = SharingSpecs::new(MANY, 5 << 20);
    let store = place.path("store");
    let reference = format!("{}/e/tool:v1", place.upstream.host());
    fs::create_dir(place.path("out")).unwrap();
    let running: Vec<_> = (0..4)
        .map(|number| {
            let unpack = ["unpack", "--quiet", "--platform", "linux/amd64", &reference];
            // Two of them to one place, which is the first one's; the other is told.
            place.kic("out", &store, &unpack).arg(["a", "b", "same", "same"][number]).spawn().unwrap()
        })
        .collect();
    let outputs: Vec<_> = running.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    for output in &outputs[..2] {
        assert!(output.status.success(), "{}", shown(output));
    }
    let lucky = outputs[2..].iter().filter(|output| output.status.success()).count();
    assert_eq!(lucky, 1, "{} {}", shown(&outputs[2]), shown(&outputs[3]));
    let unlucky = outputs[2..].iter().find(|output| !output.status.success()).unwrap();
    assert!(String::from_utf8_lossy(&unlucky.stderr).contains("output-not-empty"), "{}", shown(unlucky));
    let whole = files(&place.path("out/a"));
    assert!(whole.len() > 2);
    assert_eq!(files(&place.path("out/b")), whole);
    assert_eq!(files(&place.path("out/same")), whole);
    assert_eq!(names(&place.path("out")), ["a", "b", "same"]);
}

#[test]
fn eight_processes_compile_under_collections() {
    let place = SharingSpecs::new(VARIANTS.len(), 1 << 20);
    let store = place.path("store");
    let (done, collections) = (AtomicBool::new(false), Mutex::new(0));
    std::thread::scope(|scope| {
        // One collection after the other, as long as there are compiles.
        let collector = scope.spawn(|| {
            let mut removed = 0;
            while !done.load(Ordering::Relaxed) {
                let output = place.store(&store, &["gc", "--format", "json"]).output().unwrap();
                assert!(output.status.success(), "{}", shown(&output));
                removed += json(&output)["removed"].as_array().unwrap().len();
                *collections.lock().unwrap() += 1;
            }
            removed
        });
        for round in 0..rounds(3) {
            // Without outputs and locks nothing is kept but what runs.
            place.forget_outputs();
            place.forget_locks();
            let compile = |variant| place.compile(variant, &store, &place.output(variant)).spawn().unwrap();
            let running: Vec<_> = (0..VARIANTS.len()).map(compile).collect();
            for (variant, child) in running.into_iter().enumerate() {
                let output = child.wait_with_output().unwrap();
                let when = format!("round {round}, {}", VARIANTS[variant]);
                assert!(output.status.success(), "{when}: {}", shown(&output));
                assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), place.golden[variant], "{when}");
                assert_eq!(root_digest(&place.output(variant)), place.golden[variant], "{when}");
                assert_valid(&place.output(variant));
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(collector.join().unwrap() > 0, "the collections removed nothing");
    });
    // What the last round made is kept, and good.
    let verified = place.store(&store, &["verify", "--format", "json"]).output().unwrap();
    assert!(verified.status.success(), "{}", shown(&verified));
    place.assert_tidy(&store, "at the end");
    let asked = place.upstream.asked().len();
    for variant in 0..VARIANTS.len() {
        place.assert_compiles(variant, &store, &["--offline"]);
    }
    assert_eq!(place.upstream.asked().len(), asked);
    eprintln!("{} collections ran", collections.into_inner().unwrap());
}
