//! The real world: the disk, the environment, the network's settings, the clock of SOURCE_DATE_EPOCH.
//!
//! The only file of kic that reads the environment.
#![allow(clippy::disallowed_methods, reason = "this is where the environment comes in")]

use std::cell::Cell;
use std::env;
use std::fs;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use kic::{Context, DiskImages, Event, Fingerprint, Watch, World};
use kic_base::{Digest, StableHasher};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::{Programs, Workers, fault};
use kic_registry::{Proxy, Registries, Settings, Tell};
use kic_store::Store;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::arguments::{Building, Global, Network};

/// More of a file is not read: twice what the language takes of one text, so that it is the language that refuses it.
pub const MOST_READ: u64 = 32 << 20;

/// Files of this machine.
pub struct Disk;

impl World for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let metadata = fs::metadata(path)?;
        // A pipe or a device may never give anything, or never end. Those that the shell makes, such as
        // `/dev/stdin`, are meant.
        if !metadata.is_file() && !path.starts_with("/dev") {
            return Err(if metadata.is_dir() {
                io::ErrorKind::IsADirectory.into()
            } else {
                io::Error::other("it is a pipe, a socket or a device")
            });
        }
        // With room for one byte more, which tells that there is none.
        let room = usize::try_from(metadata.len().min(MOST_READ)).unwrap_or(0) + 1;
        let mut bytes = Vec::with_capacity(room);
        fs::File::open(path)?.take(MOST_READ).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// A variable of the environment that is set to something.
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// A path in the environment, which need not be UTF-8.
fn path_variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// `SOURCE_DATE_EPOCH` (reproducible-builds.org), else 0.
pub fn source_date_epoch() -> Result<u64, Diagnostics> {
    match variable("SOURCE_DATE_EPOCH") {
        None => Ok(0),
        // The last second that a tar header holds without an extension.
        Some(text) => {
            text.trim().parse().ok().filter(|seconds| *seconds <= 0o77_777_777_777).ok_or_else(|| {
                Diagnostic::new(&code::INVALID_ENVIRONMENT, format!("SOURCE_DATE_EPOCH is `{text}`"))
                    .help("set it to whole seconds since 1970, or not at all")
                    .into()
            })
        }
    }
}

/// Where the store is: `--store`, `KIC_STORE`, or `kic` in the platform's cache folder.
pub fn store_path(global: &Global) -> Result<PathBuf, Diagnostics> {
    if let Some(path) = &global.store {
        return Ok(path.clone());
    }
    if let Some(path) = path_variable("KIC_STORE") {
        return Ok(path);
    }
    let absolute = |name: &str| path_variable(name).filter(|path| path.is_absolute());
    let cache = if cfg!(target_os = "macos") {
        absolute("HOME").map(|home| home.join("Library/Caches"))
    } else {
        absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))
    };
    cache.map(|cache| cache.join("kic")).ok_or_else(|| {
        Diagnostic::new(&code::INVALID_ENVIRONMENT, "there is no home folder to put the store into")
            .help("set KIC_STORE, or give `--store DIR`")
            .into()
    })
}

/// How many threads may run at a time. To find out takes a dozen files of the system, and is done once.
pub fn cores() -> usize {
    static CORES: LazyLock<usize> =
        LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));
    *CORES
}

/// The context of a command that builds.
pub fn building_context(
    global: &Global,
    building: &Building,
    watch: Arc<dyn Watch>,
) -> Result<Context, Diagnostics> {
    let jobs = building.jobs.map_or_else(cores, usize::from);
    context(global, &building.network, jobs, watch)
}

/// The context of a command that may talk to registries.
pub fn context(
    global: &Global,
    network: &Network,
    jobs: usize,
    watch: Arc<dyn Watch>,
) -> Result<Context, Diagnostics> {
    let store = Store::open(&store_path(global)?).map_err(|error| fault::store(&error))?;
    context_with(store, network, jobs, watch)
}

