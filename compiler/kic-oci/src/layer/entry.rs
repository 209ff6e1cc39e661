use super::LayerError;

/// The longest path in bytes: what Linux opens.
const PATH_LIMIT: usize = 4095;

/// One entry of a layer, without a file's bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Relative and normalised, `/` between the parts: `etc/shop.yaml`.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A file.
    File {
        /// Permissions, at most 0o7777.
        mode: u32,
        /// Size in bytes.
        size: u64,
    },
    /// A directory. Those that hold entries need not be written, unless their mode matters.
    Directory {
        /// Permissions, at most 0o7777.
        mode: u32,
    },
    /// A symbolic link.
    Symlink {
        /// Where it leads, any text without NUL.
        target: String,
    },
    /// Another name for a file of the same layer.
    HardLink {
        /// The path of a file that came before.
        target: String,
    },
}

/// Whether `path` may stand in a layer: relative and normalised, so that joined to a root it stays below it.
pub(super) fn check_path(path: &str) -> Result<(), LayerError> {
    let reason = if path.is_empty() {
        "it is empty"
    } else if path.starts_with('/') {
        "it is absolute"
    } else if path.as_bytes().contains(&0) {
        "it holds a NUL"
    } else if path.len() > PATH_LIMIT {
        "it is longer than 4095 bytes"
    } else {
        match path.split('/').find_map(wrong_part) {
            Some(reason) => reason,
            None => return Ok(()),
        }
    };
    Err(LayerError::Path { path: path.to_owned(), reason })
}

fn wrong_part(part: &str) -> Option<&'static str> {
    match part {
        "" => Some("it has an empty part"),
        "." | ".." => Some("it has a part `.` or `..`"),
        _ if part.starts_with(".wh.") => {
            Some("names that begin with `.wh.` remove files of the layers below")
        }
        _ => None,
    }
}

/// Whether `target` may be what the symbolic link `path` leads to.
pub(super) fn check_target(path: &str, target: &str) -> Result<(), LayerError> {
    let reason = if target.is_empty() {
        "it is empty"
    } else if target.contains('\0') {
        "it holds a NUL"
    } else if target.len() > PATH_LIMIT {
        "it is longer than 4095 bytes"
    } else {
        return Ok(());
    };
    Err(LayerError::Target { path: path.to_owned(), reason })
}
