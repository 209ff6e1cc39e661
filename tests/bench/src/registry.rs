//! The stock registry, on a free port of loopback.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::http::Connection;

/// A registry that ends with this value.
pub struct Registry {
    /// `127.0.0.1:PORT`
    pub host: String,
    child: Child,
}

impl Registry {
    /// Serves what lies in `data`.
    pub fn start(program: &Path, data: &Path) -> Result<Self> {
        // Between the moment when a free port is found and the one when the registry takes it, another may.
        for _ in 0..5 {
            if let Some(registry) = Self::try_start(program, data)? {
                return Ok(registry);
            }
        }
        Err("the registry does not start".into())
    }

    fn try_start(program: &Path, data: &Path) -> Result<Option<Self>> {
        let host = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let configuration = data.with_extension(format!("{}.yml", std::process::id()));
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n  maintenance:\n    \
             readonly:\n      enabled: true\nhttp:\n  addr: {host}\n",
            data.display()
        );
        std::fs::write(&configuration, text)?;
        let mut command = Command::new(program);
        command.arg("serve").arg(&configuration);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut registry = Self { host, child };
        let began = Instant::now();
        let answers = loop {
            if registry.child.try_wait()?.is_some() || began.elapsed() > Duration::from_secs(30) {
                break false;
            }
            let mut connection = Connection::open(&registry.host);
            if connection.as_mut().is_ok_and(|connection| connection.get("/v2/", None).is_ok()) {
                break true;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        std::fs::remove_file(&configuration)?;
        Ok(answers.then_some(registry))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
