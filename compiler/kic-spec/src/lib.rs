//! From tree to one closed, checked value: the schema of the language and its decoding. Sees the world only through World.
