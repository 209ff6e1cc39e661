//! Layers as bytes: the reproducible writer, and the tar of one file around a blob that is elsewhere.
//!
//! The bytes of a layer are a function of its entries, the time stamp, the compression and the encoder epoch.
//! **Invariant:** the sizes of reads and writes, the number of threads, the umask, the locale, the clock and the
//! environment have no part in them. [`kic_base::Epoch`] lists what has.

mod encoder;
mod entry;
mod error;
mod frame_keys;
mod frame_plan;
mod frames;
mod hashing_writer;
mod read_file;
mod settings;
pub(crate) mod tar_header;
mod whole_layer;
mod writer;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod reuse;

pub use encoder::{Compression, LayerDigests, Workspace};
pub use entry::{Entry, EntryKind};
pub use error::LayerError;
pub use frame_keys::{KnownFrames, PackedFrame, States};
pub use frame_plan::FramePlan;
pub use read_file::{read_file, read_files};
pub use tar_header::{embedded_file_header, embedded_file_trailer};
pub use whole_layer::WholeLayer;
pub use writer::LayerWriter;
