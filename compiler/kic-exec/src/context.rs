use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kic_base::{Digest, Span};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_registry::Registries;
use kic_store::{Memo, Store};
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;

use crate::build::Early;
use crate::disk::DiskImages;
use crate::event::Watch;
use crate::fault;
use crate::render::Programs;
use crate::sources::Sources;
use crate::workers::Workers;

/// How long blocking work that is to stop is waited for: it stops at its next read, or is at its last step.
const LAST_STEP: Duration = Duration::from_millis(500);

/// What all work needs.
#[derive(Clone)]
pub struct Context {
    /// Where everything is kept.
    pub store: Store,
    /// Another store that may have what is known by digest, asked before the network.
    pub substituter: Option<Store>,
    /// The network; `None` when it may not be used.
    pub registries: Option<Registries>,
    /// How many layers are built at one time.
    pub jobs: usize,
    /// How many blobs are on their way at one time, over all hosts. Many of them wait for a connection, or for the disk at their
    /// end: the connections are never to stand idle for those.
    pub downloads: usize,
    /// One permit for each that bytes may come of at one time: what these hold in memory has a bound.
    pub receiving: Arc<Semaphore>,
    /// Told what happens.
    pub watch: Arc<dyn Watch>,
    /// Ends all work soon.
    pub cancel: CancellationToken,
    /// The images on disk that were opened.
    pub disk_images: Arc<DiskImages>,
    /// Where programs that render charts and kustomizations are looked for.
    pub programs: Programs,
    /// What tells this build of kic from any other one. Without it nothing is kept from one run to the next but what the
    /// store keeps by digest.
    pub build: Option<Digest>,
    /// What is known of local files.
    pub sources: Arc<Sources>,
    /// Where is fetched; `None` for the runtime that runs this.
    pub workers: Option<Arc<Workers>>,
    /// Layers that are packed while it is still found out what else is to be built; `None` where there is one job at a time.
    pub early: Option<Arc<Early>>,
}

impl Context {
    /// One that fetches nothing and tells nobody.
    #[cfg(test)]
    pub(crate) fn for_tests(store: Store, sources: Sources) -> Self {
        Self {
            store,
            substituter: None,
            registries: None,
            jobs: 2,
            downloads: 1,
            receiving: Arc::new(Semaphore::new(1)),
            watch: Arc::new(crate::event::Unwatched),
            cancel: CancellationToken::new(),
            disk_images: Arc::default(),
            programs: Default::default(),
            build: None,
            sources: Arc::new(sources),
            workers: None,
            early: None,
        }
    }

    /// The network, or why not.
    pub(crate) fn network(&self, wanted: &str, span: Option<&Span>) -> Result<&Registries, Diagnostic> {
        self.registries.as_ref().ok_or_else(|| {
            let diagnostic = Diagnostic::new(
                &code::OFFLINE,
                format!("`{wanted}` is not in the store, and kic is offline"),
            );
            let diagnostic = match span {
                Some(span) => diagnostic.at(span, "needed here"),
                None => diagnostic,
            };
            diagnostic.help("run once without `--offline`, so that it is fetched")
        })
    }

