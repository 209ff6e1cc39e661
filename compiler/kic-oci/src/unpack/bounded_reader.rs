use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use super::error::Limit;
use super::options::UnpackLimits;
use crate::model::media_types::LayerFormat;

/// The most that the headers before one entry may have: extended headers are read into memory.
const HEADER_LIMIT: u64 = 1 << 20;

/// Decompressed bytes that come before the ratio is looked at.
const RATIO_START: u64 = 64 << 20;

/// What a layer has cost so far; shared by the readers around its decompression and by who reads the entries.
pub(crate) struct Meter {
    compressed: Cell<u64>,
    decoded: Cell<u64>,
    /// Bytes of all layers that are still allowed.
    allowed: u64,
    /// Bytes that may still come before the next entry is there; nothing while its content is read.
    headers: Cell<Option<u64>>,
    limits: UnpackLimits,
}

impl Meter {
    /// A meter for a layer after `before` decompressed bytes of others.
    pub(crate) fn new(limits: &UnpackLimits, before: u64) -> Rc<Self> {
        Rc::new(Self {
            compressed: Cell::new(0),
            decoded: Cell::new(0),
            allowed: limits.bytes.saturating_sub(before),
            headers: Cell::new(None),
            limits: limits.clone(),
        })
    }

    /// Says that headers come now, and not more than usual.
    pub(crate) fn expect_headers(&self) {
        self.headers.set(Some(HEADER_LIMIT));
    }

    /// Says that an entry's content comes now.
    pub(crate) fn expect_content(&self) {
        self.headers.set(None);
    }

    /// Decompressed bytes so far.
    pub(crate) fn decoded(&self) -> u64 {
        self.decoded.get()
    }

    fn count(&self, read: u64) -> Result<(), Limit> {
        let decoded = self.decoded.get() + read;
        self.decoded.set(decoded);
        if decoded > self.allowed {
            return Err(Limit::Bytes(self.limits.bytes));
        }
        let fair = self.compressed.get().saturating_mul(self.limits.ratio).saturating_add(RATIO_START);
        if decoded > fair {
            return Err(Limit::Ratio(self.limits.ratio));
        }
        if let Some(left) = self.headers.get() {
            self.headers.set(Some(left.checked_sub(read).ok_or(Limit::Headers(HEADER_LIMIT))?));
        }
        Ok(())
    }
}

/// A layer's tar stream, which fails with a [`Limit`] inside the error when it costs too much.
pub(crate) struct BoundedReader<'a> {
    decoder: Box<dyn Read + 'a>,
    meter: Rc<Meter>,
}

impl<'a> BoundedReader<'a> {
    pub(crate) fn new(reader: impl Read + 'a, format: LayerFormat, meter: &Rc<Meter>) -> io::Result<Self> {
        let compressed = Compressed { reader, meter: Rc::clone(meter) };
        let decoder: Box<dyn Read + 'a> = match format {
            LayerFormat::Tar => Box::new(compressed),
            LayerFormat::Gzip => Box::new(flate2::read::MultiGzDecoder::new(compressed)),
            // The library refuses windows over 128 MiB by itself.
            LayerFormat::Zstd => Box::new(zstd::stream::read::Decoder::new(compressed)?),
        };
        Ok(Self { decoder, meter: Rc::clone(meter) })
    }
}

impl Read for BoundedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buffer)?;
        self.meter.count(read as u64).map_err(|limit| io::Error::new(io::ErrorKind::FileTooLarge, limit))?;
        Ok(read)
    }
}

struct Compressed<R> {
    reader: R,
    meter: Rc<Meter>,
}

impl<R: Read> Read for Compressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.meter.compressed.set(self.meter.compressed.get() + read as u64);
        Ok(read)
    }
}
