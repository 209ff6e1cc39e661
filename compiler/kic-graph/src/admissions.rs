//! What policies make of the images in pods, known from a compile before: it follows from the policies and the pod, and from
//! nothing else.

use std::fmt::Debug;

use kic_base::{Digest, StableHasher};
use kic_redirect::{Place, Pod, Policy};

/// What is known of admissions, by what decides them.
pub trait KnownAdmissions: Debug + Send + Sync {
    /// What was noted under that key.
    fn find(&self, key: &Digest) -> Option<Admission>;

    /// Notes what was found out under that key.
    fn note(&self, key: Digest, admission: &Admission);
}

/// What becomes of the image at a place of a pod, where no policy is in the way and what policies have made stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admission {
    /// No node ever pulls it.
    NeverPulled,
    /// The name that the pod says, and the one after the policies.
    Named {
        /// What the pod says.
        written: String,
        /// What the policies make of it.
        becomes: String,
    },
}

/// Policies in the order in which they are applied, and what they are known by.
pub(crate) struct Applied<'a> {
    pub policies: Vec<&'a Policy>,
    digest: Digest,
}

impl<'a> Applied<'a> {
    pub fn new(policies: Vec<&'a Policy>) -> Self {
        let mut hasher = StableHasher::new();
        hasher.text("kic policies").list(&policies, |hasher, policy| {
            hasher.digest(&policy.digest);
        });
        Self { policies, digest: hasher.finish() }
    }

    /// By what is known what they make of the image at a place of a pod.
    pub fn key(&self, pod: &Pod, place: &Place) -> Digest {
        let mut hasher = StableHasher::new();
        hasher.digest(&self.digest).digest(pod.digest()).text(place.list).text(&place.name);
        hasher.finish()
    }
}
