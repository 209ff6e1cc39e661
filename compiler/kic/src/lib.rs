//! The facade: one function that calls every phase in order, from a KDL spec to an OCI image.
