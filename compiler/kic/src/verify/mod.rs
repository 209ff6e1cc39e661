//! Verification: whether an image is whole, and is what it says.
//!
//! Every blob is read once. While its digests are computed, [`contents`] keeps what is needed of each layer; [`tree`] and
//! [`plan`] look at that afterwards.

mod contents;
mod findings;
mod names;
mod plan;
mod tree;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Read;
use std::path::Path;

use kic_base::Digest;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::{Context, Event};
use kic_oci::disk_image::LayoutArchive;
use kic_oci::model::Descriptor;
use kic_oci::validate::{
    Examination, ImageFiles, LayoutFolder, LooseBlobs, Problem, ValidateOptions, examine,
};
use kic_spec::{DiskFormat, ImageSource};
use serde::Serialize;

use crate::fetch::fetch;
use crate::image::{ImageAt, image_source, open_image};
use crate::told_reader::ToldReader;
use contents::Contents;
use findings::Findings;
use tree::Overlay;

/// What a verification has shown.
#[derive(Debug, Serialize)]
pub struct Verification {
    /// The image, as it was named.
    pub image: String,
    /// How many blobs were read and are whole.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The image of each platform.
    pub images: Vec<VerifiedImage>,
    /// What is wrong.
    #[serde(skip)]
    pub findings: Diagnostics,
}

/// The image of one platform.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifiedImage {
    /// `OS/ARCHITECTURE`
    pub platform: String,
    /// The digest of its manifest.
    pub digest: Digest,
    /// How many layers it has.
    pub layers: usize,
    /// How many images its plan lists; `None` for an image that kic did not build.
    pub cached_images: Option<usize>,
    /// How many steps its plan has.
    pub steps: Option<usize>,
}

/// Reads an image, every byte of it, and finds out whether it is whole and is what it says. Of a layout, all images are looked at;
/// of one with a name behind its path, that image alone.
///
/// # Errors
/// That it cannot be opened at all. What is wrong with it is in [`Verification::findings`].
pub async fn verify(image: &str, context: &Context) -> Result<Verification, Diagnostics> {
    let mut findings = Findings::default();
    let options = ValidateOptions { jobs: context.jobs, ..ValidateOptions::default() };
    let source = image_source(image)?;
    let mut is_folder = false;
    let examination = match &source {
        ImageSource::Disk { format: DiskFormat::Layout | DiskFormat::LayoutOrArchive, path, .. }
            if path.is_dir() =>
        {
            is_folder = true;
            // A folder without any part of a layout is no damaged image: it may be anything.
            if !["oci-layout", "index.json", "blobs"].iter().any(|part| path.join(part).exists()) {
                context.disk_images.open(&source, None)?;
            }
            let root = named(&source, context)?;
            examine_files(LayoutFolder(path.clone()), root, options, context).await?
        }
        ImageSource::Disk { format: DiskFormat::Archive | DiskFormat::LayoutOrArchive, path, .. } => {
            let files = LayoutArchive::open(path).map_err(|error| unopened(path, &error))?;
            let root = named(&source, context)?;
            examine_files(files, root, options, context).await?
        }
        source => {
            let opened = open_image(image, context).await?;
            if let ImageSource::Registry(_) = source {
                let manifests = opened.manifests.iter().map(|(_, _, manifest)| manifest);
                let blobs =
                    manifests.flat_map(|manifest| std::iter::once(&manifest.config).chain(&manifest.layers));
                findings.unfetched(fetch(blobs, &opened.origin(), context).await);
            }
            examine_opened(opened, options, context).await?
        }
    };
    findings.name_blobs(names::blob_names(&examination.images));
    findings.layouts(&examination.findings, is_folder);
    let images = check(&examination, &mut findings);
    if images.is_empty() {
        findings.no_image(image);
    }
    Ok(Verification {
        image: image.to_owned(),
        blobs: examination.blobs,
        bytes: examination.bytes,
        images,
        findings: findings.into_diagnostics(),
    })
}

/// The image of a layout that was named; `None` for all that it holds.
fn named(source: &ImageSource, context: &Context) -> Result<Option<Descriptor>, Diagnostics> {
    let ImageSource::Disk { reference: Some(_), .. } = source else { return Ok(None) };
    let image = context.disk_images.open(source, None)?;
    // Where `index.json` lists the platforms of one image, that image is all there is.
    Ok(Some(image.root().clone()).filter(|root| !image.is_made(&root.digest)))
}

