//! A word to whoever watches, while something is waited for.

use std::fmt;
use std::sync::Arc;

/// What is told of long waits: a sentence without a full stop, and without secrets. Called from several threads.
#[derive(Clone)]
pub struct Tell(Arc<dyn Fn(&str) + Send + Sync>);

impl Tell {
    /// Tells `to`.
    pub fn new(to: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(to))
    }

    pub(crate) fn tell(&self, what: &str) {
        (self.0)(what);
    }
}

impl fmt::Debug for Tell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tell")
    }
}
