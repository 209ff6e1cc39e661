use std::fmt;
use std::path::PathBuf;

use kic_base::ImageReference;

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageSource {
    /// A registry.
    Registry(ImageReference),
    /// A file or folder on this machine.
    Disk {
        /// How it is laid out.
        format: DiskFormat,
        /// Where it is, relative to the spec that names it.
        path: PathBuf,
        /// Which of its images, where it has several.
        reference: Option<String>,
    },
}

/// How an image lies on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskFormat {
    /// An OCI image layout: a folder.
    Layout,
    /// An OCI image layout in a tar file.
    Archive,
    /// What `docker save` writes.
    DockerArchive,
    /// A layout where the path is a folder, an archive where it is a file.
    LayoutOrArchive,
}

impl ImageSource {
    /// Reads `REFERENCE`, `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]` or `docker-archive:FILE[:NAME]`, as
    /// skopeo and podman write them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let formats = [
            ("oci:", DiskFormat::Layout),
            ("oci-archive:", DiskFormat::Archive),
            ("docker-archive:", DiskFormat::DockerArchive),
        ];
        for (prefix, format) in formats {
            if let Some(rest) = text.strip_prefix(prefix) {
                let (path, reference) = match rest.split_once(':') {
                    Some((path, reference)) => (path, Some(reference.to_owned())),
                    None => (rest, None),
                };
                if path.is_empty() || path.contains('\0') {
                    return Err(format!("a path follows `{prefix}`"));
                }
                return Ok(Self::Disk { format, path: PathBuf::from(path), reference });
            }
        }
        let text = text.strip_prefix("docker://").unwrap_or(text);
        text.parse().map(Self::Registry).map_err(|error: kic_base::ImageReferenceError| error.to_string())
    }
}

impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => write!(f, "{reference}"),
            Self::Disk { format, path, reference } => {
                let prefix = match format {
                    DiskFormat::Layout | DiskFormat::LayoutOrArchive => "oci",
                    DiskFormat::Archive => "oci-archive",
                    DiskFormat::DockerArchive => "docker-archive",
                };
                write!(f, "{prefix}:{}", path.display())?;
                reference.as_ref().map_or(Ok(()), |reference| write!(f, ":{reference}"))
            }
        }
    }
}
