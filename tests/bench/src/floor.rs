//! The least that the work can take: resolve, fetch, hash, write, and nothing else. No retries, no store, no syncing,
//! no archive around a blob.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{Error, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use kic_base::{Digest, Sha256};
use serde_json::Value;

use crate::Result;
use crate::http::Connection;

/// What to fetch, and how.
#[derive(Debug, clap::Args)]
pub struct Floor {
    /// `127.0.0.1:PORT`
    #[arg(long)]
    registry: String,
    /// Where the blobs go
    #[arg(long)]
    into: PathBuf,
    /// Connections
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Blobs with more bytes than twice this are fetched in parts of this size; 0 for none
    #[arg(long, default_value_t = 0)]
    part: u64,
    /// `REPOSITORY:TAG`
    images: Vec<String>,
}

/// A blob on its way in parts.
struct Parts {
    file: File,
    digest: Digest,
    path: PathBuf,
    missing: Mutex<usize>,
}

enum Task {
    Whole { url: String, digest: Digest },
    Part { url: String, begin: u64, end: u64, parts: Arc<Parts> },
}

/// Fetches the images.
pub fn run(floor: &Floor) -> Result<()> {
    fs::create_dir_all(&floor.into)?;
    let wanted = Mutex::new(floor.images.iter().collect::<VecDeque<_>>());
    // By digest: size and address.
    let blobs = Mutex::new(BTreeMap::new());
    let connections = on_all(floor, Vec::new(), |connection| {
        while let Some(image) = next(&wanted) {
            resolve(connection, image, &floor.into, &blobs)?;
        }
        Ok(())
    })?;
    let mut blobs: Vec<(Digest, (u64, String))> =
        blobs.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect();
    blobs.sort_by_key(|(_, (size, _))| std::cmp::Reverse(*size));
    let mut tasks = VecDeque::new();
    for (digest, (size, url)) in blobs {
        let path = floor.into.join(digest.hex());
        if floor.part == 0 || size <= 2 * floor.part {
            tasks.push_back(Task::Whole { url, digest });
            continue;
        }
        let count = size.div_ceil(floor.part);
        let file = File::options().create_new(true).read(true).write(true).open(&path)?;
        let parts = Arc::new(Parts { file, digest, path, missing: Mutex::new(count as usize) });
        for number in 0..count {
            let begin = number * floor.part;
            let end = (begin + floor.part).min(size);
            tasks.push_back(Task::Part { url: url.clone(), begin, end, parts: Arc::clone(&parts) });
        }
    }
    let tasks = Mutex::new(tasks);
    on_all(floor, connections, |connection| {
        let mut buffer = vec![0; 256 << 10];
        while let Some(task) = next(&tasks) {
            match task {
                Task::Whole { url, digest } => whole(connection, &url, &digest, &floor.into, &mut buffer)?,
                Task::Part { url, begin, end, parts } => {
                    part(connection, &url, begin..end, &parts, &mut buffer)?
                }
            }
        }
        Ok(())
    })?;
    Ok(())
}

fn next<T>(queue: &Mutex<VecDeque<T>>) -> Option<T> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

/// Runs `work` on as many threads as there are to be connections, each with one of its own; returns the connections.
fn on_all(
    floor: &Floor,
    mut connections: Vec<Connection>,
    work: impl Fn(&mut Connection) -> Result<()> + Sync,
) -> Result<Vec<Connection>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..floor.connections.max(1))
            .map(|_| {
                let connection = connections.pop();
                let work = &work;
                scope.spawn(move || {
                    let mut connection = match connection {
                        Some(connection) => connection,
                        None => Connection::open(&floor.registry)?,
                    };
                    work(&mut connection).map(|()| connection)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(Error::other("a thread panicked").into())))
            .collect()
    })
}

/// From `REPOSITORY:TAG` to its blobs for linux/amd64.
fn resolve(
    connection: &mut Connection,
    image: &str,
    into: &Path,
    blobs: &Mutex<BTreeMap<Digest, (u64, String)>>,
) -> Result<()> {
    let (repository, tag) = image.rsplit_once(':').ok_or_else(|| Error::other("an image has a tag"))?;
    let mut document = document(connection, repository, tag, into)?;
    if let Some(manifests) = document["manifests"].as_array() {
        let ours = manifests.iter().find(|one| one["platform"]["architecture"] == "amd64");
        let digest = ours.and_then(|one| one["digest"].as_str()).unwrap_or_default().to_owned();
        document = self::document(connection, repository, &digest, into)?;
    }
    let layers = document["layers"].as_array().into_iter().flatten();
    for descriptor in layers.chain([&document["config"]]) {
        let digest: Digest = serde_json::from_value(descriptor["digest"].clone())?;
        let size = descriptor["size"].as_u64().unwrap_or(0);
        let url = format!("/v2/{repository}/blobs/{digest}");
        blobs.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, (size, url));
    }
    Ok(())
}

fn document(connection: &mut Connection, repository: &str, name: &str, into: &Path) -> Result<Value> {
    let mut bytes = Vec::new();
    connection.get(&format!("/v2/{repository}/manifests/{name}"), None)?.1.read_to_end(&mut bytes)?;
    fs::write(into.join(Digest::of(&bytes).hex()), &bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// In one stream, hashed on the way.
fn whole(
    connection: &mut Connection,
    url: &str,
    digest: &Digest,
    into: &Path,
    buffer: &mut [u8],
) -> Result<()> {
    let mut file = File::create_new(into.join(digest.hex()))?;
    let (_, mut body) = connection.get(url, None)?;
    let mut hash = Sha256::new();
    loop {
        let count = body.read(buffer)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        std::io::Write::write_all(&mut file, &buffer[..count])?;
    }
    compare(hash, digest)
}

/// A part, written to its place; whoever writes the last one hashes the whole.
fn part(
    connection: &mut Connection,
    url: &str,
    range: std::ops::Range<u64>,
    parts: &Parts,
    buffer: &mut [u8],
) -> Result<()> {
    let mut at = range.start;
    let (_, mut body) = connection.get(url, Some(range))?;
    loop {
        let count = body.read(buffer)?;
        if count == 0 {
            break;
        }
        parts.file.write_all_at(&buffer[..count], at)?;
        at += count as u64;
    }
    let last = {
        let mut missing = parts.missing.lock().unwrap_or_else(PoisonError::into_inner);
        *missing -= 1;
        *missing == 0
    };
    if !last {
        return Ok(());
    }
    let mut hash = Sha256::new();
    let mut file = File::open(&parts.path)?;
    loop {
        let count = file.read(buffer)?;
        if count == 0 {
            return compare(hash, &parts.digest);
        }
        hash.update(&buffer[..count]);
    }
}

fn compare(hash: Sha256, digest: &Digest) -> Result<()> {
    if hash.finish() == *digest { Ok(()) } else { Err(Error::other(format!("{digest} is another")).into()) }
}
