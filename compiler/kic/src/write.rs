use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use kic_base::Digest;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::{Assembled, Context, Event, StoppableStore, fault};
use kic_oci::BlobSource;
use kic_oci::layout::{LayoutError, LayoutOptions, write_archive, write_layout};
use kic_store::{PlaceMode, Placed, Store, StoreError, Suspects};
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

/// What writes the image as `reference`, on a thread that may wait for the disk. Of blobs that are there already, the size alone is
/// looked at, unless `verify`. Those of the `documents` that the store does not have yet are put there, too.
///
/// # Errors
/// `output-not-empty` and `output-unwritable`, and those of a full disk.
pub(crate) fn writing(
    output: &Output,
    reference: &str,
    image: &Assembled,
    documents: &Arc<Documents>,
    verify: bool,
    context: &Context,
) -> impl FnOnce() -> Result<(), Diagnostics> + Send + use<> {
    let (output, reference, root, blobs) =
        (output.clone(), reference.to_owned(), image.root.clone(), image.blobs.clone());
    let source = Source { documents: Arc::clone(documents), store: StoppableStore::new(context) };
    let watch = Arc::clone(&context.watch);
    move || {
        watch.event(Event::Writing);
        let written = match &output {
            Output::Layout(path) => {
                let options = LayoutOptions { verify, ..LayoutOptions::default() };
                write_layout(path, &root, &reference, &blobs, &source, options)
            }
            Output::Archive(path) => write_archive(path, &root, &reference, &blobs, &source),
            Output::Named => return Err(fault::internal("an output without a name").into()),
        };
        written.map(drop).map_err(|error| unwritten(error).into())
    }
}

/// The blobs of an image, of which some documents may not be in the store yet.
struct Source {
    documents: Arc<Documents>,
    store: StoppableStore,
}

impl BlobSource for Source {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>> {
        match self.documents.made.get(digest) {
            Some(bytes) => Ok(Box::new(Cursor::new(Arc::clone(bytes)))),
            None => self.store.open(digest),
        }
    }

    fn place(&self, digest: &Digest, to: &Path, mode: PlaceMode) -> io::Result<Option<Placed>> {
        // Whoever made them says why the store does not take them.
        if self.documents.made.contains_key(digest) && self.documents.keep().is_err() {
            return Err(io::Error::other("the store does not take it"));
        }
        self.store.place(digest, to, mode)
    }

    fn suspects(&self) -> Suspects {
        self.store.suspects()
    }
}

/// The documents of an image that were just made, on their way to the store.
#[derive(Debug)]
pub(crate) struct Documents {
    made: BTreeMap<Digest, Arc<[u8]>>,
    store: Store,
    kept: OnceLock<Result<(), Diagnostics>>,
}

impl Documents {
    /// Those of an image.
    pub fn of(image: &Assembled, context: &Context) -> Arc<Self> {
        Arc::new(Self { made: image.made.clone(), store: context.store.clone(), kept: OnceLock::new() })
    }

    /// Puts them into the store. Whoever comes first does, and others wait for it.
    ///
    /// # Errors
    /// Those of the store.
    pub fn keep(&self) -> Result<(), Diagnostics> {
        let put = |(digest, bytes): (&Digest, &Arc<[u8]>)| self.store.put_as(digest, bytes).map(drop);
        let keep = || self.made.iter().try_for_each(put).map_err(|error| fault::store(&error).into());
        self.kept.get_or_init(keep).clone()
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
        LayoutError::Damaged { .. } => Diagnostic::new(&code::OUTPUT_UNWRITABLE, message).help(
            "remove the layout, unless other images in it are needed, or choose another path with `-o`",
        ),
        LayoutError::StorageFull { .. } => Diagnostic::new(&code::STORE_FULL, message).help("make room"),
        _ => {
            Diagnostic::new(&code::OUTPUT_UNWRITABLE, message).help("check the path, and who owns the folder")
        }
    }
}
