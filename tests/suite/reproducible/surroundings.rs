//! What is different around a run: the machine, its user, its clock, the files.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Build, reference, references};
use crate::support::kic::{program, shown, stdout};
use crate::support::peers::peer;
use crate::support::rich_spec::Making;
use crate::support::small_disk::is_root;

/// A shell that sets something up, then becomes the program.
const SHELL: &str = "/bin/sh";

#[test]
fn the_number_of_jobs_does_not_show() {
    for reference in references() {
        for jobs in reference.some(&["1", "2", "16"]) {
            reference
                .build()
                .argument("-j")
                .argument(jobs)
                .run_and_compare(&reference, &format!("-j {jobs}"));
        }
    }
}

#[test]
fn the_folder_and_the_way_to_it_do_not_show() {
    for reference in references() {
        let elsewhere = tempfile::tempdir().unwrap();
        let deep =
            elsewhere.path().join("a folder with spaces").join("ünï/日本").join(["deep"; 30].join("/"));
        (reference.make)(&deep, Making::default());
        reference.build_in(&deep).run_and_compare(&reference, "another folder");
        if !reference.programs.is_empty() {
            continue;
        }
        let absolute = deep.join("cluster.kdl");
        reference.build_in(Path::new("/")).spec(&absolute).run_and_compare(&reference, "an absolute path");
        let parent = deep.parent().unwrap();
        reference
            .build_in(parent)
            .spec("deep/../deep/./cluster.kdl")
            .run_and_compare(&reference, "a path with dots");
        let link = elsewhere.path().join("link");
        symlink(&deep, &link).unwrap();
        reference.build_in(&link).run_and_compare(&reference, "through a link");
        let renamed = deep.join("renamed.kdl");
        fs::rename(&absolute, &renamed).unwrap();
        reference.build_in(&deep).spec("renamed.kdl").run_and_compare(&reference, "a spec of another name");
    }
}

#[test]
fn the_umask_does_not_show() {
    for reference in references() {
        for umask in reference.some(&["000", "022", "077"]) {
            let script = format!("umask {umask}; exec \"$@\"");
            let build = reference.build().wrapper(&[SHELL, "-c", &script, SHELL]);
            build.run_and_compare(&reference, &format!("umask {umask}"));
            for (path, mode) in
                [("", 0o755), ("blobs/sha256", 0o755), ("index.json", 0o644), ("oci-layout", 0o644)]
            {
                let found = fs::metadata(build.output.join(path)).unwrap().permissions().mode() & 0o7777;
                assert_eq!(found, mode, "{path} under umask {umask}");
            }
        }
    }
}

#[test]
fn the_environment_does_not_show() {
    type Way<'a> = (&'a str, fn(Build) -> Build);
    let ways: [Way<'_>; 3] = [
        ("a bare environment", |build| {
            build.variable("SOURCE_DATE_EPOCH", "").without("LC_ALL").without("HOME").without("TMPDIR")
        }),
        ("a Turkish environment", |build| {
            let build = build.variable("LC_ALL", "tr_TR.UTF-8").variable("LANG", "tr_TR.UTF-8");
            let build = build.variable("HOME", "/nonexistent").variable("USER", "somebody");
            build.variable("TZ", "Pacific/Kiritimati").variable("COLUMNS", "40")
        }),
        ("another environment", |build| {
            let build =
                build.variable("TZ", "America/St_Johns").variable("LC_ALL", "C").variable("TERM", "dumb");
            let build = build.variable("ZSTD_CLEVEL", "19").variable("ZSTD_NBTHREADS", "4");
            build.variable("SOURCE_DATE_EPOCH", "0").variable("TOKIO_WORKER_THREADS", "1").without("HOME")
        }),
    ];
    for reference in references() {
        for (name, change) in reference.some(&ways) {
            change(reference.build()).run_and_compare(&reference, name);
        }
    }
    // The wide spec needs a path.
    let reference = reference();
    reference.build().without("PATH").run_and_compare(&reference, "no path");
}

#[test]
fn another_user_gets_the_same_image() {
    if !is_root() {
        eprintln!("SKIPPED: only root can become another user, so no other user has compiled");
        return;
    }
    let Some(setpriv) = peer("setpriv") else { return };
    for reference in references() {
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let spec = place.path().join("spec");
        (reference.make)(&spec, Making::default());
        let own = place.path().join("own");
        fs::create_dir(&own).unwrap();
        std::os::unix::fs::chown(&own, Some(65534), Some(65534)).unwrap();
        // The program lies where another user may not come.
        let program = place.path().join("kic");
        fs::copy(self::program(), &program).unwrap();
        let mut build = reference
            .build_in(&spec)
            .store(&own.join("store"))
            .output(&own.join("output.oci"))
            .variable("HOME", own.to_str().unwrap())
            .wrapper(&[setpriv.to_str().unwrap(), "--reuid=65534", "--regid=65534", "--clear-groups"]);
        build.program = program;
        build.run_and_compare(&reference, "the user nobody");
        assert_eq!(
            fs::metadata(own.join("output.oci/index.json")).unwrap().uid(),
            65534,
            "nobody did not write it"
        );
    }
}

