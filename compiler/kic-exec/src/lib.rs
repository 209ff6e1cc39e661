//! Holds a graph against the store and realises what is missing, in parallel.
//!
//! [`gather`] finds out what the graph has to know of the world, [`plan()`] holds the graph against the store,
//! [`execute`] builds and fetches what is missing, and [`assemble`] puts the image together.
//!
//! **Invariant:** nothing here parses KDL, prints, or reads the environment.

mod assemble;
mod build;
mod context;
mod disk;
mod documents;
mod event;
mod execute;
pub mod fault;
mod gather;
mod parallel;
mod plan;
mod realised;
mod render;
mod sources;
mod stoppable;
mod workers;

pub use assemble::{Assembled, annotations, assemble, config_without_layers, rfc3339};
pub use build::{Early, obtain};
pub use context::Context;
pub use disk::DiskImages;
pub use documents::Documents;
pub use event::{Event, Unwatched, Watch};
pub use execute::{Keeping, Realising, execute};
pub use gather::{
    GatherOptions, Gathered, LockFile, LockMode, Said, SaidPlace, gather, survey, unknown_image,
};
pub use plan::{KnownOutputs, Plan, State, plan};
pub use realised::{LayerOutput, Outcome, Realised};
pub use render::Programs;
pub use sources::{Fingerprint, LookError, Looked, Place, Sources, facts_digest};
pub use stoppable::{Stoppable, StoppableStore};
pub use workers::Workers;