fn unopened(path: &Path, error: &kic_oci::disk_image::DiskImageError) -> Diagnostic {
    if path.exists() {
        Diagnostic::new(&code::NOT_AN_IMAGE, error.to_string())
            .help("give an OCI layout, or one in a tar file")
    } else {
        Diagnostic::new(&code::FILE_NOT_FOUND, format!("`{}` does not exist", path.display()))
            .help("give an OCI layout, an archive, or a reference of an image in a registry")
    }
}

async fn examine_files(
    files: impl ImageFiles + Send + 'static,
    root: Option<Descriptor>,
    options: ValidateOptions,
    context: &Context,
) -> Result<Examination<Contents>, Diagnostics> {
    let inner = context.clone();
    context
        .blocking(move || {
            Ok(examine(&WatchedFiles { files: &files, context: &inner }, root.as_ref(), &options))
        })
        .await
}

/// An image of which there are blobs but no layout: in a registry, or in what `docker save` wrote.
async fn examine_opened(
    opened: ImageAt,
    options: ValidateOptions,
    context: &Context,
) -> Result<Examination<Contents>, Diagnostics> {
    let inner = context.clone();
    let root = Descriptor::new(&opened.root.media_type, opened.root.digest, opened.root.size);
    context
        .blocking(move || {
            Ok(if let source @ ImageSource::Disk { .. } = &opened.source {
                let image = inner.disk_images.open(source, None)?;
                let files = WatchedFiles { files: &LooseBlobs(&*image), context: &inner };
                examine(&files, Some(&root), &options)
            } else {
                let files = WatchedFiles { files: &LooseBlobs(&inner.store), context: &inner };
                examine(&files, Some(&root), &options)
            })
        })
        .await
}

/// Some names in words; not more than fit into a message.
fn listed(names: &[impl AsRef<str>]) -> String {
    const MOST: usize = 4;
    let mut text =
        names.iter().take(MOST).map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ");
    if names.len() > MOST {
        text.push_str(&format!(" and {} more", names.len() - MOST));
    }
    text
}

fn check(examination: &Examination<Contents>, findings: &mut Findings) -> Vec<VerifiedImage> {
    let mut images = Vec::new();
    for image in &examination.images {
        let platform = image.descriptor.platform.as_ref().map(|platform| platform.platform());
        let own = image.config.as_ref().map(|config| config.platform());
        let layers = &image.manifest.layers;
        let contents = layers.iter().filter_map(|layer| examination.layers.get(&layer.digest));
        let overlay = Overlay::of(contents);
        // With a layer missing, all that follows from it would be told again.
        let is_whole = layers.iter().all(|layer| examination.layers.contains_key(&layer.digest));
        let plan = if is_whole { plan::plan(image, &overlay, findings) } else { None };
        let (mut cached, mut steps) = (None, None);
        if let Some(plan) = &plan {
            tree::check_tree(&overlay, findings);
            cached = Some(tree::check_closure(&overlay, plan, findings));
            steps = Some(plan::check_plan(image, &overlay, plan, findings));
        }
        for layer in layers {
            if let Some(contents) = examination.layers.get(&layer.digest) {
                plan::check_annotations(layer, contents, &overlay, findings);
            }
        }
        images.push(VerifiedImage {
            platform: platform.or(own).map(|platform| platform.to_string()).unwrap_or_default(),
            digest: image.descriptor.digest,
            layers: layers.len(),
            cached_images: cached,
            steps,
        });
    }
    images
}

/// Files whose reading ends once the work is to stop, and is told to whoever watches.
struct WatchedFiles<'a> {
    files: &'a dyn ImageFiles,
    context: &'a Context,
}

impl ImageFiles for WatchedFiles<'_> {
    fn open(&self, name: &str) -> Result<Box<dyn Read + Send>, Problem> {
        Ok(Box::new(ToldReader::new(self.files.open(name)?, self.context)))
    }

    fn names(&self, folder: &str) -> Result<BTreeSet<OsString>, Problem> {
        self.files.names(folder)
    }

    fn is_folder(&self, name: &str) -> bool {
        self.files.is_folder(name)
    }

    fn exists(&self, name: &str) -> bool {
        self.files.exists(name)
    }

    fn announce(&self, bytes: u64) {
        self.context.watch.event(Event::Reading { done: "verified", bytes: Some(bytes) });
    }
}
