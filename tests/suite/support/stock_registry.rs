//! The CNCF distribution registry, started and stopped by a test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kic_base::Digest;

use super::http::{ask, get};
use super::peers::peer;

/// A registry on a free loopback port. It stops when this value goes.
pub struct StockRegistry {
    /// `127.0.0.1:PORT`
    pub host: String,
    child: Mutex<Child>,
    folder: tempfile::TempDir,
}

impl StockRegistry {
    /// A registry whose data lies in `data`, in the folder that holds `docker/registry/v2`; `None` where the
    /// registry is not installed.
    pub fn start(data: &Path, read_only: bool) -> Option<Self> {
        let program = peer("docker-registry")?;
        // Between the moment when a free port is found and the one when the registry takes it, another may.
        (0..5)
            .find_map(|_| Self::try_start(&program, data, read_only))
            .or_else(|| panic!("no registry starts"))
    }

    fn try_start(program: &PathBuf, data: &Path, read_only: bool) -> Option<Self> {
        let configuration = tempfile::tempdir().unwrap();
        let host = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n  maintenance:\n    readonly:\n      \
             enabled: {read_only}\nhttp:\n  addr: {host}\n",
            data.display()
        );
        let file = configuration.path().join("config.yml");
        std::fs::write(&file, text).unwrap();
        let requests = std::fs::File::create(configuration.path().join("requests")).unwrap();
        let mut command = Command::new(program);
        command.arg("serve").arg(&file).stdin(Stdio::null()).stdout(requests).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(30) {
            if child.try_wait().unwrap().is_some() {
                return None;
            }
            if ask(&host, "GET", "/v2/", &[], b"").is_ok_and(|answer| answer.status == 200) {
                return Some(Self { host, child: Mutex::new(child), folder: configuration });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(child.kill());
        drop(child.wait());
        None
    }

    /// Ends it; its port is closed afterwards.
    pub fn stop(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        drop(child.kill());
        drop(child.wait());
    }

    /// What it was asked so far: a line each in the form of web servers' logs, with `"METHOD TARGET HTTP/1.1" STATUS`.
    pub fn requests(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("requests")).unwrap()
    }

    /// Puts a blob into a repository.
    pub fn push_blob(&self, repository: &str, bytes: &[u8]) {
        let begun = ask(&self.host, "POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"").unwrap();
        assert_eq!(begun.status, 202, "{begun:?}");
        let location = begun.headers["location"].split(&self.host).last().unwrap().to_owned();
        let target = format!(
            "{location}{}digest={}",
            if location.contains('?') { "&" } else { "?" },
            Digest::of(bytes)
        );
        let headers = [("Content-Type", "application/octet-stream")];
        let ended = ask(&self.host, "PUT", &target, &headers, bytes).unwrap();
        assert_eq!(ended.status, 201, "{ended:?}");
    }

    /// Puts a manifest or index into a repository, by tag or digest.
    pub fn push_manifest(&self, repository: &str, name: &str, media_type: &str, bytes: &[u8]) {
        let target = format!("/v2/{repository}/manifests/{name}");
        let answer = ask(&self.host, "PUT", &target, &[("Content-Type", media_type)], bytes).unwrap();
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    }

    /// The manifest or index by that tag or digest, which must be there.
    pub fn manifest(&self, repository: &str, name: &str) -> Vec<u8> {
        let answer = get(&self.host, &format!("/v2/{repository}/manifests/{name}"));
        assert_eq!(answer.status, 200, "{repository} {name}: {}", String::from_utf8_lossy(&answer.body));
        answer.body
    }

    /// A blob, which must be there.
    pub fn blob(&self, repository: &str, digest: &str) -> Vec<u8> {
        let answer = get(&self.host, &format!("/v2/{repository}/blobs/{digest}"));
        assert_eq!(answer.status, 200, "{repository} {digest}: {}", String::from_utf8_lossy(&answer.body));
        answer.body
    }
}

impl Drop for StockRegistry {
    fn drop(&mut self) {
        self.stop();
    }
}
