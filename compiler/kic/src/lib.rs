//! kic, a compiler for cluster images.
//!
//! [`compile`] is the whole of it, one line of phases:
//!
//! ```text
//! text → parse → File → resolve → Spec → gather → Inputs → lower → Graph → plan → Plan → execute → Realised → assemble → Image → write
//! ```
//!
//! Everything else here calls a beginning of that line, or reads what came out of its end.
//!
//! **Invariant:** no printing, no exits, no environment: the program gives a [`kic_exec::Context`] and a [`World`].

mod cached_blobs;
mod check;
mod compile;
mod diff;
mod explain;
mod fetch;
mod heal;
mod image;
mod images;
mod ingredients;
mod input_value;
mod inspect;
mod kept_warnings;
mod last_graph;
mod last_run;
mod lock;
mod not_a_spec;
mod push;
mod rebuild;
mod repair;
mod resolve;
mod roots;
mod source;
mod texts;
mod told_reader;
mod trace;
mod unpack;
mod verify;
mod write;

pub use check::Difference;
pub use compile::{Begun, Compilation, Compiled, CompiledLayer, Prepared, Request, compile, prepare};
pub use diff::{
    BlobValue, Change, DiffSide, Difference as ImageDifference, FileValue, ImageDiff, Value as DiffValue,
    diff,
};
pub use explain::{Explanation, GoneLayer, InputChange, NamedLayer, ParameterChange, Reason};
pub use image::{ImageAt, is_in_registry, open_image};
pub use images::{Images, images, redirect};
pub use input_value::InputValue;
pub use inspect::{InspectedImage, InspectedLayer, Inspection, inspect};
pub use kic_exec::{
    Context, DiskImages, Event, Fingerprint, GatherOptions, LockFile, LockMode, Outcome, State, Unwatched,
    Watch,
};
pub use kic_spec::{Settings, World};
pub use lock::{lock, write_locks};
pub use not_a_spec::other_than_spec;
pub use push::{PushedImage, push};
pub use rebuild::rebuild;
pub use repair::{Lost, Repair, Repaired, lost, repair};
pub use resolve::{evaluate, resolve};
pub use roots::counts;
pub use unpack::{Unpacked, unpack};
pub use verify::{Verification, VerifiedImage, verify};
pub use write::Output;
