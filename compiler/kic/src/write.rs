use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use kic_base::Digest;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::{Assembled, Context, StoppableStore, fault};
use kic_oci::BlobSource;
use kic_oci::layout::{LayoutError, LayoutOptions, write_archive, write_layout};
use kic_store::{PlaceMode, Placed, Store, StoreError};
use serde::{Deserialize, Serialize};

/// Where an image goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// An OCI image layout in the working folder, by the name of the image: `NAME.oci`.
    Named,
    /// An OCI image layout: a folder.
    Layout(PathBuf),
    /// An OCI image layout in a tar file.
    Archive(PathBuf),
}

impl Output {
    /// A path that ends with `.tar` is an archive, any other one a layout.
    pub fn at(path: PathBuf) -> Self {
        if path.extension().is_some_and(|extension| extension == "tar") {
            Self::Archive(path)
        } else {
            Self::Layout(path)
        }
    }

    /// The output of an image of that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        match self {
            Self::Named => Self::Layout(PathBuf::from(format!("{name}.oci"))),
            output => output.clone(),
        }
    }

    /// Where it is, once that is known.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Named => None,
            Self::Layout(path) | Self::Archive(path) => Some(path),
        }
    }
}

/// Finds out whether something stands where the image goes, before anything is built for it. What is written
/// later looks again.
///
/// # Errors
/// `output-not-empty`.
pub(crate) fn check_room(output: &Output) -> Result<(), Diagnostics> {
    let (path, found) = match output {
        Output::Layout(path) if path.is_dir() => {
            let is_empty = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
            let is_free = is_empty || path.join("oci-layout").exists();
            (path, (!is_free).then_some("a directory that is neither empty nor an OCI layout"))
        }
        Output::Layout(path) => (path, path.exists().then_some("no directory")),
        Output::Archive(path) => (path, path.is_dir().then_some("a directory")),
        Output::Named => return Err(fault::internal("an output without a name").into()),
    };
    match found {
        Some(found) => Err(unwritten(LayoutError::Occupied { path: path.clone(), found }).into()),
        None => Ok(()),
    }
}

/// Writes the image as `reference`. Of blobs that are there already, the size alone is looked at, unless `verify`.
/// Whoever calls it keeps the `documents` at the same time, where some were just made.
///
/// # Errors
/// `output-not-empty` and `output-unwritable`, and those of a full disk.
pub(crate) async fn write(
    output: &Output,
    reference: &str,
    image: &Assembled,
    documents: &Documents,
    verify: bool,
    context: &Context,
) -> Result<(), Diagnostics> {
    let (output, reference, root, blobs) =
        (output.clone(), reference.to_owned(), image.root.clone(), image.blobs.clone());
    let store = StoppableStore::new(context);
    let source = Source { made: image.made.clone(), documents: documents.clone(), store };
    let writing = move || {
        let written = match &output {
            Output::Layout(path) => {
                let options = LayoutOptions { verify, ..LayoutOptions::default() };
                write_layout(path, &root, &reference, &blobs, &source, options)
            }
            Output::Archive(path) => write_archive(path, &root, &reference, &blobs, &source),
            Output::Named => return Err(fault::internal("an output without a name").into()),
        };
        written.map(drop).map_err(|error| unwritten(error).into())
    };
    context.blocking(writing).await
}

/// The blobs of an image of which some documents are still on their way to the store.
struct Source {
    made: BTreeMap<Digest, Arc<[u8]>>,
    documents: Documents,
    store: StoppableStore,
}

impl BlobSource for Source {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>> {
        match self.made.get(digest) {
            Some(bytes) => Ok(Box::new(Cursor::new(Arc::clone(bytes)))),
            None => self.store.open(digest),
        }
    }

    fn place(&self, digest: &Digest, to: &Path, mode: PlaceMode) -> io::Result<Option<Placed>> {
        // Where they do not come, they are copied.
        if self.made.contains_key(digest) && !self.documents.are_kept() {
            return Ok(None);
        }
        self.store.place(digest, to, mode)
    }
}

/// Tells who writes an image when the store has its documents.
#[derive(Debug, Clone, Default)]
pub(crate) struct Documents {
    /// Whether they were kept, once that is known.
    kept: Arc<(Mutex<Option<bool>>, Condvar)>,
}

impl Documents {
    /// Puts those of an image that were just made into the store.
    ///
    /// # Errors
    /// Those of the store.
    pub fn keep(&self, image: &Assembled, store: &Store) -> Result<(), Diagnostics> {
        /// Whoever waits is told whatever happens.
        struct Told<'a>(&'a Documents, bool);
        impl Drop for Told<'_> {
            fn drop(&mut self) {
                *self.0.kept.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.1);
                self.0.kept.1.notify_all();
            }
        }
        let mut told = Told(self, false);
        image.keep(store)?;
        told.1 = true;
        Ok(())
    }

    /// Waits until [`Self::keep`] is at its end, and gives whether they are there.
    fn are_kept(&self) -> bool {
        let state = self.kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.kept.1.wait_while(state, |kept| kept.is_none());
        state.unwrap_or_else(PoisonError::into_inner).unwrap_or_default()
    }
}

fn unwritten(error: LayoutError) -> Diagnostic {
    if let LayoutError::Blob { source, .. } = &error
        && let Some(source) = source.get_ref().and_then(|source| source.downcast_ref::<StoreError>())
    {
        return fault::store(source);
    }
    let message = match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    match error {
        LayoutError::Occupied { .. } => Diagnostic::new(&code::OUTPUT_NOT_EMPTY, message)
            .help("choose another path with `-o`, or remove what is there"),
        LayoutError::StorageFull { .. } => Diagnostic::new(&code::STORE_FULL, message).help("make room"),
        _ => {
            Diagnostic::new(&code::OUTPUT_UNWRITABLE, message).help("check the path, and who owns the folder")
        }
    }
}
