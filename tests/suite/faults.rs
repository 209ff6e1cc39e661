//! A registry or server that misbehaves: each fault ends in its own diagnostic and exit status, and the output stays.
//!
//! A case is a file `tests/faults/NAME.json`:
//!
//! | member | says |
//! |---|---|
//! | `asks` | what the spec asks for: `image` (when left out), `pinned` (the image by its digest), `base`, `file`, or a `cluster` node's content |
//! | `answers` | for `manifest`, `config`, `layer`, `file`, `token` or `every` request, what differs from the good answer |
//! | `from` | how many such requests get the good answer first |
//! | `times` | how many then get the other answer; all of them when left out |
//! | `code`, `status` | the diagnostic's code, and the exit status |
//! | `says` | words that message or help must have |
//! | `impatient` | short time limits, which the program has no switch for: kic runs inside the test |
//!
//! In texts, `{host}` is the server's own address, `{closed}` one that nobody listens at, `{plain}` one whose server knows
//! no TLS and says so, `{digest}` the image's digest. Members of an answer: `status`, `headers`, `body` (a text), `bytes`
//! (so many zeros), `other` (as many bytes as the good answer has, but one of them another), `raw` (these bytes and the end of
//! the connection), `cut` (the end of the connection after so many bytes), `claim` (a wrong `Content-Length`), `endless`,
//! `trickle` (so many bytes, then so many milliseconds of waiting, over and over), `wait` (milliseconds).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use kic_base::Digest;
use kic_registry::scripted_server::{Reply, Request, ScriptedServer};
use kic_registry::{Backoff, Registries, Settings, Timeouts};
use serde_json::Value;

use crate::support::contents::files;
use crate::support::kic::{kic, shown, stdout};
use crate::support::root;
use crate::support::synthetic_image::{Family, SyntheticImage};

/// A case as its file has it.
struct Case {
    name: String,
    says: Value,
}

/// What the server answers when all is well.
struct Good {
    image: SyntheticImage,
    host: OnceLock<String>,
    closed: String,
    plain: String,
}

impl Good {
    fn reply(&self, request: &Request) -> (&'static str, Reply) {
        let path = request.path();
        let blob = |number: usize| Digest::of(&self.image.blobs[number]).to_string();
        if path.contains("/manifests/") {
            let digest = self.image.digest();
            let reply = Reply::new(200).header("content-type", self.image.media_type);
            ("manifest", reply.header("docker-content-digest", &digest).body(&self.image.manifest))
        } else if path.ends_with(&blob(0)) {
            ("config", Reply::file(request, &self.image.blobs[0]))
        } else if path.ends_with(&blob(1)) {
            ("layer", Reply::file(request, &self.image.blobs[1]))
        } else if path == "/file" {
            ("file", Reply::file(request, b"a file"))
        } else if path == "/token" {
            ("token", Reply::new(200).header("content-type", "application/json").body("{\"token\":\"t\"}"))
        } else {
            ("other", Reply::new(404))
        }
    }

    fn fill(&self, text: &str) -> String {
        let host = self.host.get().map_or("", String::as_str);
        text.replace("{host}", host)
            .replace("{closed}", &self.closed)
            .replace("{plain}", &self.plain)
            .replace("{digest}", &self.image.digest())
    }
}

/// The good answer, changed as a case wants it.
fn changed(good: &Good, request: &Request, reply: Reply, change: &Value) -> Reply {
    let number = |name: &str| change[name].as_u64();
    if let Some(raw) = change["raw"].as_str() {
        return Reply::raw(raw.as_bytes());
    }
    let mut reply = reply;
    if let Some(status) = number("status") {
        reply = Reply::new(u16::try_from(status).unwrap());
    }
    for (name, value) in change["headers"].as_object().into_iter().flatten() {
        reply = reply.header(name, &good.fill(value.as_str().unwrap()));
    }
    if let Some(body) = change["body"].as_str() {
        reply = reply.body(good.fill(body));
    }
    if change["other"] == true {
        let number =
            if request.path().ends_with(&Digest::of(&good.image.blobs[0]).to_string()) { 0 } else { 1 };
        let mut bytes = good.image.blobs[number].clone();
        *bytes.last_mut().unwrap() ^= 1;
        reply = Reply::file(request, &bytes);
    }
    if let Some(bytes) = number("bytes") {
        reply = reply.body(vec![0; usize::try_from(bytes).unwrap()]);
    }
    if let Some(wait) = number("wait") {
        reply = reply.wait(Duration::from_millis(wait));
    }
    if let Some(claim) = number("claim") {
        reply = reply.claim(claim);
    }
    if let Some(cut) = number("cut") {
        reply = reply.cut_after(usize::try_from(cut).unwrap());
    }
    if let Some(trickle) = change["trickle"].as_array() {
        let (bytes, pause) = (trickle[0].as_u64().unwrap(), trickle[1].as_u64().unwrap());
        reply = reply.trickle(usize::try_from(bytes).unwrap(), Duration::from_millis(pause));
    }
    if change["endless"] == true { reply.endless() } else { reply }
}

