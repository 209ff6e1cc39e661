use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::model::media_types::{LayerFormat, layer_format};

/// The bytes of one file of a layer, `None` where it has no such file. At most `limit` bytes of the layer are
/// unpacked to find it.
///
/// # Errors
/// A media type that is no layer's, a layer that is no tar, or one over the limit.
pub fn read_file(layer: impl Read, media_type: &str, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut found = None;
    each_file(layer, media_type, limit, |name, entry| {
        if name != path {
            return Ok(true);
        }
        found = Some(whole(entry)?);
        Ok(false)
    })?;
    Ok(found)
}

/// The bytes of every file of a layer whose path is wanted, by path; the last one where there are several. At most `limit`
/// bytes of the layer are unpacked.
///
/// # Errors
/// As [`read_file`].
pub fn read_files(
    layer: impl Read,
    media_type: &str,
    is_wanted: impl Fn(&str) -> bool,
    limit: u64,
) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    each_file(layer, media_type, limit, |name, entry| {
        if is_wanted(name) {
            found.insert(name.to_owned(), whole(entry)?);
        }
        Ok(true)
    })?;
    Ok(found)
}

type Archived<'a, 'r> = tar::Entry<'a, io::Take<Box<dyn Read + 'r>>>;

/// Gives every file to `take`, until that says that it has enough. Names that are no text are nobody's.
fn each_file<'r>(
    layer: impl Read + 'r,
    media_type: &str,
    limit: u64,
    mut take: impl FnMut(&str, &mut Archived<'_, 'r>) -> io::Result<bool>,
) -> io::Result<()> {
    let mut archive = tar::Archive::new(unpack(layer, media_type)?.take(limit));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path_bytes().into_owned();
        let name = name.strip_prefix(b"./").unwrap_or(&name);
        if let (Ok(name), true) = (std::str::from_utf8(name), entry.header().entry_type().is_file())
            && !take(name, &mut entry)?
        {
            break;
        }
    }
    Ok(())
}

/// The tar of a layer.
pub(super) fn unpack<'r>(layer: impl Read + 'r, media_type: &str) -> io::Result<Box<dyn Read + 'r>> {
    Ok(match layer_format(media_type) {
        Some(LayerFormat::Tar) => Box::new(layer),
        Some(LayerFormat::Gzip) => Box::new(flate2::read::MultiGzDecoder::new(layer)),
        Some(LayerFormat::Zstd) => Box::new(zstd::stream::read::Decoder::new(layer)?),
        None => {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("`{media_type}` is no layer")));
        }
    })
}

/// All bytes of an entry.
fn whole(entry: &mut Archived<'_, '_>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    if bytes.len() as u64 != entry.size() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the layer is too large, or ends early"));
    }
    Ok(bytes)
}
