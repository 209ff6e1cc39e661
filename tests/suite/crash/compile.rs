//! `kic compile`, killed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::contents::files;
use crate::support::image_layout::{assert_valid, root_digest};
use crate::support::kic::{shown, stdout};
use crate::support::killing::{Ended, Moments};
use crate::support::random::Random;
use crate::support::repeats::{chance, kills};
use crate::support::sharing_specs::{SharingSpecs, VARIANTS, names, slowly};

/// What is sent, in turns.
const SIGNALS: [&str; 7] = ["KILL", "KILL", "KILL", "INT", "KILL", "KILL", "TERM"];

/// Two specs with downloads from a slow registry, whose images take turns at one output.
struct Place {
    specs: SharingSpecs,
    output: &'static str,
    /// What may stand at the output.
    golden: Vec<String>,
}

impl Place {
    fn new(output: &'static str) -> Self {
        let specs = SharingSpecs::served(2, 1 << 20, slowly);
        Self { golden: specs.golden.clone(), specs, output }
    }

    fn store(&self) -> PathBuf {
        self.specs.path("store")
    }

    fn output(&self) -> PathBuf {
        self.specs.path("outputs").join(self.output)
    }

    fn compile(&self, variant: usize) -> Command {
        self.specs.compile(variant, &self.store(), &self.output())
    }

    /// What stands at the output is nothing, where nothing was, or a whole image that is known.
    fn assert_whole(&self, when: &str) {
        let output = self.output();
        if !output.exists() {
            return;
        }
        let digest = root_digest(&output);
        assert!(self.golden.contains(&digest), "{when}: {digest} is the image of no spec");
        if output.is_dir() {
            assert_valid(&output);
        } else {
            // An archive is renamed into its place; its end shows that it is all there.
            let listed = Command::new("tar").arg("-tf").arg(&output).output().unwrap();
            assert!(listed.status.success(), "{when}: {}", shown(&listed));
        }
    }

    /// Nothing is left over: not in the store, not beside the output, not beside the lock.
    fn assert_tidy(&self, when: &str) {
        self.specs.assert_tidy(&self.store(), when);
        let beside = names(&self.specs.path("outputs"));
        assert!(beside.iter().all(|name| name == self.output), "{when}: left beside the output: {beside:?}");
    }

    /// The next run succeeds with the golden digest, and leaves nothing but its results.
    fn assert_next_run(&self, variant: usize, golden: &str, when: &str) {
        let next = self.compile(variant).output().unwrap();
        assert!(next.status.success(), "{when}, the next run: {}", shown(&next));
        assert_eq!(String::from_utf8_lossy(&next.stdout).trim(), golden, "{when}: another digest");
        assert!(next.stderr.is_empty(), "{when}: the store was damaged: {}", shown(&next));
        assert_eq!(root_digest(&self.output()), golden, "{when}: the output is another");
        self.assert_whole(when);
        self.assert_tidy(when);
    }

    /// Takes away some of what the store knows, so that the next run has something to do.
    fn forget(&self, random: &mut Random) {
        match random.below(4) {
            0 | 1 => drop(fs::remove_dir_all(self.store())),
            2 => drop(fs::remove_dir_all(self.store().join("outputs"))),
            _ => {
                let blobs = self.store().join("blobs");
                let names = if blobs.exists() { files(&blobs) } else { Default::default() };
                for name in names.keys().filter(|_| random.below(2) == 0) {
                    fs::remove_file(blobs.join(name)).unwrap();
                }
            }
        }
        // Pins go too, at times: resolving is a part of a run.
        if random.below(3) == 0 {
            self.specs.forget_locks();
        }
    }

    /// Kills runs that find much or everything to do.
    fn kill_at_moments(&self, count: u32, seed: u64) {
        let mut random = chance(seed);
        let mut moments = Moments::new(Random::new(random.next()), count, self.specs.length);
        for round in 0..count as usize {
            let variant = round % 2;
            self.forget(&mut random);
            let (ended, when) = moments.end(&mut self.compile(variant), SIGNALS[round % SIGNALS.len()]);
            let when = format!("round {round}, {when}");
            self.assert_whole(&when);
            if ended == Ended::Asked {
                self.assert_tidy(&when);
            }
            self.assert_next_run(variant, &self.golden[variant], &when);
        }
        moments.assert_hit();
    }
}

#[test]
fn a_compile_to_a_layout_that_is_killed_leaves_an_old_or_a_new_image_and_a_good_store() {
    Place::new("image.oci").kill_at_moments(kills(24), 1);
}

#[test]
fn a_compile_to_an_archive_that_is_killed_leaves_an_old_or_a_new_image_and_a_good_store() {
    Place::new("image.tar").kill_at_moments(kills(10), 2);
}

/// The contents that files take in turns.
const CONTENTS: [&str; 3] = ["plain", "other", "third"];

#[test]
fn a_compile_after_a_change_that_is_killed_leads_no_later_one_astray() {
    let mut place = Place::new("image.oci");
    // A file among many, and one of a small layer: two ways to change a little.
    let change = |place: &Place, (tree, own): (usize, usize)| {
        place.specs.write("tree/7/changing", CONTENTS[tree].as_bytes());
        place.specs.write(&format!("{}/own/changing", VARIANTS[0]), CONTENTS[own].as_bytes());
    };
    let mut golden = [[""; 3]; 3].map(|row| row.map(str::to_owned));
    for (tree, own) in (0..3).flat_map(|tree| (0..3).map(move |own| (tree, own))) {
        change(&place, (tree, own));
        let alone = place.specs.path("changed-store");
        let mut command = place.specs.compile(0, &alone, &place.specs.path("changed.oci"));
        golden[tree][own] = stdout(&mut command).trim().to_owned();
        fs::remove_dir_all(alone).unwrap();
        place.golden.push(golden[tree][own].clone());
    }
    let count = kills(30);
    let mut random = chance(3);
    // What a run knows of files it writes down once they are settled.
    let settle = || std::thread::sleep(Duration::from_millis(60));
    let mut now = (0, 0);
    change(&place, now);
    place.assert_next_run(0, &golden[0][0], "the first run");
    settle();
    place.assert_next_run(0, &golden[0][0], "a run with nothing changed");
    change(&place, (1, 0));
    let began = Instant::now();
    place.assert_next_run(0, &golden[1][0], "a run with a change");
    let mut moments = Moments::new(Random::new(random.next()), count, began.elapsed());
    let another = |now: usize, random: &mut Random| (now + 1 + usize::try_from(random.below(2)).unwrap()) % 3;
    for round in 0..count as usize {
        match random.below(3) {
            0 => now.0 = another(now.0, &mut random),
            1 => now.1 = another(now.1, &mut random),
            _ => now = (another(now.0, &mut random), another(now.1, &mut random)),
        }
        change(&place, now);
        if random.below(2) == 0 {
            settle();
        }
        let (ended, when) = moments.end(&mut place.compile(0), SIGNALS[round % SIGNALS.len()]);
        let mut when = format!("round {round}, {now:?}, {when}");
        place.assert_whole(&when);
        if ended == Ended::Asked {
            place.assert_tidy(&when);
        }
        // What the killed run has written down serves the same files, and files that were changed since.
        if random.below(2) == 0 {
            now.0 = another(now.0, &mut random);
            change(&place, now);
            when = format!("{when}, then {now:?}");
        }
        for again in 0..2 {
            place.assert_next_run(0, &golden[now.0][now.1], &format!("{when}, run {again}"));
        }
    }
    moments.assert_hit();
}
