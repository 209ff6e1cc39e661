//! An HTTP/1.1 server on a free loopback port that answers as a script says, bad manners included. For tests only.
//!
//! Another crate uses it by `kic-registry = { workspace = true, features = ["scripted-server"] }` in its
//! `[dev-dependencies]`:
//!
//! ```ignore
//! let server = ScriptedServer::start(|request| match request.path() {
//!     "/v2/a/manifests/latest" => Reply::new(200).header("content-type", MANIFEST).body(manifest),
//!     "/v2/a/blobs/sha256:…" => Reply::file(request, blob).cut_after(1000),
//!     _ => Reply::new(404),
//! })
//! .await;
//! let image: ImageReference = format!("{}/a", server.host()).parse()?;
//! ```
//!
//! The server lives as long as the value. `requests` tells afterwards who asked for what.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
    BufReader,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// A server that follows a script.
pub struct ScriptedServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `PUT`, …
    pub method: String,
    /// Path and query, or the whole address if the server is asked as a proxy.
    pub target: String,
    /// By name in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body, read by its `Content-Length`.
    pub body: Vec<u8>,
    /// How many requests came before.
    pub number: usize,
    /// The client's side of the connection.
    pub peer: Option<SocketAddr>,
}

/// What to answer.
#[derive(Debug, Clone)]
pub struct Reply {
    head: String,
    body: Vec<u8>,
    length: Length,
    wait: Duration,
    cut: Option<usize>,
    trickle: Option<(usize, Duration)>,
    endless: bool,
    raw: bool,
}

#[derive(Debug, Clone, Copy)]
enum Length {
    True,
    Claimed(u64),
    Chunked,
}

type Script = Box<dyn FnMut(&Request) -> Reply + Send>;

struct Shared {
    script: Mutex<Script>,
    requests: Mutex<Vec<Request>>,
    /// Requests that are being answered now, and the most there ever were.
    busy: Mutex<(usize, usize)>,
}

impl ScriptedServer {
    /// Starts a server; the script is asked for every request, on every connection.
    pub async fn start(script: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        Self::listen("127.0.0.1:0", Box::new(script), |stream| async { Ok(stream) }).await
    }

    /// The same on the loopback address of IPv6; `None` where there is none.
    pub async fn start_ipv6(script: impl FnMut(&Request) -> Reply + Send + 'static) -> Option<Self> {
        drop(TcpListener::bind("[::1]:0").await.ok()?);
        Some(Self::listen("[::1]:0", Box::new(script), |stream| async { Ok(stream) }).await)
    }

    /// The same by https.
    #[cfg(test)]
    pub(crate) async fn start_tls(
        config: Arc<rustls::ServerConfig>,
        script: impl FnMut(&Request) -> Reply + Send + 'static,
    ) -> Self {
        let acceptor = tokio_rustls::TlsAcceptor::from(config);
        Self::listen("127.0.0.1:0", Box::new(script), move |stream| acceptor.clone().accept(stream)).await
    }