/// The context of a command that looks at these images: the store is opened where one of them has to be fetched.
pub fn looking_context(
    images: &[&str],
    global: &Global,
    network: &Network,
    jobs: usize,
    watch: Arc<dyn Watch>,
) -> Result<Context, Diagnostics> {
    if images.iter().any(|image| kic::is_in_registry(image)) {
        return context(global, network, jobs, watch);
    }
    let store = Store::nowhere().map_err(|error| fault::store(&error))?;
    context_with(store, network, jobs, watch)
}

/// The context with a store that is open already.
pub fn context_with(
    store: Store,
    network: &Network,
    jobs: usize,
    watch: Arc<dyn Watch>,
) -> Result<Context, Diagnostics> {
    let registries = if network.offline { None } else { Some(registries(network, &watch)?) };
    Ok(Context {
        store,
        substituter: None,
        registries,
        jobs,
        downloads: 64,
        receiving: Arc::new(Semaphore::new(16)),
        watch,
        cancel: CancellationToken::new(),
        disk_images: Arc::new(DiskImages::default()),
        programs: Programs { folders: program_folders(), ..Programs::default() },
        build: build(),
        sources: Arc::default(),
        workers: Some(Arc::new(Workers::new(cores()))),
        early: None,
    })
}

/// The folders of `PATH`.
fn program_folders() -> Vec<PathBuf> {
    env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
}

/// What tells this program from any other build of it: which file it is, and when that was written.
fn build() -> Option<Digest> {
    let program = Fingerprint::at(&env::current_exe().ok()?).ok()?;
    let mut hasher = StableHasher::new();
    hasher.text(env!("CARGO_PKG_VERSION"));
    program.add_to(&mut hasher);
    Some(hasher.finish())
}

fn registries(network: &Network, watch: &Arc<dyn Watch>) -> Result<Registries, Diagnostics> {
    let either = |upper: &str, lower: &str| variable(lower).or_else(|| variable(upper));
    let mut settings = Settings {
        insecure: network.insecure_registry.iter().cloned().collect(),
        certificate_files: network.ca_file.clone(),
        credential_files: credential_files(),
        proxy: Proxy {
            http: either("HTTP_PROXY", "http_proxy"),
            https: either("HTTPS_PROXY", "https_proxy"),
            no_proxy: either("NO_PROXY", "no_proxy"),
        },
        connections_per_host: usize::from(network.connections),
        tell: Some(tell(Arc::clone(watch))),
        ..Settings::default()
    };
    for (host, url) in &network.registry_mirror {
        settings.mirrors.entry(host.clone()).or_default().push(url.clone());
    }
    Registries::new(settings).map_err(|error| fault::registry(&error, None).into())
}

/// Tells whoever watches of waits. Many requests at once wait for the same reason, which is told once in a while.
fn tell(watch: Arc<dyn Watch>) -> Tell {
    const PAUSE: Duration = Duration::from_secs(5);
    let last: Mutex<Option<Instant>> = Mutex::new(None);
    Tell::new(move |what| {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= PAUSE) {
            watch.event(Event::Waiting(what));
            *last = Some(Instant::now());
        }
    })
}

