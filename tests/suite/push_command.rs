//! `kic push` where something is wrong: with the image, with what it is pushed to, or with the patience of the user.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kic_registry::scripted_server::{Reply, Request};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::contents::layer;
use crate::support::kic::{kic, shown, stdout};
use crate::support::server::Server;

/// An image in a layout, and a server.
struct Place {
    folder: TempDir,
    server: Server,
}

impl Place {
    fn new(script: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap(), server: Server::start(script) };
        let spec = "cluster \"shop\" {\n base scratch\n files \"f\" { text \"/etc/motd\" \"hello\" }\n}\n";
        fs::write(place.path("cluster.kdl"), spec).unwrap();
        stdout(&mut place.kic(&["compile", "-q", "-o", "out.oci"]));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn kic(&self, arguments: &[&str]) -> Command {
        let mut command = kic(self.folder.path(), &self.path("store"));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn push(&self) -> Command {
        let to = format!("{}/shop:v1", self.server.host());
        self.kic(&["push", "--format", "json", "out.oci", &to])
    }

    /// The code of the one error that a push ended with, and its exit status.
    fn error(&self) -> (String, Option<i32>) {
        let output = self.push().output().unwrap();
        let said: Value =
            serde_json::from_slice(&output.stderr).unwrap_or_else(|_| panic!("{}", shown(&output)));
        assert_eq!(said.as_array().unwrap().len(), 1, "{}", shown(&output));
        (said[0]["code"].as_str().unwrap().to_owned(), output.status.code())
    }
}

fn page() -> Reply {
    Reply::new(200).header("Content-Type", "text/html").body("<html>Log in</html>")
}

#[test]
fn a_server_that_is_no_registry_is_told() {
    let place = Place::new(|_| page());
    assert_eq!(place.error(), ("registry-garbage".to_owned(), Some(2)));
}

#[test]
fn a_damaged_image_is_told_and_is_no_bug() {
    let place = Place::new(|request| match request.method.as_str() {
        "POST" => Reply::new(202).header("Location", "/upload"),
        "PUT" => Reply::new(201),
        _ => Reply::new(404),
    });
    let output = place.push().output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let layer = layer(&place.path("out.oci"), "files", "f");
    let path = place.path("out.oci/blobs/sha256").join(&layer["digest"].as_str().unwrap()["sha256:".len()..]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, &bytes).unwrap();
    assert_eq!(place.error(), ("damaged-image".to_owned(), Some(1)));
    fs::write(&path, &bytes[..9]).unwrap();
    assert_eq!(place.error(), ("damaged-image".to_owned(), Some(1)));
    fs::remove_file(&path).unwrap();
    assert_eq!(place.error().1, Some(1));
}

#[test]
fn the_first_signal_ends_a_push() {
    for signal in ["-INT", "-TERM"] {
        let place = Place::new(|_| page().wait(Duration::from_secs(60)));
        let child = place.push().spawn().unwrap();
        let patience = Instant::now() + Duration::from_secs(20);
        while place.server.asked().is_empty() {
            assert!(Instant::now() < patience, "nothing was asked");
            std::thread::sleep(Duration::from_millis(10));
        }
        let began = Instant::now();
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert!(began.elapsed() < Duration::from_secs(20), "it went on");
        assert_eq!(output.status.code(), Some(130), "{}", shown(&output));
        assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"), "{}", shown(&output));
    }
}
