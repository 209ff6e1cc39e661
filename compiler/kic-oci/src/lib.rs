//! Descriptors, manifests, layers, layouts, archives, the registry client, unpacking and validation.
