//! Why a policy does not say what becomes of a pod.

/// What came in the way.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    /// A key that is not there: null in some places, a failure in others.
    NotFound(String),
    /// The engine itself would fail here.
    Fails(String),
    /// The engine could go on, and kic cannot say how.
    Unknown(String),
}

impl Fault {
    pub fn fails(message: impl Into<String>) -> Self {
        Self::Fails(message.into())
    }

    pub fn unknown(message: impl Into<String>) -> Self {
        Self::Unknown(message.into())
    }
}
