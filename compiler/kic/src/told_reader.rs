use std::io::{self, Read};
use std::sync::Arc;

use kic_exec::{Context, Event, Stoppable, Watch};

/// So many bytes are told at a time: tars are read by the header, which is small.
const TOLD: u64 = 256 << 10;

/// A reader that tells whoever watches how many bytes came, and that fails once the work is to stop.
pub(crate) struct ToldReader<R> {
    reader: Stoppable<R>,
    watch: Arc<dyn Watch>,
    untold: u64,
}

impl<R> ToldReader<R> {
    pub fn new(reader: R, context: &Context) -> Self {
        let (reader, watch) = (Stoppable::new(reader, context), Arc::clone(&context.watch));
        Self { reader, watch, untold: 0 }
    }
}

impl<R: Read> Read for ToldReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.untold += count as u64;
        if self.untold >= TOLD || count == 0 && self.untold > 0 {
            self.watch.event(Event::Read { bytes: std::mem::take(&mut self.untold) });
        }
        Ok(count)
    }
}
