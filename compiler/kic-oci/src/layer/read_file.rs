use std::io::{self, Read};

use crate::model::media_types::{LayerFormat, layer_format};

/// The bytes of one file of a layer, `None` where it has no such file. At most `limit` bytes of the layer are
/// unpacked to find it.
///
/// # Errors
/// A media type that is no layer's, a layer that is no tar, or one over the limit.
pub fn read_file(layer: impl Read, media_type: &str, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let unpacked: Box<dyn Read> = match layer_format(media_type) {
        Some(LayerFormat::Tar) => Box::new(layer),
        Some(LayerFormat::Gzip) => Box::new(flate2::read::MultiGzDecoder::new(layer)),
        Some(LayerFormat::Zstd) => Box::new(zstd::stream::read::Decoder::new(layer)?),
        None => {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("`{media_type}` is no layer")));
        }
    };
    let mut archive = tar::Archive::new(unpacked.take(limit));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path_bytes();
        if name.strip_prefix(b"./").unwrap_or(&name) == path.as_bytes()
            && entry.header().entry_type().is_file()
        {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            if bytes.len() as u64 != entry.size() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the layer is too large, or ends early",
                ));
            }
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}
