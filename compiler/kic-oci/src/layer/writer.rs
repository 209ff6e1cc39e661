use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use kic_base::{Digest, Epoch};

use super::encoder::Encoder;
use super::entry::{check_path, check_target};
use super::frame_keys::Source;
use super::tar_header::{END, Header, Kind, padding};
use super::{
    Compression, Entry, EntryKind, FramePlan, KnownFrames, LayerDigests, LayerError, PackedFrame, Workspace,
};

/// Writes one layer: entries in the order of their paths' bytes, each path once; then [`Self::finish`].
///
/// Every entry is owned by 0:0, without names, and has the one time stamp. Directories that hold entries need
/// not be written. Memory: some buffers, and the paths of everything that is no directory.
pub struct LayerWriter<W: Write> {
    encoder: Encoder<W>,
    mtime: u64,
    /// The path of the entry before; empty before the first.
    previous: String,
    /// All entries so far that are no directories, in order, with the modes of those that are files.
    leaves: Vec<(String, Option<u32>)>,
    /// An entry is half written after an error: nothing may follow.
    broken: bool,
}

impl<W: Write> LayerWriter<W> {
    /// A layer that goes to `out`, compressed on the caller's thread. `mtime` is in seconds since 1970.
    pub fn new(out: W, epoch: Epoch, compression: Compression, mtime: u64) -> Result<Self, LayerError> {
        Self::with_threads(out, epoch, compression, mtime, 1)
    }

    /// The same, compressed on up to `threads` threads (zstd only), in at most 13 MiB of memory for each and
    /// as much once more, which epoch 1 takes. The bytes are the same for any number.
    pub fn with_threads(
        out: W,
        epoch: Epoch,
        compression: Compression,
        mtime: u64,
        threads: usize,
    ) -> Result<Self, LayerError> {
        let encoder = Encoder::new(out, epoch, compression, threads)?;
        Ok(Self { encoder, mtime, previous: String::new(), leaves: Vec::new(), broken: false })
    }

    /// Takes frames of layers that were packed before from `known`, where this layer has the same ones. The bytes are the same as
    /// without. Before the first entry; with zstd alone.
    pub fn reuse(&mut self, known: Arc<dyn KnownFrames>) {
        self.encoder.reuse(known);
    }

    /// Takes over the frames that the plan found, and needs no bodies of the files in those at the beginning: after [`Self::reuse`]
    /// of the same known frames, and before the first entry. Where a frame turns out to be damaged or gone, there is no layer.
    pub fn follow(&mut self, plan: FramePlan) {
        self.encoder.follow(plan.frames());
    }

    /// Adds an entry of any kind; `body` gives the bytes of a file, and is not read for other kinds.
    pub fn entry(&mut self, entry: &Entry, body: &mut dyn Read) -> Result<(), LayerError> {
        match &entry.kind {
            EntryKind::File { mode, size } => self.file(&entry.path, *mode, *size, body),
            EntryKind::Directory { mode } => self.directory(&entry.path, *mode),
            EntryKind::Symlink { target } => self.symlink(&entry.path, target),
            EntryKind::HardLink { target } => self.hard_link(&entry.path, target),
        }
    }

    /// Takes no more memory than so many bytes of tar need, unless there are more after all. Before the first entry.
    pub fn expect(&mut self, size: u64) {
        self.encoder.expect(size);
    }

    /// Packs in memory that was taken before; with zstd alone. The bytes are the same as without. Before the first entry.
    pub fn work_in(&mut self, workspace: Workspace) {
        self.encoder.work_in(workspace);
    }

    /// Adds a file with those permissions (at most 0o7777), whose body has exactly `size` bytes.
    pub fn file(&mut self, path: &str, mode: u32, size: u64, body: &mut dyn Read) -> Result<(), LayerError> {
        self.file_of(path, mode, size, None, body)
    }

    /// Adds a file whose body has that digest, which whoever reads it makes sure of.
    pub fn known_file(
        &mut self,
        path: &str,
        mode: u32,
        size: u64,
        digest: &Digest,
        body: &mut dyn Read,
    ) -> Result<(), LayerError> {
        self.file_of(path, mode, size, Some(*digest), body)
    }

    /// Adds a file that is wholly in frames that the layer begins with, as its plan said.
    pub fn unread_file(&mut self, path: &str, mode: u32, size: u64) -> Result<(), LayerError> {
        let header = Header { path, kind: Kind::File, mode, size, link: "", mtime: self.mtime };
        let length = self.enter(&header)?;
        self.broken = true;
        self.encoder.skip(length as u64 + size + padding(size) as u64)?;
        self.broken = false;
        self.leaves.push((path.to_owned(), Some(mode)));
        Ok(())
    }

