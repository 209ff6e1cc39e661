//! A server that answers as a test says, for programs that run beside it.

use kic_registry::scripted_server::{Reply, Request, ScriptedServer};
use tokio::runtime::Runtime;

/// A server on a free loopback port, with a thread of its own. It lives as long as the value.
pub struct Server {
    server: ScriptedServer,
    _runtime: Runtime,
}

impl Server {
    pub fn start(script: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = runtime.block_on(ScriptedServer::start(script));
        Self { server, _runtime: runtime }
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        self.server.host()
    }

    /// All requests so far, as `METHOD TARGET`.
    pub fn asked(&self) -> Vec<String> {
        self.server.asked()
    }

    /// The same, with their headers.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }
}
