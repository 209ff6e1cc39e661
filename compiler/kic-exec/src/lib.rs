//! Holds a graph against the store and realises what is missing, in parallel.
