//! Text to typed tree. The only crate that names the KDL parser.
