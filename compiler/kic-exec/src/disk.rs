//! Images on this machine's disks.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use kic_base::Span;
use kic_diag::{Code, Diagnostic, declared as code};
use kic_oci::disk_image::{DiskImage, DiskImageError};
use kic_spec::{DiskFormat, ImageSource};

/// The images that were opened, each once: finding out what an archive holds means reading it.
#[derive(Debug, Default)]
pub struct DiskImages(Mutex<BTreeMap<ImageSource, Arc<DiskImage>>>);

impl DiskImages {
    /// The image, opened now or before.
    pub fn open(&self, source: &ImageSource, span: Option<&Span>) -> Result<Arc<DiskImage>, Diagnostic> {
        let mut images = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(image) = images.get(source) {
            return Ok(Arc::clone(image));
        }
        let image = Arc::new(open(source, span)?);
        images.insert(source.clone(), Arc::clone(&image));
        Ok(image)
    }
}

fn open(source: &ImageSource, span: Option<&Span>) -> Result<DiskImage, Diagnostic> {
    let ImageSource::Disk { format, path, reference } = source else {
        return Err(crate::fault::internal("an image in a registry is not on disk"));
    };
    let reference = reference.as_deref();
    let opened = match format {
        DiskFormat::Layout => DiskImage::open_layout(path, reference),
        DiskFormat::Archive => DiskImage::open_archive(path, reference),
        DiskFormat::DockerArchive => DiskImage::open_docker_archive(path, reference),
        DiskFormat::LayoutOrArchive if path.is_dir() => DiskImage::open_layout(path, reference),
        DiskFormat::LayoutOrArchive => DiskImage::open_archive(path, reference),
    };
    opened.map_err(|error| not_an_image(path, &error, span))
}

fn not_an_image(path: &Path, error: &DiskImageError, span: Option<&Span>) -> Diagnostic {
    let missing = std::fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let diagnostic = if missing {
        // An example copied by itself has the link, and not what it leads to.
        let message = match std::fs::read_link(path) {
            Ok(to) => format!("`{}` is a link to `{}`, which does not exist", path.display(), to.display()),
            Err(_) => format!("`{}` does not exist", path.display()),
        };
        Diagnostic::new(&code::FILE_NOT_FOUND, message).help("paths are relative to the file that says them")
    } else {
        let help = match error {
            DiskImageError::Several { .. } | DiskImageError::Unknown { .. } => {
                "put the name behind the path, as in `oci:DIR:NAME`".to_owned()
            }
            DiskImageError::Compressed { command, .. } => format!("unpack it first: `{command}`"),
            _ => "give an OCI layout with `oci:DIR`, one in a tar file with `oci-archive:FILE`, or what `docker save` wrote with `docker-archive:FILE`".to_owned(),
        };
        match failure(error) {
            Some(code) => Diagnostic::new(code, with_cause(error)).help(MAY_READ),
            None => Diagnostic::new(&code::NOT_AN_IMAGE, with_cause(error)).help(help),
        }
    };
    match span {
        Some(span) => diagnostic.at(span, "named here"),
        None => diagnostic,
    }
}

fn with_cause(error: &DiskImageError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// The diagnostic for a part of an image on disk that cannot be read.
pub(crate) fn unreadable(source: &ImageSource, error: &DiskImageError, span: Option<&Span>) -> Diagnostic {
    let failure = failure(error);
    let code = failure.unwrap_or(&code::NOT_AN_IMAGE);
    let diagnostic = Diagnostic::new(code, format!("`{source}`: {}", with_cause(error)));
    let diagnostic = match span {
        Some(span) => diagnostic.at(span, "named here"),
        None => diagnostic,
    };
    diagnostic.help(match failure {
        Some(_) => MAY_READ,
        None => "the image is damaged or incomplete: write it again",
    })
}

/// What helps where the system gives a file to nobody, or not to this process.
const MAY_READ: &str = "check that you may read it, and how many files may be open (`ulimit -n`)";

/// What to call it where the system failed, and the image may be as good as any: a right, the disk, too many open files.
fn failure(error: &DiskImageError) -> Option<&'static Code> {
    let DiskImageError::Io { source, .. } = error else { return None };
    let is_of_the_path = matches!(
        source.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::InvalidFilename
    );
    (source.raw_os_error().is_some() && !is_of_the_path).then_some(&code::UNREADABLE_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_or_a_disk_that_fails_says_nothing_of_the_image() {
        // ENOENT, EIO, EACCES, ENOTDIR, EMFILE: the numbers of Linux and macOS alike.
        for (number, is_failure) in [(2, false), (5, true), (13, true), (20, false), (24, true)] {
            let source = io::Error::from_raw_os_error(number);
            let error = DiskImageError::Io { path: "blob".into(), source };
            assert_eq!(failure(&error).is_some(), is_failure, "{error}: {number}");
        }
        let source = io::Error::other("it is no regular file");
        assert!(failure(&DiskImageError::Io { path: "blob".into(), source }).is_none());
    }
}
