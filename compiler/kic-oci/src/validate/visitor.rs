use std::collections::BTreeMap;
use std::io::{self, Read};

use kic_base::Digest;

use crate::unpack::{LayerPaths, Refusal};

/// Looks at the entries of one layer, in their order.
pub trait LayerVisitor: Default + Send {
    /// Whether it looks at the records of extended headers, which are not read for others.
    const RECORDS: bool = false;

    /// An entry came. Its content may be read, or left.
    ///
    /// # Errors
    /// Those of reading the content, passed on.
    fn entry(&mut self, entry: &LayerEntry<'_>, content: &mut dyn LayerContent) -> io::Result<()>;
}

/// The content of an entry.
pub trait LayerContent: Read {
    /// Begins a digest of what is read from here on. It costs little, as the layer is hashed anyway.
    fn begin_digest(&mut self);

    /// The digest of what was read since it was begun.
    fn end_digest(&mut self) -> Digest;
}

/// Looks at nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Unvisited;

impl LayerVisitor for Unvisited {
    fn entry(&mut self, _: &LayerEntry<'_>, _: &mut dyn LayerContent) -> io::Result<()> {
        Ok(())
    }
}

/// An entry of a layer.
#[derive(Debug)]
pub struct LayerEntry<'a> {
    /// Its path as it stands there.
    pub path: &'a [u8],
    /// What it is.
    pub kind: tar::EntryType,
    /// Its permission bits, where they can be read.
    pub mode: Option<u32>,
    /// The size of its content in bytes.
    pub size: u64,
    /// What it links to.
    pub link: Option<Vec<u8>>,
    /// Why unpacking would not take it for what it is, whatever its path.
    pub refusal: Option<Refusal>,
    /// Its header, which has what else there is to know of it.
    pub header: &'a tar::Header,
    /// The records of its extended header, by key, where the visitor looks at those. Of these, the path, the link and the size are in
    /// the members above.
    pub records: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A visitor, and the rules for paths beside it.
#[derive(Default)]
pub(super) struct Watched<V> {
    pub(super) paths: LayerPaths,
    pub(super) visitor: V,
}

impl<V: LayerVisitor> LayerVisitor for Watched<V> {
    const RECORDS: bool = V::RECORDS;

    fn entry(&mut self, entry: &LayerEntry<'_>, content: &mut dyn LayerContent) -> io::Result<()> {
        self.paths.entry(entry, content)?;
        self.visitor.entry(entry, content)
    }
}
