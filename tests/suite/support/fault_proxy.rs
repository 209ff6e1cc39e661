//! A server between kic and a registry that cuts, delays, corrupts, limits and redirects what passes, by a script.
//!
//! It is asked like the registry itself, as a mirror of it, or as an HTTP proxy. A script is an object of JSON:
//!
//! | member | says |
//! |---|---|
//! | `rules` | what goes wrong, see below |
//! | `tokens` | that a token is wanted, and is good for so many requests |
//! | `basic` | for the paths with this beginning, the user and password that are wanted |
//!
//! The first rule that fits a request is followed. It fits by `method` and by `path`, a part of the path (each request when
//! left out), and then by how many such requests there were: `after` so many, at most `times`.
//!
//! | member of a rule | what happens |
//! |---|---|
//! | `status`, `headers`, `body` | this is answered, and the registry is not asked; in headers, `{storage}` is another server |
//! | `storage` | a redirect to another server, which refuses those who bring it credentials, as object storage does |
//! | `drop` | the connection ends without an answer |
//! | `cut` | the connection ends after so many bytes of the body |
//! | `wait`, `stall` | so many milliseconds pass before the answer, or in the middle of the body |
//! | `corrupt` | the byte at this place of the body is another |
//! | `whole` | a range that is asked for is ignored |
//! | `cap` | at most so many bytes of a range are given, with the headers that belong to them |

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

/// The server. It ends with the value.
pub struct FaultProxy {
    shared: Arc<Shared>,
    /// `HOST:PORT`
    pub host: String,
    /// `HOST:PORT` of the other server, which has the same content.
    pub storage: String,
}

struct Shared {
    upstream: String,
    script: Value,
    /// How many requests have fitted each rule.
    fitted: Mutex<Vec<u64>>,
    storage: Mutex<String>,
    /// Requests as `METHOD TARGET`.
    asked: Mutex<Vec<String>>,
    tokens: Mutex<BTreeMap<String, u64>>,
    sent: AtomicU64,
    ended: AtomicBool,
}

struct Request {
    method: String,
    target: String,
    headers: BTreeMap<String, String>,
}

impl FaultProxy {
    /// A server before the registry `upstream` on a free loopback port; `None` where there is no IPv6 to listen on.
    pub fn start(upstream: &str, script: &Value, ipv6: bool) -> Option<Self> {
        let address = if ipv6 { "[::1]:0" } else { "127.0.0.1:0" };
        let (front, storage) = (TcpListener::bind(address).ok()?, TcpListener::bind("127.0.0.1:0").unwrap());
        let host_of = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
        let rules = script["rules"].as_array().map_or(0, Vec::len);
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            script: script.clone(),
            fitted: Mutex::new(vec![0; rules]),
            storage: Mutex::new(host_of(&storage)),
            asked: Mutex::default(),
            tokens: Mutex::default(),
            sent: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let (host, other) = (host_of(&front), host_of(&storage));
        for (listener, is_storage) in [(front, false), (storage, true)] {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    if shared.ended.load(Ordering::Relaxed) {
                        break;
                    }
                    let shared = Arc::clone(&shared);
                    // A client that goes away is none of our business.
                    std::thread::spawn(move || drop(serve(&stream, &shared, is_storage)));
                }
            });
        }
        Some(Self { shared, host, storage: other })
    }

    /// All requests so far, as `METHOD TARGET`, those to the other server too.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.shared.asked).clone()
    }

    /// The bytes of all bodies of blobs that were sent.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // The listeners wait for a connection.
        for host in [&self.host, &self.storage] {
            drop(TcpStream::connect(host));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request and its answer; the connection ends with it.
fn serve(stream: &TcpStream, shared: &Shared, is_storage: bool) -> io::Result<()> {
    let Some(request) = read_request(stream)? else { return Ok(()) };
    lock(&shared.asked).push(format!("{} {}", request.method, request.target));
    if is_storage {
        let brings = request.headers.contains_key("authorization");
        let refused = serde_json::json!({ "status": 400, "body": "only one way to log in" });
        return if brings {
            answer(stream, &refused, shared)
        } else {
            pass(stream, &request, &Value::Null, shared)
        };
    }
    if let Some(refused) = refusal(&request, shared) {
        return answer(stream, &refused, shared);
    }
    let rule = rule(&request, shared);
    if let Some(wait) = rule["wait"].as_u64() {
        std::thread::sleep(Duration::from_millis(wait));
    }
    if rule["drop"] == true {
        return Ok(());
    }
    if rule["storage"] == true {
        let to = format!("http://{}{}", lock(&shared.storage), request.target);
        let moved = serde_json::json!({ "status": 307, "headers": { "Location": to } });
        return answer(stream, &moved, shared);
    }
    if rule["status"].is_u64() {
        answer(stream, &rule, shared)
    } else {
        pass(stream, &request, &rule, shared)
    }
}

fn read_request(stream: &TcpStream) -> io::Result<Option<Request>> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    // As a proxy it is asked for whole addresses.
    let target = match target.strip_prefix("http://") {
        Some(rest) => &rest[rest.find('/').unwrap_or(rest.len())..],
        None => target,
    };
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Ok(Some(Request { method: method.to_owned(), target: target.to_owned(), headers }))
}

