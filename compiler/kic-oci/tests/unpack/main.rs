//! Layers unpacked into folders: what the image specification says, and what hostile layers try.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod destination;
mod hostile;
mod limits;
mod peers;
mod random;
mod shared;
mod specification;
