//! Content-addressed blobs, and which derivation gave which output: locks, atomic writes, verified reads.
//!
//! On disk, below the store's folder:
//!
//! | path | holds |
//! |---|---|
//! | `version` | the number of this format |
//! | `lock` | held shared by whoever leases something, exclusively by a collection while it removes, each for a moment |
//! | `leases/` | what each process that runs needs, each file held by an exclusive lock of its process |
//! | `tmp/` | files being written, each held by an exclusive lock of its writer |
//! | `blobs/sha256/xx/HEX` | a blob under the digest of its bytes, mode 0444 |
//! | `embedded/sha256/xx/HEX` | a record: this blob is a range of that other blob |
//! | `outputs/xx/HEX` | a record: the output of the derivation of that digest |
//! | `memos/HEX` | what saves work and may be forgotten at any time, under a key of whoever wrote it |
//! | `partial/HEX` | what came of a blob whose download was cut off, and which ranges of it that is; made with the first of them |
//! | `corrupt/` | blobs whose bytes no longer gave their digest |
//! | `roots/HEX` | a record: a file elsewhere, and what it keeps alive here |
//! | `roots/HEX.spare` | the record before: in its file the next one is written, under an exclusive lock, and then the two exchange their names |
//!
//! **Invariants:** a name below `blobs/` appears by a rename of bytes that gave that digest, so a process
//! killed at any moment leaves a store that the next one uses as it is. Names, records and blobs are not synced, unless this is no
//! local disk: a power failure may take the newest of them, and what they led to is fetched or built again.
//! Nothing is believed because it is there: bytes are hashed when they are read, records carry a checksum. Nothing here knows what a
//! blob means.
//!
//! All of it is blocking I/O; asynchronous callers use their blocking pool.

mod blob_file;
mod blob_reader;
mod blob_writer;
mod boot;
mod check;
mod collect;
mod embedding_writer;
mod error;
mod file_system;
mod hashed_writer;
mod identity;
mod items;
mod layout;
mod leases;
mod memo;
mod partial;
mod piece_file;
mod piece_writer;
mod place;
mod record;
mod root;
mod store;
mod suspects;
mod temporary_file;
mod usage;

pub use blob_reader::BlobReader;
pub use blob_writer::BlobWriter;
pub use boot::Boot;
pub use check::{CheckEvent, DamagedBlob, StoreCheck, check};
pub use collect::{CollectOptions, Collected, collect};
pub use embedding_writer::EmbeddingWriter;
pub use error::StoreError;
pub use file_system::{exchange_or_rename, is_at, is_local, is_on_local_disk, is_on_own_disk};
pub use hashed_writer::HashedWriter;
pub use items::ItemKind;
pub use memo::{Memo, Remembering};
pub use partial::Download;
pub use piece_writer::PieceWriter;
pub use place::{PlaceMode, Placed};
pub use root::{EncodedRoot, Kept, PreparedRoot, RecordedRoot, Root};
pub use store::Store;
pub use suspects::Suspects;
pub use temporary_file::begin_sync;
pub use usage::{BlobPlace, Files, Usage};
