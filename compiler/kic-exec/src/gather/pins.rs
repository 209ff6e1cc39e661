//! Pins: what the lock says, what is asked of the network because it does not, and what it will say.

use std::collections::BTreeMap;
use std::path::Path;

use futures::{StreamExt, stream};
use kic_base::{Digest, Epoch, ImageReference, Spanned, without_secrets};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::ContentFacts;
use kic_spec::{ChartKey, ChartPin, Fetch, FetchPin, ImagePin, Lock, Spec};

use super::{LockMode, downloads};
use crate::context::Context;
use crate::event::Event;
use crate::fault;

/// The lock while it is worked with.
#[derive(Debug)]
pub(super) struct Pins {
    before: Lock,
    mode: LockMode,
    path: String,
    /// Whether a lock stands on disk.
    pub has_file: bool,
    /// Whether it is enough to know of an image what its pin says.
    pub suffice: bool,
    /// The pins that are needed.
    pub used: Lock,
}

impl Pins {
    pub fn new(before: Lock, mode: LockMode, path: &Path) -> Self {
        // What is all resolved anew is built as a new lock would have it.
        let is_anew = matches!(&mode, LockMode::Update(updated) if updated.is_empty());
        let epoch = if is_anew { Epoch::CURRENT } else { before.epoch };
        let used = Lock { epoch, ..Lock::default() };
        Self { before, mode, path: path.display().to_string(), has_file: false, suffice: false, used }
    }

    /// The lock as it should be.
    pub fn finish(self) -> Lock {
        match self.mode {
            LockMode::Tidy | LockMode::Update(_) => self.used,
            LockMode::Add | LockMode::Locked => {
                let mut lock = self.before;
                lock.images.extend(self.used.images);
                lock.fetches.extend(self.used.fetches);
                lock.charts.extend(self.used.charts);
                lock
            }
        }
    }

    /// Where the lock is.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The pin of an image, unless it is to be resolved anew.
    pub fn image(&self, reference: &ImageReference) -> Option<&ImagePin> {
        let pin = self.before.images.get(reference)?;
        (!self.is_updated(&[reference.as_str()], reference)).then_some(pin)
    }

    fn is_updated(&self, names: &[&str], reference: &ImageReference) -> bool {
        let LockMode::Update(updated) = &self.mode else { return false };
        let same = |name: &String| {
            names.contains(&name.as_str())
                || name.parse::<ImageReference>().is_ok_and(|named| named == *reference)
        };
        updated.is_empty() || updated.iter().any(same)
    }

    /// The pin of a chart, unless it is to be resolved anew.
    pub fn chart(&self, key: &ChartKey) -> Option<&ChartPin> {
        let pin = self.before.charts.get(key)?;
        match &self.mode {
            LockMode::Update(updated) if updated.is_empty() || updated.contains(&key.name) => None,
            _ => Some(pin),
        }
    }

    fn fetch(&self, url: &str) -> Option<&FetchPin> {
        let pin = self.before.fetches.get(url)?;
        match &self.mode {
            LockMode::Update(updated) if updated.is_empty() || updated.iter().any(|name| name == url) => None,
            _ => Some(pin),
        }
    }

    /// An error where the lock may not change.
    pub fn may_add(&self, wanted: &Spanned<String>) -> Result<(), Diagnostic> {
        if self.mode != LockMode::Locked {
            return Ok(());
        }
        let message = if self.has_file {
            format!("`{}` has no pin for `{}`", self.path, wanted.value)
        } else {
            format!("`{}` is missing, and `{}` needs a pin", self.path, wanted.value)
        };
        Err(Diagnostic::new(&code::LOCK_MISSING, message)
            .at(&wanted.span, "needs a pin")
            .help("run `kic lock`, look at what it wrote, and commit it"))
    }

    /// The error of a pin that contradicts the spec, where the lock may not change.
    pub fn may_change(&self, wanted: &Spanned<String>, why: &str) -> Result<(), Diagnostic> {
        if self.mode != LockMode::Locked {
            return Ok(());
        }
        Err(Diagnostic::new(
            &code::LOCK_STALE,
            format!("the pin of `{}` in `{}` is stale: {why}", wanted.value, self.path),
        )
        .at(&wanted.span, "the spec says otherwise")
        .help("run `kic lock`, look at what it wrote, and commit it"))
    }
}