/// What is answered to those who do not show what is wanted of them.
fn refusal(request: &Request, shared: &Shared) -> Option<Value> {
    let shown = request.headers.get("authorization").map(String::as_str).unwrap_or_default();
    if let Some(wanted) = shared.script["basic"].as_object() {
        let credentials = wanted.iter().find(|(path, _)| request.target.starts_with(path.as_str()))?.1;
        let right = format!("Basic {}", base64(credentials.as_str().unwrap().as_bytes()));
        let headers = serde_json::json!({ "WWW-Authenticate": "Basic realm=\"shop\"" });
        return (shown != right).then(|| serde_json::json!({ "status": 401, "headers": headers }));
    }
    let uses = shared.script["tokens"].as_u64()?;
    let mut tokens = lock(&shared.tokens);
    if request.target.starts_with("/token") {
        let token = format!("token-{}", tokens.len());
        tokens.insert(token.clone(), uses);
        let body = serde_json::json!({ "token": token, "expires_in": 300 }).to_string();
        return Some(
            serde_json::json!({ "status": 200, "headers": { "Content-Type": "application/json" }, "body": body }),
        );
    }
    let left =
        shown.strip_prefix("Bearer ").and_then(|token| tokens.get_mut(token)).filter(|left| **left > 0);
    if let Some(left) = left {
        *left -= 1;
        return None;
    }
    let host = request.headers.get("host").map(String::as_str).unwrap_or_default();
    let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"shop\"");
    Some(serde_json::json!({ "status": 401, "headers": { "WWW-Authenticate": challenge } }))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number =
            group.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = char::from(DIGITS[number >> (18 - 6 * place) & 63]);
            text.push(if place <= group.len() { digit } else { '=' });
        }
    }
    text
}

/// The rule for a request; `null` where none fits.
fn rule(request: &Request, shared: &Shared) -> Value {
    let rules = shared.script["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut fitted = lock(&shared.fitted);
    for (rule, count) in rules.iter().zip(fitted.iter_mut()) {
        let fits = rule["method"].as_str().is_none_or(|method| method == request.method)
            && rule["path"].as_str().is_none_or(|part| request.target.contains(part));
        if !fits {
            continue;
        }
        *count += 1;
        let after = rule["after"].as_u64().unwrap_or(0);
        let times = rule["times"].as_u64().unwrap_or(u64::MAX - after);
        if *count > after && *count <= after + times {
            return rule.clone();
        }
    }
    Value::Null
}

/// Answers without asking the registry.
fn answer(mut stream: &TcpStream, rule: &Value, shared: &Shared) -> io::Result<()> {
    let body = rule["body"].as_str().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} Scripted\r\nConnection: close\r\n", rule["status"]);
    for (name, value) in rule["headers"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap().replace("{storage}", &lock(&shared.storage));
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// Asks the registry, and passes its answer on, with what the rule does to it.
fn pass(mut stream: &TcpStream, request: &Request, rule: &Value, shared: &Shared) -> io::Result<()> {
    let mut upstream = TcpStream::connect(&shared.upstream)?;
    let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.target, shared.upstream);
    for (name, value) in &request.headers {
        match (name.as_str(), rule["cap"].as_u64()) {
            ("host" | "connection" | "authorization" | "proxy-connection", _) => {}
            ("range" | "if-range", _) if rule["whole"] == true => {}
            ("range", Some(cap)) => head.push_str(&format!("range: {}\r\n", capped(value, cap))),
            _ => head.push_str(&format!("{name}: {value}\r\n")),
        }
    }
    write!(upstream, "{head}Connection: close\r\n\r\n")?;
    let mut reader = BufReader::new(upstream);
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    write!(stream, "{head}\r\n")?;
    let is_blob = request.target.contains("/blobs/") && request.method == "GET";
    let (cut, corrupt, stall) = (rule["cut"].as_u64(), rule["corrupt"].as_u64(), rule["stall"].as_u64());
    let mut at = 0_u64;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let most = cut.map_or(u64::MAX, |cut| cut - at).min(buffer.len() as u64);
        let count = reader.read(&mut buffer[..usize::try_from(most).unwrap()])?;
        if count == 0 {
            return Ok(());
        }
        if let Some(place) = corrupt.filter(|place| (at..at + count as u64).contains(place)) {
            buffer[usize::try_from(place - at).unwrap()] ^= 1;
        }
        stream.write_all(&buffer[..count])?;
        at += count as u64;
        if is_blob {
            shared.sent.fetch_add(count as u64, Ordering::Relaxed);
        }
        if let Some(stall) = stall.filter(|_| at == count as u64) {
            std::thread::sleep(Duration::from_millis(stall));
        }
    }
}

/// A range of at most `cap` bytes with the same beginning.
fn capped(range: &str, cap: u64) -> String {
    let (from, to) = range.trim_start_matches("bytes=").split_once('-').unwrap_or((range, ""));
    let from: u64 = from.parse().unwrap_or(0);
    let to = to.parse().unwrap_or(u64::MAX).min(from + cap - 1);
    format!("bytes={from}-{to}")
}