    /// Waits until bytes may come of one more blob. To be dropped when they are all there.
    pub(crate) async fn receive(&self) -> Result<Option<SemaphorePermit<'_>>, Diagnostic> {
        tokio::select! {
            // It is never closed.
            permit = self.receiving.acquire() => Ok(permit.ok()),
            () = self.cancel.cancelled() => Err(interrupted()),
        }
    }

    /// Keeps bytes in the store, and gives them back. On the blocking pool: it waits for the disk.
    pub(crate) async fn put(&self, bytes: Vec<u8>) -> Result<Vec<u8>, Diagnostics> {
        let store = self.store.clone();
        self.blocking(move || {
            store.put(&bytes).map_err(|error| fault::store(&error))?;
            Ok(bytes)
        })
        .await
    }

    /// Puts bytes together and keeps them for the next run, beside what goes on. Where that does not work, they are found out again.
    pub(crate) fn remember(&self, key: Digest, bytes: impl FnOnce() -> Vec<u8> + Send + 'static) {
        let store = self.store.clone();
        self.later(move || drop(store.remember(&Memo::new(key, bytes()))));
    }

    /// Begins the thread of [`Early`], where there is to be one: something has to be built.
    pub fn begin_early(&self) {
        if let Some(early) = &self.early {
            early.begin();
        }
    }

    /// Whether there is a thread of [`Early`].
    pub(crate) fn has_early(&self) -> bool {
        self.early.as_ref().is_some_and(|early| early.has_begun())
    }

    /// Has something done that nobody waits for: beside what goes on, where there is a thread for it.
    pub fn later(&self, work: impl FnOnce() + Send + 'static) {
        match &self.early {
            Some(early) => early.later(work),
            None => work(),
        }
    }

    /// Has something done beside what goes on, where there is a thread for it, and now where there is none. Nothing comes where that
    /// thread ends.
    pub fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (done, receiver) = oneshot::channel();
        self.later(move || drop(done.send(work())));
        receiver
    }

    /// Runs work until it is interrupted: for work that leaves nothing half done wherever it stops.
    ///
    /// # Errors
    /// Those of `work`, and `interrupted`.
    pub async fn interruptible<T>(
        &self,
        work: impl Future<Output = Result<T, Diagnostics>>,
    ) -> Result<T, Diagnostics> {
        tokio::select! {
            result = work => result,
            () = self.cancel.cancelled() => Err(interrupted().into()),
        }
    }

    /// An error once the work was interrupted.
    pub(crate) fn go_on(&self) -> Result<(), Diagnostic> {
        if self.cancel.is_cancelled() { Err(interrupted()) } else { Ok(()) }
    }

    /// Runs blocking work on the blocking pool; its panic is a bug that is reported, not passed on. When the work is
    /// to stop, it is left to `work` to notice, and this returns soon in any case: that is why it must leave nothing half
    /// done wherever the process ends. Work that comes to its end instead has the result that it has: what stands in its
    /// place must not be told to have been interrupted.
    ///
    /// # Errors
    /// Those of `work`, and `interrupted`.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Diagnostics> + Send + 'static,
    ) -> Result<T, Diagnostics> {
        self.unless_interrupted(tokio::task::spawn_blocking(work)).await
    }

    /// The same for work at the end of a compile, which is soon done and mostly waits for the disk; it begins now, whenever it is waited
    /// for. It goes to the thread of [`Early`], where that has nothing else to do: to begin another one takes longer than such work.
    pub fn begin_late<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Diagnostics> + Send + 'static,
    ) -> impl Future<Output = Result<T, Diagnostics>> + Send + 'static {
        let work = match &self.early {
            Some(early) => early.run(work).map_err(tokio::task::spawn_blocking),
            None => Err(tokio::task::spawn_blocking(work)),
        };
        self.unless_interrupted(async move {
            match work {
                Ok(early) => early.await.map_err(|error| error.to_string()),
                Err(other) => other.await.map_err(|error| error.to_string()),
            }
        })
    }

    /// The same, after all else that the thread of [`Early`] has to do, and now where there is none.
    pub(crate) fn begin_next<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Diagnostics> + Send + 'static,
    ) -> impl Future<Output = Result<T, Diagnostics>> + Send + 'static {
        self.unless_interrupted(self.beside(work))
    }

    fn unless_interrupted<T: Send + 'static, E: fmt::Display + Send>(
        &self,
        work: impl Future<Output = Result<Result<T, Diagnostics>, E>> + Send + 'static,
    ) -> impl Future<Output = Result<T, Diagnostics>> + Send + 'static {
        let cancel = self.cancel.clone();
        async move {
            let mut work = std::pin::pin!(work);
            let result = tokio::select! {
                biased;
                result = &mut work => result,
                () = cancel.cancelled() => match tokio::time::timeout(LAST_STEP, work).await {
                    Ok(result) => result,
                    Err(_) => return Err(interrupted().into()),
                },
            };
            match result {
                // It noticed first that it is to stop.
                Ok(Err(_)) if cancel.is_cancelled() => Err(interrupted().into()),
                Ok(result) => result,
                Err(error) => Err(Diagnostic::new(&code::INTERNAL, format!("a task failed: {error}")).into()),
            }
        }
    }
}

/// The diagnostic of work that was interrupted.
pub(crate) fn interrupted() -> Diagnostic {
    Diagnostic::new(&code::INTERRUPTED, "interrupted")
        .help("nothing is half written; the next run goes on from what is in the store")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of work that is interrupted while it is under way, and then takes so long.
    async fn interrupted_before(end: Duration, result: Result<u32, Diagnostics>) -> Result<u32, Diagnostics> {
        let folder = tempfile::tempdir().unwrap();
        let context = Context::for_tests(Store::open(folder.path()).unwrap(), Sources::default());
        let cancel = context.cancel.clone();
        let work = move || {
            cancel.cancel();
            std::thread::sleep(end);
            result
        };
        context.blocking(work).await
    }

    #[tokio::test]
    async fn work_that_comes_to_its_end_was_not_interrupted() {
        let failed = || Err(fault::internal("it noticed").into());
        let code =
            |result: Result<u32, Diagnostics>| result.map_err(|errors| errors.iter().next().unwrap().code);
        assert_eq!(code(interrupted_before(Duration::from_millis(50), Ok(7)).await), Ok(7));
        assert_eq!(
            code(interrupted_before(Duration::from_millis(50), failed()).await),
            Err(&code::INTERRUPTED)
        );
        assert_eq!(code(interrupted_before(LAST_STEP * 3, Ok(7)).await), Err(&code::INTERRUPTED));
    }
}