/// What every download of the spec gives. Those whose content is needed are in the store afterwards.
pub(super) async fn fetches(
    spec: &Spec,
    pins: &mut Pins,
    context: &Context,
) -> Result<BTreeMap<String, ContentFacts>, Diagnostics> {
    let mut diagnostics = Diagnostics::new();
    let mut tasks: BTreeMap<String, Task> = BTreeMap::new();
    for (fetch, needed) in downloads(spec) {
        match task(fetch, needed, pins) {
            Ok(task) => match tasks.get_mut(&fetch.url.value) {
                Some(earlier) if earlier.expected == task.expected => earlier.needed |= needed,
                Some(earlier) => diagnostics.push(
                    Diagnostic::new(
                        &code::CONFLICTING_FORMS,
                        format!("`{}` has two checksums", fetch.url.value),
                    )
                    .at(&task.url.span, "here again")
                    .at(&earlier.url.span, "first here")
                    .help("keep the right one of the two"),
                ),
                None => {
                    tasks.insert(fetch.url.value.clone(), task);
                }
            },
            Err(error) => diagnostics.push(error),
        }
    }
    let mut results: BTreeMap<String, Result<ContentFacts, Diagnostics>> = BTreeMap::new();
    let mut pending = stream::iter(tasks.into_values())
        .map(|task| async move {
            let url = task.url.value.clone();
            (url, run(task, context).await)
        })
        .buffer_unordered(context.downloads.max(1));
    while let Some((url, result)) = pending.next().await {
        results.insert(url, result);
    }
    drop(pending);
    let mut facts = BTreeMap::new();
    for (url, result) in results {
        match result {
            Ok(content) => {
                pins.used
                    .fetches
                    .insert(url.clone(), FetchPin { sha256: content.digest, size: content.size });
                facts.insert(url, content);
            }
            Err(errors) => diagnostics.append(errors),
        }
    }
    diagnostics.or(facts).map(|(facts, _)| facts)
}

/// One download.
struct Task {
    url: Spanned<String>,
    expected: Option<Digest>,
    size: Option<u64>,
    /// Whether its content is needed now.
    needed: bool,
}

fn task(fetch: &Fetch, needed: bool, pins: &Pins) -> Result<Task, Diagnostic> {
    let url = fetch.url.clone();
    let pin = pins.fetch(&url.value);
    let stated = fetch.sha256.as_ref().map(|digest| digest.value);
    match (pin, stated) {
        (Some(pin), Some(stated)) if pin.sha256 != stated => {
            pins.may_change(&url, "the spec states another checksum")?;
            Ok(Task { url, expected: Some(stated), size: None, needed })
        }
        (Some(pin), _) => Ok(Task { url, expected: Some(pin.sha256), size: Some(pin.size), needed }),
        (None, stated) => {
            pins.may_add(&url)?;
            Ok(Task { url, expected: stated, size: None, needed })
        }
    }
}

async fn run(task: Task, context: &Context) -> Result<ContentFacts, Diagnostics> {
    context.go_on()?;
    if let Some(digest) = task.expected {
        for store in [Some(&context.store), context.substituter.as_ref()].into_iter().flatten() {
            let stored = store.size(&digest).map_err(|error| fault::store(&error))?;
            // The substituter's copy is taken over, since the content is read from the store.
            if let Some(size) = stored {
                if task.needed && !context.store.contains(&digest) {
                    take_over(store, &context.store, &digest, context).await?;
                }
                return Ok(ContentFacts { digest, size });
            }
        }
        if let (Some(size), false) = (task.size, task.needed) {
            return Ok(ContentFacts { digest, size });
        }
    }
    let network = context.network(&task.url.value, Some(&task.url.span))?;
    let _receiving = context.receive().await?;
    // Some have the right to a file in their query.
    let shown = without_secrets(&task.url.value);
    context.watch.event(Event::Resolving(&shown));
    let store = context.store.clone();
    let mut writer =
        context.blocking(move || store.writer().map_err(|error| fault::store(&error).into())).await?;
    let mut stream = std::pin::pin!(network.fetch(&task.url.value, task.size));
    loop {
        let next = context.interruptible(async { Ok(stream.next().await) }).await?;
        match next {
            None => break,
            Some(Err(error)) => return Err(fault::registry(&error, Some(&task.url.span)).into()),
            Some(Ok(bytes)) => {
                context.watch.event(Event::Fetched { what: &shown, bytes: bytes.len() as u64 });
                writer = context
                    .blocking(move || {
                        use std::io::Write;
                        writer
                            .write_all(&bytes)
                            .map_err(|error| fault::input_output(error, "writing to the store"))?;
                        Ok(writer)
                    })
                    .await?;
            }
        }
    }
    let (url, expected) = (task.url.clone(), task.expected);
    let (digest, size) = context
        .blocking(move || {
            writer.commit(expected.as_ref()).map_err(|error| match error {
                kic_store::StoreError::Mismatch { expected, actual, .. } => Diagnostic::new(
                    &code::DIGEST_MISMATCH,
                    format!("`{}` has the checksum {}, not {}", url.value, actual.hex(), expected.hex()),
                )
                .at(&url.span, "fetched because of this")
                .help("upstream changed it, or it was changed on its way: look at it before you take the new checksum")
                .into(),
                error => fault::store(&error).into(),
            })
        })
        .await?;
    context.watch.event(Event::Resolved(&shown));
    Ok(ContentFacts { digest, size })
}

/// Copies a blob from one store into another.
pub(super) async fn take_over(
    from: &kic_store::Store,
    to: &kic_store::Store,
    digest: &Digest,
    context: &Context,
) -> Result<(), Diagnostics> {
    let (from, to, digest) = (from.clone(), to.clone(), *digest);
    context
        .blocking(move || {
            let mut reader = from.blob(&digest).map_err(|error| fault::store(&error))?;
            let mut writer = to.writer().map_err(|error| fault::store(&error))?;
            std::io::copy(&mut reader, &mut writer)
                .map_err(|error| fault::input_output(error, "copying a blob"))?;
            writer.commit(Some(&digest)).map_err(|error| fault::store(&error))?;
            Ok(())
        })
        .await
}
