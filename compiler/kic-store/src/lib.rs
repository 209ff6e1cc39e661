//! Content-addressed blobs, and which derivation gave which output: locks, atomic writes, verified reads.
