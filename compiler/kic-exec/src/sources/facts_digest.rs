use std::sync::{Arc, OnceLock};

use kic_base::Digest;
use kic_graph::PathFacts;

use super::look::facts_digest;
use crate::context::Context;

/// The digest over what was found at a place, which may still be computed while others go on with what was found.
#[derive(Debug, Clone)]
pub(super) enum FactsDigest {
    Known(Digest),
    Later(Arc<OnceLock<Digest>>, PathFacts),
}

/// With fewer entries it is not worth a thread.
const MANY: usize = 1024;

impl FactsDigest {
    /// One that is computed when it is asked for; where that takes long, beside whatever is done next if there is more than one job.
    pub fn begin(facts: &PathFacts, context: &Context) -> Self {
        let later = Self::Later(Arc::new(OnceLock::new()), facts.clone());
        if matches!(facts, PathFacts::Folder(entries) if entries.len() >= MANY) && context.jobs > 1 {
            let own = later.clone();
            let _ = kic_threads::spawn("digest", move || {
                own.get();
            });
        }
        later
    }

    /// Waits for it.
    pub fn get(&self) -> Digest {
        match self {
            Self::Known(digest) => *digest,
            Self::Later(digest, facts) => *digest.get_or_init(|| facts_digest(facts)),
        }
    }
}

#[cfg(test)]
mod tests {
    use kic_graph::EntryFacts;
    use kic_store::Store;

    use super::super::Sources;
    use super::*;

    #[test]
    fn it_is_the_same_whenever_it_is_computed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let context = Context::for_tests(store, Sources::default());
        for (count, jobs) in [(0, 2), (1, 2), (MANY - 1, 2), (MANY, 1), (MANY, 2), (3 * MANY, 2)] {
            let context = Context { jobs, ..context.clone() };
            let entries =
                (0..count).map(|number| (format!("{number:05}"), EntryFacts::EmptyFolder)).collect();
            let facts = PathFacts::Folder(Arc::new(entries));
            let digest = FactsDigest::begin(&facts, &context);
            assert_eq!((digest.clone().get(), digest.get()), (facts_digest(&facts), facts_digest(&facts)));
        }
    }
}
