//! `kic compile` of a tree that is cut into several layers, killed.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::image_layout::{assert_valid, layers, root_digest};
use crate::support::kic::{kic, shown, stdout};
use crate::support::killing::Moments;
use crate::support::large_tree::{FILES, body, file, make};
use crate::support::random::Random;
use crate::support::repeats::{chance, kills};
use crate::support::sharing_specs::names;

#[test]
fn a_compile_of_a_large_tree_that_is_killed_leaves_layers_that_the_next_one_takes_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    make(&path.join("tree"));
    let spec = "cluster \"c\" { base scratch; files \"t\" { copy \"tree\" to=\"/tree\"; }; }";
    fs::write(path.join("cluster.kdl"), spec).unwrap();
    let (store, output) = (path.join("store"), path.join("out.oci"));
    let compile = |store: &str, more: &[&str]| -> Command {
        let mut command = kic(path, &path.join(store));
        command.args(["compile", "--quiet"]).args(more);
        command
    };
    // Two files, far from each other, each in two versions: what a compile from nothing gives of all four.
    let change = |state: usize| {
        fs::write(file(&path.join("tree"), 77), body(state as u64 % 2)).unwrap();
        fs::write(file(&path.join("tree"), FILES - 300), body(state as u64 / 2)).unwrap();
    };
    let golden: Vec<String> = (0..4)
        .map(|state| {
            change(state);
            drop(fs::remove_dir_all(path.join("cold")));
            stdout(&mut compile("cold", &["--no-output"])).trim().to_owned()
        })
        .collect();
    let began = Instant::now();
    change(0);
    stdout(&mut compile("store", &["-o", "out.oci"]));
    assert!(layers(&output).len() > 4);
    let count = kills(12);
    let mut random = chance(6);
    let mut moments = Moments::new(Random::new(random.next()), count, began.elapsed());
    for round in 0..count {
        match random.below(3) {
            0 => fs::remove_dir_all(&store).unwrap(),
            1 => fs::remove_dir_all(store.join("outputs")).unwrap(),
            _ => {}
        }
        let state = usize::try_from(random.below(4)).unwrap();
        change(state);
        if random.below(2) == 0 {
            std::thread::sleep(Duration::from_millis(60));
        }
        let (_, when) = moments.end(&mut compile("store", &["-o", "out.oci"]), "KILL");
        let when = format!("round {round}, {when}");
        // The old image or the new one.
        assert!(golden.contains(&root_digest(&output)), "{when}");
        for again in 0..2 {
            let next = compile("store", &["-o", "out.oci"]).output().unwrap();
            assert!(next.status.success() && next.stderr.is_empty(), "{when}, {again}: {}", shown(&next));
            assert_eq!(String::from_utf8_lossy(&next.stdout).trim(), golden[state], "{when}, {again}");
            assert_eq!(root_digest(&output), golden[state], "{when}, {again}");
        }
        assert_eq!(names(&store.join("tmp")), [""; 0], "{when}: left in the store");
        assert_eq!(names(&store.join("leases")), [""; 0], "{when}: left in the store");
    }
    assert_valid(&output);
    stdout(kic(path, &store).args(["store", "verify", "--quiet"]));
    moments.assert_hit();
}