/// The files of credentials: the one that is named, that of Docker, and those of podman and skopeo.
fn credential_files() -> Vec<PathBuf> {
    let below_home = |path: &str| path_variable("HOME").map(|home| home.join(path));
    let docker = path_variable("DOCKER_CONFIG").or_else(|| below_home(".docker"));
    let settings = path_variable("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
    let containers = [path_variable("XDG_RUNTIME_DIR"), settings].into_iter().flatten();
    let mut files: Vec<PathBuf> = path_variable("REGISTRY_AUTH_FILE").into_iter().collect();
    files.extend(docker.map(|folder| folder.join("config.json")));
    files.extend(containers.map(|folder| folder.join("containers/auth.json")));
    files
}

/// So long ago.
pub fn before_now(age: Duration) -> SystemTime {
    SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Runs blocking work that asks at times whether it is to stop: once the user presses Ctrl-C. Work that is not told to do so comes to its
/// end, and has the result that it has.
pub fn interruptible<T: Send + 'static>(
    work: impl FnOnce(&dyn Fn() -> bool) -> Result<T, Diagnostics> + Send + 'static,
) -> Result<T, Diagnostics> {
    let cancel = CancellationToken::new();
    let asked = cancel.clone();
    let work = move || {
        let is_told = Cell::new(false);
        let done = work(&|| {
            is_told.set(is_told.get() || asked.is_cancelled());
            is_told.get()
        })?;
        if is_told.get() {
            return Err(Diagnostic::new(&code::INTERRUPTED, "interrupted")
                .help("nothing is half done: run again")
                .into());
        }
        Ok(done)
    };
    let work = async {
        let failed = |error| Err(fault::internal(format!("a task failed: {error}")).into());
        tokio::task::spawn_blocking(work).await.unwrap_or_else(failed)
    };
    run(threads(), &cancel, work)
}

/// Whether as many files may be opened as a runtime needs: tokio panics where the pair of sockets is refused by which signals come in.
fn has_room() -> io::Result<()> {
    let (one, _other) = UnixStream::pair()?;
    (0..6).map(|_| one.try_clone()).collect::<io::Result<Vec<_>>>().map(drop)
}

/// Runs `work` to its end on a runtime of its own; the first Ctrl-C asks it to stop, the second one stops at once.
pub fn block_on<T>(
    context: &Context,
    work: impl Future<Output = Result<T, Diagnostics>>,
) -> Result<T, Diagnostics> {
    run(threads(), &context.cancel, work)
}

/// The same for work that is likely to be soon done: further threads begin when something is fetched.
pub fn block_on_short<T>(
    context: &Context,
    work: impl Future<Output = Result<T, Diagnostics>>,
) -> Result<T, Diagnostics> {
    let result = run(tokio::runtime::Builder::new_current_thread(), &context.cancel, work);
    if let Some(workers) = &context.workers {
        workers.end(grace(&result));
    }
    result
}

/// A runtime with as many threads as there are processors.
fn threads() -> tokio::runtime::Builder {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(cores());
    builder
}

/// How long work is waited for that is still under way: not at all, where there is nothing left to wait for. Blocking work that was
/// asked to stop has mostly ended by now; a read that hangs must not hold the process.
fn grace<T>(result: &Result<T, Diagnostics>) -> Option<Duration> {
    result.is_err().then_some(Duration::from_millis(1500))
}

fn run<T>(
    mut runtime: tokio::runtime::Builder,
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, Diagnostics>>,
) -> Result<T, Diagnostics> {
    let runtime = has_room().and_then(|()| runtime.enable_all().build()).map_err(|error| {
        Diagnostic::new(&code::INVALID_ENVIRONMENT, format!("there is no room to work in: {error}"))
            .help("allow more open files, with `ulimit -n`, and more threads, with `ulimit -u`")
    })?;
    // Before anything is done: a task gets its turn once the work waits.
    let (interrupts, terminations) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    };
    if let Ok(mut interrupts) = interrupts {
        let cancel = cancel.clone();
        runtime.spawn(async move {
            interrupts.recv().await;
            cancel.cancel();
            interrupts.recv().await;
            // What the first one was for did not help, and nothing half done is under a name that counts.
            std::process::exit(130);
        });
    }
    if let Ok(mut terminations) = terminations {
        let cancel = cancel.clone();
        runtime.spawn(async move {
            terminations.recv().await;
            cancel.cancel();
        });
    }
    let result = runtime.block_on(work);
    match grace(&result) {
        None => runtime.shutdown_background(),
        Some(grace) => runtime.shutdown_timeout(grace),
    }
    result
}