#[test]
fn how_the_files_came_to_be_does_not_show() {
    for reference in references() {
        let makings = [
            Making { order: 2, modified: 1, modes: (0o600, 0o700, 0o700) },
            Making { order: 3, modified: 4_000_000_000, modes: (0o664, 0o744, 0o775) },
            // Executable for others alone is not executable: the owner's bit says it.
            Making { order: 4, modified: 1_600_000_001, modes: (0o655, 0o755, 0o755) },
        ];
        for making in reference.some(&makings) {
            let folder = tempfile::tempdir().unwrap();
            let spec = folder.path().join("spec");
            (reference.make)(&spec, *making);
            reference.build_in(&spec).run_and_compare(&reference, &format!("{making:?}"));
        }
    }
}

#[test]
fn the_order_of_folders_does_not_show() {
    let (Some(disorderfs), Some(unmount)) = (peer("disorderfs"), peer("fusermount")) else { return };
    for reference in references() {
        let place = tempfile::tempdir().unwrap();
        let outside = place.path().join("mounted");
        fs::create_dir(&outside).unwrap();
        let mounted = Command::new(&disorderfs)
            .args(["--shuffle-dirents=yes", "--reverse-dirents=yes", "--pad-blocks=7", "--quiet"])
            .args([&reference.spec(), &outside])
            .output()
            .unwrap();
        if !mounted.status.success() {
            assert!(
                std::env::var("KIC_REQUIRE_PEERS").as_deref() != Ok("1"),
                "disorderfs: {}",
                shown(&mounted)
            );
            eprintln!(
                "SKIPPED: disorderfs cannot mount here, so no other order of folders was tried: {}",
                shown(&mounted)
            );
            return;
        }
        struct Unmount(PathBuf, PathBuf);
        impl Drop for Unmount {
            fn drop(&mut self) {
                let _ = Command::new(&self.0).arg("-u").arg(&self.1).status();
            }
        }
        let _unmount = Unmount(unmount.clone(), outside.clone());
        let names = |folder: &Path| -> Vec<_> {
            fs::read_dir(folder.join("images")).unwrap().map(|entry| entry.unwrap().file_name()).collect()
        };
        assert_ne!(names(&outside), names(&reference.spec()), "disorderfs changes nothing");
        for _ in reference.some(&[(); 2]) {
            reference.build_in(&outside).run_and_compare(&reference, "disorderfs");
        }
    }
}

#[test]
fn the_clock_does_not_show() {
    let Some(faketime) = peer("faketime") else { return };
    for reference in references() {
        let faketime = faketime.to_str().unwrap();
        for clock in reference.some(&["1985-10-26 01:21:00", "2041-05-06 07:08:09"]) {
            // The clock starts elsewhere and goes on; timers, which go by the time since the machine started, do not see it.
            let build =
                reference.build().wrapper(&[faketime, "--exclude-monotonic", "-f", &format!("@{clock}")]);
            let date = Command::new(faketime)
                .args(["--exclude-monotonic", "-f", &format!("@{clock}"), "date", "+%Y"])
                .output();
            let date = String::from_utf8(date.unwrap().stdout).unwrap();
            assert_eq!(date.trim(), &clock[..4], "faketime does not fake");
            build.run_and_compare(&reference, clock);
        }
    }
}

#[test]
fn the_instructions_of_the_processor_do_not_show() {
    if !cfg!(target_arch = "x86_64") {
        eprintln!("SKIPPED: only processors of the kind x86-64 are played, and this is none");
        return;
    }
    let Some(qemu) = peer("qemu-x86_64") else { return };
    // One without AVX, BMI and SHA instructions; programs look for those as they run, so that has to be hidden from them.
    let played = [qemu.to_str().unwrap(), "-cpu", "Nehalem"];
    let probe = "reproducible::surroundings::what_this_processor_can";
    let own = std::env::current_exe().unwrap();
    let told =
        stdout(Command::new(played[0]).args(&played[1..]).arg(own).args([probe, "--exact", "--nocapture"]));
    assert!(told.contains("sha: false, avx: false, avx2: false, bmi2: false"), "{told}");
    for reference in references() {
        reference.build().wrapper(&played).run_and_compare(&reference, "an old processor");
    }
}

/// Says which instructions are found when a program looks for them as kic does.
#[test]
#[cfg(target_arch = "x86_64")]
fn what_this_processor_can() {
    use std::arch::is_x86_feature_detected as has;
    println!("sha: {}, avx: {}, avx2: {}, bmi2: {}", has!("sha"), has!("avx"), has!("avx2"), has!("bmi2"));
}