impl Case {
    fn spec(&self, good: &Good) -> String {
        let content = match self.says["asks"].as_str().unwrap_or("image") {
            "image" => {
                "base scratch\n    registry \"sea.hub:5000\" {\n        image \"{host}/app:v1\"\n    }"
            }
            "pinned" => {
                "base scratch\n    registry \"sea.hub:5000\" {\n        image \"{host}/app@{digest}\"\n    }"
            }
            "base" => "base \"{host}/app:v1\"",
            "file" => {
                "base scratch\n    files \"one\" {\n        fetch \"http://{host}/file\" to=\"/file\"\n    }"
            }
            other => other,
        };
        good.fill(&format!("cluster \"case\" version=\"v1\" {{\n    {content}\n}}\n"))
    }

    /// Runs the case; what went wrong with it.
    async fn run(&self, output: &Path) -> Result<(), String> {
        // Taken, so that no server of another case gets it, and listened at by nobody.
        let taken = tokio::net::TcpSocket::new_v4().unwrap();
        taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let closed = taken.local_addr().unwrap().to_string();
        let image = SyntheticImage::new(Family::Oci, "amd64", &[(1, 300_000)]);
        let good = Arc::new(Good { image, host: OnceLock::new(), closed, plain: plain() });
        let (script, answers) = (Arc::clone(&good), self.says["answers"].clone());
        let from = self.says["from"].as_u64().unwrap_or(0);
        let until = self.says["times"].as_u64().map_or(u64::MAX, |times| from + times);
        let mut seen = 0;
        let server = ScriptedServer::start(move |request| {
            let (kind, reply) = script.reply(request);
            let change = if answers[kind].is_null() { &answers["every"] } else { &answers[kind] };
            if change.is_null() {
                return reply;
            }
            seen += 1;
            if seen > from && seen <= until { changed(&script, request, reply, change) } else { reply }
        })
        .await;
        good.host.set(server.host()).unwrap();

        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cluster.kdl"), self.spec(&good)).unwrap();
        crate::support::copy_tree(output, &folder.path().join("out.oci"), 0o644);
        let before = files(&folder.path().join("out.oci"));
        let began = Instant::now();
        let Ended { status, code, is_placed, text } = if self.says["impatient"] == true {
            inside(folder.path()).await
        } else {
            let path = folder.path().to_owned();
            tokio::task::spawn_blocking(move || outside(&path)).await.unwrap()
        };
        let took = began.elapsed();
        let mut wrong = Vec::new();
        let wanted = (self.says["status"].as_u64().unwrap(), self.says["code"].as_str().unwrap());
        if (u64::from(status), code.as_str()) != wanted {
            wrong.push(format!("status {status} and code {code}, not {wanted:?}"));
        }
        if !is_placed {
            wrong.push("it points at no line".to_owned());
        }
        for words in self.says["says"].as_array().into_iter().flatten() {
            let words = good.fill(words.as_str().unwrap());
            if !text.contains(&words) {
                wrong.push(format!("it does not say `{words}`"));
            }
        }
        if files(&folder.path().join("out.oci")) != before {
            wrong.push("the output has changed".to_owned());
        }
        for entry in fs::read_dir(folder.path()).unwrap() {
            let name = entry.unwrap().file_name();
            if !["cluster.kdl", "kic.lock", "out.oci", "store"].iter().any(|known| name == *known) {
                wrong.push(format!("it left {}", name.display()));
            }
        }
        if took > Duration::from_secs(40) {
            wrong.push(format!("it took {took:?}"));
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let asked = server.asked().join("\n  ");
        Err(format!("{}: {}\n{text}\nasked:\n  {asked}\n", self.name, wrong.join("; ")))
    }
}

/// The address of a server that answers to TLS as those of Go do.
fn plain() -> String {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // It ends with the process.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            drop(stream.read(&mut [0; 4096]));
            drop(stream.write_all(
                b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
            ));
        }
    });
    address
}

/// How a compile ended.
pub struct Ended {
    /// Its exit status.
    pub status: u8,
    /// The code of its first diagnostic, or `none`.
    pub code: String,
    /// Whether that one points at a line of a file.
    pub is_placed: bool,
    /// All that it said.
    pub text: String,
}

