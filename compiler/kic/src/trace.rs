//! What a compile leaves in the store: the roots that keep its image and its lock from collections, and what the next compile of
//! the spec knows by.
//!
//! It is put together while the image is written, and left once that is done: a root counts from then on, and what does not count is
//! taken out by a collection.

use kic_base::Digest;
use kic_diag::Diagnostics;
use kic_exec::{Context, Realised, fault};
use kic_store::{Memo, PreparedRoot, Remembering};

use crate::compile::{Compiled, Prepared, Request};
use crate::ingredients::Ingredients;
use crate::last_graph::Left;
use crate::last_run::{Known, LastRun};
use crate::roots::Roots;
use crate::texts::Texts;
use crate::write::Output;

/// What a compile leaves.
pub(crate) struct Trace {
    roots: Vec<PreparedRoot>,
    /// What the compile was made from, where it is asked why each layer was built.
    asked: Option<Ingredients>,
    /// What is on its way, to be known by the next compile.
    begun: Vec<Remembering>,
    /// What still depends on the file that is written.
    last_run: Option<LastRun>,
}

impl Trace {
    /// Puts it together, and writes what does not count yet. `key` is that of the request, where the next compile may know it again,
    /// `ingredients` what the layers are made from, as [`Ingredients::to_memo`] gives it, and `left` what was left of the graph; `known` is
    /// what the compile before left.
    ///
    /// # Errors
    /// Those of the store.
    #[expect(clippy::too_many_arguments, reason = "one call, and a struct would only repeat their names")]
    pub fn of(
        request: &Request,
        key: Option<&Digest>,
        prepared: &Prepared,
        realised: &Realised,
        compiled: &Compiled,
        output: Option<&Output>,
        ingredients: Option<Memo>,
        left: Option<Left>,
        known: &Known,
        texts: &Texts<'_>,
        context: &Context,
    ) -> Result<Self, Diagnostics> {
        let Prepared { graph, locks, documents, is_known, .. } = prepared;
        let (image, lock) = (&compiled.image, known.lock.as_ref());
        let locks = (!is_known).then_some(locks.as_slice());
        let roots = Roots::of(request, output, graph, realised, image, locks, documents, lock, context)?;
        let last_run = LastRun::of(compiled, output, &roots, (graph, realised), left, texts, context);
        let roots = roots.prepare(context)?;
        let asked =
            ingredients.as_ref().filter(|_| request.explain).and_then(|memo| Ingredients::read(memo.bytes()));
        // Where that does not work, the next compile cannot explain.
        let begun = ingredients.and_then(|memo| context.store.begin_remembering(&memo).ok());
        let mut trace = Self { roots, asked, begun: begun.into_iter().collect(), last_run };
        if let Some(key) = key
            && let Some(last_run) = trace.last_run.take_if(|last_run| !last_run.is_of_archive())
        {
            trace.begun.extend(last_run.begin(key, context));
        }
        Ok(trace)
    }

    /// What the compile was made from, where it is asked why each layer was built.
    pub fn asked(&self) -> Option<&Ingredients> {
        self.asked.as_ref()
    }

    /// Leaves it.
    ///
    /// # Errors
    /// Those of the store.
    pub fn leave(self, key: Option<&Digest>, context: &Context) -> Result<(), Diagnostics> {
        for root in self.roots {
            context.store.add_prepared_root(root).map_err(|error| fault::store(&error))?;
        }
        let last_run = key.zip(self.last_run).and_then(|(key, last_run)| last_run.begin(key, context));
        // Where that does not work, the next compile finds out everything anew.
        for begun in self.begun.into_iter().chain(last_run) {
            let _ = context.store.remembered(begun);
        }
        Ok(())
    }
}