    #[allow(clippy::expect_used, reason = "for tests: a machine without loopback runs none of them")]
    async fn listen<S, F>(
        address: &str,
        script: Script,
        wrap: impl Fn(tokio::net::TcpStream) -> F + Send + 'static,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.expect("a free loopback port");
        let address = listener.local_addr().expect("a bound port");
        let requests = Mutex::default();
        let shared = Arc::new(Shared { script: Mutex::new(script), requests, busy: Mutex::default() });
        let state = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, peer)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let _ = stream.set_nodelay(true);
                let (stream, state) = (wrap(stream), Arc::clone(&state));
                connections.spawn(async move {
                    if let Ok(stream) = stream.await {
                        // A client that goes away is none of our business.
                        let _ = serve(stream, peer, &state).await;
                    }
                });
            }
        });
        Self { address, shared, _task: AbortOnDropHandle::new(task) }
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:PORT/PATH`
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{}", self.address, path.trim_start_matches('/'))
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All requests so far, as `METHOD TARGET`.
    pub fn asked(&self) -> Vec<String> {
        self.requests().iter().map(|request| format!("{} {}", request.method, request.target)).collect()
    }

    /// The most requests that were being answered at the same time.
    pub fn most_at_once(&self) -> usize {
        self.shared.busy.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

impl Request {
    /// A header, its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// All values of a parameter in the query, or in the body of a form.
    pub fn parameters(&self, name: &str) -> Vec<String> {
        let form = String::from_utf8_lossy(&self.body).into_owned();
        let query = self.target.split_once('?').map_or(form.as_str(), |(_, query)| query);
        let Ok(url) = reqwest::Url::parse(&format!("http://localhost/?{query}")) else { return Vec::new() };
        url.query_pairs().filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect()
    }
}

impl Reply {
    /// An answer with this status and no body.
    pub fn new(status: u16) -> Self {
        Self {
            head: format!("HTTP/1.1 {status} Scripted\r\n"),
            body: Vec::new(),
            length: Length::True,
            wait: Duration::ZERO,
            cut: None,
            trickle: None,
            endless: false,
            raw: false,
        }
    }

    /// These bytes and nothing else, then the end of the connection; no bytes: the connection is dropped.
    pub fn raw(bytes: &[u8]) -> Self {
        Self { raw: true, body: bytes.to_vec(), ..Self::new(200) }
    }

    /// A whole file, or the range of it that is asked for.
    pub fn file(request: &Request, bytes: &[u8]) -> Self {
        let range = request.header("range").and_then(|range| range.strip_prefix("bytes="));
        let Some((from, to)) = range.and_then(|range| range.split_once('-')) else {
            return Self::new(200).body(bytes);
        };
        let size = bytes.len();
        let from = from.parse().unwrap_or(0);
        let to = to.parse::<usize>().map_or(size, |to| size.min(to.saturating_add(1)));
        if from >= to {
            return Self::new(416).header("content-range", &format!("bytes */{size}"));
        }
        Self::new(206)
            .header("content-range", &format!("bytes {from}-{}/{size}", to - 1))
            .body(&bytes[from..to])
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.head.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// Waits before the first byte.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Gives this `Content-Length`, whatever the body has; then ends the connection.
    pub fn claim(mut self, length: u64) -> Self {
        self.length = Length::Claimed(length);
        self
    }

    /// Sends the body in HTTP chunks, without its length.
    pub fn chunked(mut self) -> Self {
        self.length = Length::Chunked;
        self
    }

    /// Ends the connection after so many bytes of the body.
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    /// Sends the body so many bytes at a time, with pauses between.
    pub fn trickle(mut self, bytes: usize, pause: Duration) -> Self {
        self.trickle = Some((bytes.max(1), pause));
        self
    }

    /// Sends the body in HTTP chunks over and over, without an end.
    pub fn endless(mut self) -> Self {
        (self.endless, self.length) = (true, Length::Chunked);
        self
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    shared: &Shared,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(mut request) = read(&mut stream).await? {
        let reply = {
            let mut requests = shared.requests.lock().unwrap_or_else(PoisonError::into_inner);
            (request.number, request.peer) = (requests.len(), Some(peer));
            requests.push(request.clone());
            drop(requests);
            let mut script = shared.script.lock().unwrap_or_else(PoisonError::into_inner);
            script(&request)
        };
        let count = |more: bool| {
            let mut busy = shared.busy.lock().unwrap_or_else(PoisonError::into_inner);
            busy.0 = if more { busy.0 + 1 } else { busy.0 - 1 };
            busy.1 = busy.1.max(busy.0);
        };
        count(true);
        let kept = write(&mut stream, &reply, request.method == "HEAD").await;
        count(false);
        if !kept? {
            break;
        }
    }
    stream.shutdown().await
}

async fn read(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(Request { method, target, headers, body, number: 0, peer: None }))
}

/// Sends a reply; whether the connection is good for another.
async fn write(stream: &mut (impl AsyncWrite + Unpin), reply: &Reply, head_only: bool) -> io::Result<bool> {
    tokio::time::sleep(reply.wait).await;
    if reply.raw {
        stream.write_all(&reply.body).await?;
        stream.flush().await?;
        return Ok(false);
    }
    let mut head = reply.head.clone();
    match reply.length {
        Length::True => head.push_str(&format!("content-length: {}\r\n", reply.body.len())),
        Length::Claimed(length) => head.push_str(&format!("content-length: {length}\r\n")),
        Length::Chunked => head.push_str("transfer-encoding: chunked\r\n"),
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await?;
    if head_only {
        stream.flush().await?;
        return Ok(true);
    }
    let chunked = matches!(reply.length, Length::Chunked);
    let body = &reply.body[..reply.cut.unwrap_or(usize::MAX).min(reply.body.len())];
    let (size, pause) = reply.trickle.unwrap_or((64 << 10, Duration::ZERO));
    loop {
        for piece in body.chunks(size) {
            if chunked {
                stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
            }
            stream.write_all(piece).await?;
            if chunked {
                stream.write_all(b"\r\n").await?;
            }
            stream.flush().await?;
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        if !reply.endless || body.is_empty() {
            break;
        }
    }
    if reply.cut.is_some() || matches!(reply.length, Length::Claimed(_)) {
        return Ok(false);
    }
    if chunked {
        stream.write_all(b"0\r\n\r\n").await?;
    }
    stream.flush().await?;
    Ok(true)
}