impl Ended {
    fn with(status: u8, diagnostics: &Value, text: String) -> Self {
        let first = &diagnostics[0];
        let code = first["code"].as_str().unwrap_or("none").to_owned();
        Self { status, code, is_placed: first["labels"][0]["line"].is_u64(), text }
    }
}

/// What the program does.
fn outside(folder: &Path) -> Ended {
    let mut command = kic(folder, &folder.join("store"));
    let output = command.args(["compile", "-o", "out.oci", "--format", "json"]).output().unwrap();
    let status = u8::try_from(output.status.code().unwrap_or(255)).unwrap();
    let diagnostics: Value = serde_json::from_slice(&output.stderr).unwrap_or_default();
    Ended::with(status, &diagnostics, shown(&output))
}

/// The same of the library, with short time limits.
pub async fn inside(folder: &Path) -> Ended {
    watched(folder, &folder.join("store"), Arc::new(kic::Unwatched)).await
}

/// What work in a store needs that has little patience with the network, and somebody who watches.
pub fn context_for(store: &Path, watch: Arc<dyn kic::Watch>) -> kic::Context {
    let settings = Settings {
        retries: 2,
        backoff: Backoff { first: Duration::from_millis(10), ..Backoff::default() },
        timeouts: Timeouts {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_secs(1),
            idle: Duration::from_secs(1),
            minimum_speed: 10_000,
            speed_window: Duration::from_secs(2),
            ..Timeouts::default()
        },
        unannounced: 1 << 20,
        ..Settings::default()
    };
    kic::Context {
        store: kic_store::Store::open(store).unwrap(),
        substituter: None,
        registries: Some(Registries::new(settings).unwrap()),
        jobs: 2,
        downloads: 8,
        receiving: Arc::new(tokio::sync::Semaphore::new(4)),
        watch,
        cancel: tokio_util::sync::CancellationToken::new(),
        disk_images: Arc::default(),
        programs: kic_exec::Programs::default(),
        build: None,
        sources: Arc::default(),
        workers: None,
        early: None,
    }
}

/// The files as they are.
pub struct Disk;

impl kic::World for Disk {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        fs::read(path)
    }
}

/// To compile `folder/cluster.kdl` to `folder/out.oci`.
pub fn request_for(folder: &Path) -> kic::Request {
    kic::Request {
        spec: folder.join("cluster.kdl"),
        output: Some(kic::Output::at(folder.join("out.oci"))),
        gather: kic::GatherOptions {
            lock: kic::LockMode::Add,
            source_date_epoch: 0,
            epoch: kic_base::Epoch::CURRENT,
            allow_missing: std::collections::BTreeSet::new(),
        },
        settings: kic_spec::Settings::default(),
        check: false,
        explain: false,
        record_source: false,
    }
}

/// The same with a store elsewhere, and somebody who watches.
pub async fn watched(folder: &Path, store: &Path, watch: Arc<dyn kic::Watch>) -> Ended {
    let context = context_for(store, watch);
    match kic::compile(&request_for(folder), &Disk, &context).await {
        Ok(_) => Ended::with(0, &Value::Null, String::new()),
        Err(diagnostics) => {
            let json = kic_diag::json(&diagnostics);
            Ended::with(diagnostics.exit_status(), &json, json.to_string())
        }
    }
}

fn cases() -> Vec<Case> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(root().join("tests/faults")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let text = fs::read(path).unwrap();
        let says =
            serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Case { name: path.file_stem().unwrap().to_str().unwrap().to_owned(), says }
    };
    paths.iter().map(read).collect()
}

#[test]
fn every_fault_of_a_server_ends_in_its_diagnostic_and_leaves_the_output_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cluster.kdl"), "cluster \"before\" {\n    base scratch\n}\n").unwrap();
    let mut command = kic(folder.path(), &folder.path().join("store"));
    stdout(command.args(["compile", "--offline", "--quiet", "-o", "out.oci"]));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let output = folder.path().join("out.oci");
    let cases = cases();
    assert!(cases.len() >= 30, "{} cases", cases.len());
    // They mostly wait, so they can do so together.
    let runs = stream::iter(&cases).map(|case| case.run(&output)).buffer_unordered(32);
    let failures: Vec<String> =
        runtime.block_on(runs.filter_map(|result| async { result.err() }).collect::<Vec<_>>());
    assert!(failures.is_empty(), "{} faults end otherwise:\n\n{}", failures.len(), failures.join("\n"));
}
