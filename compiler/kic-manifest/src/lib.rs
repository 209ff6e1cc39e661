//! Kubernetes manifests as text: YAML with spans, the objects in it, and the images they name. No I/O.
