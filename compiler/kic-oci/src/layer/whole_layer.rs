use std::io::{self, Read};
use std::ops::Range;

use zstd::zstd_safe::{decompress, find_frame_compressed_size, get_error_name, get_frame_content_size};

use super::encoder::Workspace;
use super::read_file::unpack;
use super::tar_header::{BLOCK, Kind, kind_and_size};
use crate::model::media_types::{LayerFormat, layer_format};

/// A small layer, unpacked in memory as a whole: nothing of it is copied once more.
#[derive(Debug, Default)]
pub struct WholeLayer {
    tar: Vec<u8>,
    files: Vec<Range<usize>>,
    is_zstd: bool,
}

impl WholeLayer {
    /// Reads a layer to its end that kic has packed, and whose tar has at most `limit` bytes.
    ///
    /// # Errors
    /// A media type that is no layer's, a layer that is no tar as kic writes it, or one over the limit.
    pub fn read(layer: impl Read, media_type: &str, limit: u64) -> io::Result<Self> {
        // Whatever is behind what it unpacks to: a reader that proves a digest does so at the end.
        let bytes = read_to_end(layer, limit)?;
        let is_zstd = layer_format(media_type) == Some(LayerFormat::Zstd);
        let tar = match layer_format(media_type) {
            Some(LayerFormat::Tar) => bytes,
            Some(LayerFormat::Zstd) => decompress_frames(&bytes, limit)?,
            _ => read_to_end(unpack(&bytes[..], media_type)?, limit)?,
        };
        let files = files(&tar).ok_or_else(|| invalid("the layer is no tar as kic writes it"))?;
        Ok(Self { tar, files, is_zstd })
    }

    /// Memory to pack another one in that is about as large; nothing where it is packed in little.
    pub fn workspace(&self) -> Option<Workspace> {
        self.is_zstd.then(|| Workspace::new(self.tar.len()))
    }

    /// The bytes of each of its files, in the order of the layer.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.files.iter().map(|file| &self.tar[file.clone()])
    }

    /// The bytes of one of its files.
    pub fn file(&self, number: usize) -> Option<&[u8]> {
        self.tar.get(self.files.get(number)?.clone())
    }
}

/// Where the bodies of the files are in a tar; nothing where it is none as kic writes it.
fn files(tar: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut files = Vec::new();
    let mut rest = tar;
    while let Some((block, after)) = rest.split_first_chunk::<BLOCK>() {
        if block == &[0; BLOCK] {
            return Some(files);
        }
        let (kind, size) = kind_and_size(block)?;
        let size = usize::try_from(size).ok()?;
        let body = tar.len() - after.len();
        if kind == Kind::File {
            files.push(body..body.checked_add(size)?);
        }
        rest = after.get(size.checked_next_multiple_of(BLOCK)?..)?;
    }
    rest.is_empty().then_some(files)
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn too_large() -> io::Error {
    invalid("the layer is too large")
}

fn read_to_end(reader: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    // More than most have that are packed in little: memory that grows is copied each time.
    let mut bytes = Vec::with_capacity(16 << 10);
    reader.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(too_large()) } else { Ok(bytes) }
}

/// What zstd frames hold that say how many bytes that is, as those do that kic packs: all in one call, into memory of that size.
fn decompress_frames(frames: &[u8], limit: u64) -> io::Result<Vec<u8>> {
    let failed = |code| invalid(get_error_name(code));
    let (mut rest, mut size) = (frames, 0_u64);
    while !rest.is_empty() {
        let content = get_frame_content_size(rest).ok().flatten();
        size = size.saturating_add(content.ok_or_else(|| invalid("a frame that does not say its size"))?);
        rest = &rest[find_frame_compressed_size(rest).map_err(failed)?..];
    }
    let size = usize::try_from(size).ok().filter(|size| *size as u64 <= limit).ok_or_else(too_large)?;
    let mut tar = Vec::with_capacity(size);
    decompress(&mut tar, frames).map_err(failed)?;
    Ok(tar)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use kic_base::Epoch;

    use super::super::{Compression, LayerWriter};
    use super::*;
    use crate::model::media_types::{OCI_LAYER, OCI_LAYER_ZSTD};

    #[test]
    fn the_files_of_a_layer_are_those_that_were_packed() {
        let bodies = [&b""[..], b"one", &[7; 512], &[0; 5 << 20], b"one"];
        for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
            let mut layer = LayerWriter::new(Vec::new(), Epoch::CURRENT, compression, 0).unwrap();
            for (number, body) in bodies.iter().enumerate() {
                layer.directory(&number.to_string(), 0o755).unwrap();
                let path = format!("{number}/{}", "x".repeat(number * 100 + 1));
                layer.file(&path, 0o644, body.len() as u64, &mut &**body).unwrap();
                layer.symlink(&format!("{number}/y"), "x").unwrap();
                layer.hard_link(&format!("{number}/z"), &path).unwrap();
            }
            let (packed, digests) = layer.finish().unwrap();
            let read = |packed: &[u8], limit| WholeLayer::read(packed, compression.media_type(), limit);
            let whole = read(&packed, digests.diff_size).unwrap();
            assert!(whole.files().eq(bodies.iter().copied()), "{compression:?}");
            assert!((0..bodies.len()).all(|number| whole.file(number) == Some(bodies[number])));
            assert!(whole.file(bodies.len()).is_none());
            assert_eq!(whole.workspace().is_some(), compression == Compression::Zstd);
            assert!(read(&packed, digests.diff_size - 1).is_err(), "{compression:?}");
            assert!(read(&packed[..packed.len() / 2], u64::MAX).is_err(), "{compression:?}");
        }
    }

    #[test]
    fn what_is_no_layer_or_does_not_say_its_size_is_an_error() {
        assert!(WholeLayer::read(&b""[..], "application/json", 10).is_err());
        assert!(WholeLayer::read(&[7; 1024][..], OCI_LAYER, 10_000).is_err());
        assert_eq!(WholeLayer::read(&b""[..], OCI_LAYER, 10).unwrap().files().count(), 0);
        assert!(WholeLayer::read(&b"no frame"[..], OCI_LAYER_ZSTD, 10_000).is_err());
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.write_all(&[0; 512]).unwrap();
        encoder.flush().unwrap();
        encoder.write_all(&[0; 512]).unwrap();
        let unsaid = encoder.finish().unwrap();
        assert!(WholeLayer::read(&unsaid[..], OCI_LAYER_ZSTD, 10_000).is_err());
        // One that says more than it holds.
        let mut wrong = zstd::bulk::compress(&[0; 1024], 3).unwrap();
        let after = wrong.split_off(5);
        assert_eq!(
            WholeLayer::read(&[&wrong[..], &after[..]].concat()[..], OCI_LAYER_ZSTD, 2048)
                .unwrap()
                .files()
                .count(),
            0
        );
        wrong.extend([0xff, 0xff]);
        wrong.extend(&after[2..]);
        assert!(WholeLayer::read(&wrong[..], OCI_LAYER_ZSTD, 1 << 20).is_err());
    }
}