    fn file_of(
        &mut self,
        path: &str,
        mode: u32,
        size: u64,
        digest: Option<Digest>,
        body: &mut dyn Read,
    ) -> Result<(), LayerError> {
        self.header(Header { path, kind: Kind::File, mode, size, link: "", mtime: self.mtime })?;
        self.broken = true;
        self.encoder.begin(&Source::Body(digest));
        self.body(path, size, body)?;
        self.encoder.end();
        self.encoder.zeros(padding(size))?;
        self.broken = false;
        self.leaves.push((path.to_owned(), Some(mode)));
        Ok(())
    }

    /// Adds a directory with those permissions (at most 0o7777).
    pub fn directory(&mut self, path: &str, mode: u32) -> Result<(), LayerError> {
        self.header(Header { path, kind: Kind::Directory, mode, size: 0, link: "", mtime: self.mtime })
    }

    /// Adds a symbolic link that leads to `target`, which is any text.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<(), LayerError> {
        check_target(path, target)?;
        let mtime = self.mtime;
        self.header(Header { path, kind: Kind::Symlink, mode: 0o777, size: 0, link: target, mtime })?;
        self.leaves.push((path.to_owned(), None));
        Ok(())
    }

    /// Adds another name for `target`, a file that came before in this layer. The mode is the file's: some
    /// tools give a file the mode of the link that they unpack last.
    pub fn hard_link(&mut self, path: &str, target: &str) -> Result<(), LayerError> {
        let Some(mode) = self.leaf(target).flatten() else {
            return Err(LayerError::HardLink { path: path.to_owned(), target: target.to_owned() });
        };
        let mtime = self.mtime;
        self.header(Header { path, kind: Kind::HardLink, mode, size: 0, link: target, mtime })?;
        self.leaves.push((path.to_owned(), Some(mode)));
        Ok(())
    }

    /// Ends the layer: gives back the output, flushed, and what the layer is known by.
    pub fn finish(self) -> Result<(W, LayerDigests), LayerError> {
        self.finish_with_frames().map(|(out, digests, _)| (out, digests))
    }

    /// The same, with the frames that may be used again, where [`Self::reuse`] was asked for.
    pub fn finish_with_frames(mut self) -> Result<(W, LayerDigests, Vec<PackedFrame>), LayerError> {
        if self.broken {
            return Err(LayerError::Unfinished);
        }
        self.encoder.zeros(END)?;
        self.encoder.finish()
    }

    fn header(&mut self, header: Header<'_>) -> Result<(), LayerError> {
        self.enter(&header)?;
        let (pax, block) = header.parts()?;
        self.broken = true;
        self.encoder.begin(&Source::Header(&header));
        self.encoder.write(&pax)?;
        self.encoder.write(&block)?;
        self.encoder.end();
        self.broken = false;
        Ok(())
    }

    /// An entry begins, if it may come next: with so many bytes of header.
    fn enter(&mut self, header: &Header<'_>) -> Result<usize, LayerError> {
        if self.broken {
            return Err(LayerError::Unfinished);
        }
        let path = header.path;
        check_path(path)?;
        if !self.previous.is_empty() && path.as_bytes() <= self.previous.as_bytes() {
            return Err(LayerError::Order { path: path.to_owned(), previous: self.previous.clone() });
        }
        // The folder of the entry before is one; nothing that came since could make it a file.
        let folder = |path: &str| path.rfind('/');
        let is_same = folder(path).is_some_and(|length| {
            folder(&self.previous) == Some(length) && self.previous.starts_with(&path[..length])
        });
        for (place, _) in path.match_indices('/').filter(|_| !is_same) {
            if self.leaf(&path[..place]).is_some() {
                let parent = path[..place].to_owned();
                return Err(LayerError::Parent { path: path.to_owned(), parent });
            }
        }
        let length = header.length()?;
        self.previous.clear();
        self.previous.push_str(path);
        Ok(length)
    }

    fn body(&mut self, path: &str, size: u64, body: &mut dyn Read) -> Result<(), LayerError> {
        let failed = |error| LayerError::Body { path: path.to_owned(), error };
        let mut left = size;
        while left > 0 {
            let room = self.encoder.room()?;
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(room.len());
            match body.read(&mut room[..most]) {
                Ok(0) => {
                    return Err(LayerError::Short { path: path.to_owned(), size, found: size - left });
                }
                Ok(count) => {
                    self.encoder.advance(count);
                    left -= count as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        loop {
            match body.read(&mut [0]) {
                Ok(0) => return Ok(()),
                Ok(_) => return Err(LayerError::Long { path: path.to_owned(), size }),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// The entry of that path, where there is one and it is no directory; inside, the mode of a file.
    fn leaf(&self, path: &str) -> Option<Option<u32>> {
        let place = self.leaves.binary_search_by(|(leaf, _)| leaf.as_bytes().cmp(path.as_bytes())).ok()?;
        self.leaves.get(place).map(|(_, mode)| *mode)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{embedded_file_header, embedded_file_trailer};
    use super::*;

    fn plain() -> LayerWriter<Vec<u8>> {
        LayerWriter::new(Vec::new(), Epoch::CURRENT, Compression::None, 7).unwrap()
    }

    #[test]
    fn header_body_and_zeros_are_what_the_writer_writes_for_one_file() {
        let long = format!("registry/{}/{}/data", "x".repeat(200), "ü".repeat(90));
        for path in ["a", "p/".repeat(60).trim_end_matches('/'), &long] {
            for size in [0, 1, 511, 512, 513, 300_000] {
                let body: Vec<u8> = (0..size).map(|place| (place % 251) as u8 + 1).collect();
                let mut layer = plain();
                layer.file(path, 0o640, size, &mut &body[..]).unwrap();
                let (written, digests) = layer.finish().unwrap();
                let mut made = embedded_file_header(path, 0o640, size, 7).unwrap();
                made.extend_from_slice(&body);
                made.resize(made.len() + usize::try_from(embedded_file_trailer(size)).unwrap(), 0);
                assert!(made == written, "{path} {size}");
                assert_eq!((digests.digest, digests.size), (digests.diff_id, made.len() as u64));
                assert_eq!(digests.digest, Digest::of(&made));
            }
        }
    }

    #[test]
    fn entries_out_of_order_twice_or_inside_a_file_are_refused() {
        let mut layer = plain();
        layer.directory("b", 0o755).unwrap();
        layer.file("b/a", 0o644, 0, &mut &b""[..]).unwrap();
        layer.symlink("b/a-b", "/x").unwrap();
        assert!(matches!(layer.file("b/a/c", 0, 0, &mut &b""[..]), Err(LayerError::Parent { .. })));
        assert!(matches!(layer.symlink("b/a-b/c", "x"), Err(LayerError::Parent { .. })));
        assert!(matches!(layer.directory("a", 0o755), Err(LayerError::Order { .. })));
        assert!(matches!(layer.symlink("b/a-b", "x"), Err(LayerError::Order { .. })));
        assert!(matches!(layer.hard_link("c", "b/a-b"), Err(LayerError::HardLink { .. })));
        assert!(matches!(layer.hard_link("c", "b"), Err(LayerError::HardLink { .. })));
        assert!(matches!(layer.hard_link("c", "../x"), Err(LayerError::HardLink { .. })));
        assert!(matches!(layer.symlink("c", ""), Err(LayerError::Target { .. })));
        layer.hard_link("c", "b/a").unwrap();
        layer.finish().unwrap();
    }

    #[test]
    fn a_body_of_another_length_is_refused_and_leaves_no_layer() {
        for (body, expected) in [(&b"abc"[..], "ended after 3"), (&b"abcde"[..], "longer than the 4")] {
            let mut layer = plain();
            let error = layer.file("a", 0o644, 4, &mut &*body).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(matches!(layer.directory("b", 0o755), Err(LayerError::Unfinished)));
            assert!(matches!(layer.finish(), Err(LayerError::Unfinished)));
        }
    }

    #[test]
    fn neither_what_is_expected_of_the_size_nor_a_workspace_reaches_the_bytes() {
        let write = |compression, expected: Option<u64>, workspace: Option<usize>, threads| {
            let mut layer =
                LayerWriter::with_threads(Vec::new(), Epoch::CURRENT, compression, 7, threads).unwrap();
            expected.into_iter().for_each(|expected| layer.expect(expected));
            workspace.into_iter().for_each(|size| layer.work_in(Workspace::new(size)));
            for (path, size) in [("a", 1), ("b", 300_000), ("c", 9 << 20), ("d", 0), ("e", 70_000)] {
                let body: Vec<u8> = (0..size).map(|place| (place % 251) as u8 + 1).collect();
                layer.file(path, 0o640, size, &mut &body[..]).unwrap();
            }
            layer.finish().unwrap()
        };
        for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
            let written = write(compression, None, None, 1);
            for expected in [0, 1, 511, 128 << 10, (4 << 20) - 1, 4 << 20, u64::MAX] {
                for threads in [1, 3] {
                    assert!(
                        write(compression, Some(expected), None, threads) == written,
                        "{expected} {threads}"
                    );
                }
                let size = usize::try_from(expected).unwrap();
                assert!(write(compression, Some(1), Some(size), 1) == written, "a workspace of {size}");
            }
        }
    }

    #[test]
    fn a_full_disk_is_an_error_for_any_number_of_threads() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        for (compression, threads) in
            [(Compression::None, 1), (Compression::Gzip, 1), (Compression::Zstd, 1), (Compression::Zstd, 3)]
        {
            let mut layer =
                LayerWriter::with_threads(Full(900), Epoch::CURRENT, compression, 0, threads).unwrap();
            let size = 40 << 20;
            let error =
                layer.file("a", 0o644, size, &mut std::io::repeat(1).take(size)).map(|()| layer.finish());
            assert!(matches!(error, Err(LayerError::Output(_)) | Ok(Err(LayerError::Output(_)))));
        }
    }
}
