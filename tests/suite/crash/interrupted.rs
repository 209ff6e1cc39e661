//! Runs that cannot come to an end by themselves, asked to stop.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::kic::{kic, shown};
use crate::support::killing::{PATIENCE, send, wait};
use crate::support::rich_spec;
use crate::support::sharing_specs::names;
use crate::support::upstream::Upstream;

/// Starts a run that cannot come to an end by itself, asks it to stop, and returns its exit status.
fn stop(command: &mut Command, signal: &str, started: impl Fn() -> bool) -> Option<i32> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !started() {
        assert!(child.try_wait().unwrap().is_none(), "{}", shown(&child.wait_with_output().unwrap()));
        assert!(Instant::now() < deadline, "it does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(100));
    let asked = Instant::now();
    send(&child, signal);
    let status = wait(&mut child, signal);
    assert!(asked.elapsed() < PATIENCE, "{signal}: it took {:?} to end", asked.elapsed());
    status.code()
}

#[test]
fn a_download_that_does_not_go_on_is_stopped_at_once() {
    let place = tempfile::tempdir().unwrap();
    rich_spec::make_images_only(place.path());
    let image = place.path().join("images/tool.oci");
    let (compile, why) = (["compile", "-q", "."], ["why", "-q", "nothing"]);
    for (at, command) in [("/manifests/", compile), ("/blobs/", compile), ("/manifests/", why)] {
        let upstream = Upstream::serve(&[("e/tool", "v1", &image)], move |request, reply| {
            if request.path().contains(at) { reply.wait(Duration::from_secs(600)) } else { reply }
        });
        let text = format!("cluster \"c\" {{ base \"{}/e/tool:v1\"; }}", upstream.host());
        fs::create_dir_all(place.path().join("slow")).unwrap();
        fs::write(place.path().join("slow/cluster.kdl"), text).unwrap();
        for signal in ["INT", "TERM"] {
            let store = place.path().join("store");
            drop(fs::remove_dir_all(&store));
            let before = upstream.asked().len();
            let asked = || upstream.asked()[before..].iter().any(|line| line.contains(at));
            let status = stop(kic(&place.path().join("slow"), &store).args(command), signal, asked);
            assert_eq!(status, Some(130), "{command:?}: {signal} at {at}");
            assert!(!place.path().join("slow/c.oci").exists());
            assert_eq!(names(&store.join("tmp")), [""; 0], "{signal} at {at}: left in the store");
        }
    }
}

#[test]
fn the_reading_of_a_huge_file_is_stopped_at_once() {
    let place = tempfile::tempdir().unwrap();
    // It has holes only: it takes no room, and much time.
    fs::File::create(place.path().join("huge")).unwrap().set_len(1 << 40).unwrap();
    let text = "cluster \"c\" { base scratch; files \"f\" { copy \"huge\"; }; }";
    fs::write(place.path().join("cluster.kdl"), text).unwrap();
    let store = place.path().join("store");
    let opened = || store.join("version").exists();
    let status = stop(kic(place.path(), &store).args(["compile", "-q"]), "INT", opened);
    assert_eq!(status, Some(130));
    assert!(!place.path().join("c.oci").exists());
}
