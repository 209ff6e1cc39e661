//! What a compile leaves in the store: the roots that keep its image and its lock from collections, and what the next compile of
//! the spec knows by.
//!
//! It is put together while the image is written, and left once that is done: a root counts from then on, and what does not count is
//! taken out by a collection.

use kic_base::Digest;
use kic_diag::Diagnostics;
use kic_exec::{Context, Realised};
use kic_graph::Graph;

use crate::compile::{Compiled, Prepared, Request};
use crate::explain::{self, Ingredients};
use crate::last_run::LastRun;
use crate::roots::Roots;
use crate::texts::Texts;
use crate::write::Output;

/// What a compile leaves.
pub(crate) struct Trace {
    roots: Roots,
    ingredients: Ingredients,
    last_run: Option<LastRun>,
}

impl Trace {
    /// Puts it together.
    ///
    /// # Errors
    /// None but bugs.
    pub fn of(
        request: &Request,
        prepared: &Prepared,
        realised: &Realised,
        compiled: &Compiled,
        output: Option<&Output>,
        texts: &Texts<'_>,
        context: &Context,
    ) -> Result<Self, Diagnostics> {
        let Prepared { graph, locks, documents, .. } = prepared;
        let roots = Roots::of(request, output, graph, realised, &compiled.image, locks, documents)?;
        let last_run = LastRun::of(compiled, output, &roots, texts, context);
        Ok(Self { roots, ingredients: Ingredients::of(graph), last_run })
    }

    /// Adds why each layer was built or reused.
    pub fn explain(&self, compiled: &mut Compiled, request: &Request, graph: &Graph, context: &Context) {
        let (now, before) = (&self.ingredients, Ingredients::of_last(request, context));
        for (platform, layers) in &mut compiled.layers {
            let own = graph.image.platforms.get(platform).map_or(&[][..], |own| own.layers.as_slice());
            for (compiled, layer) in layers.iter_mut().zip(own) {
                let reason = explain::reason(graph, platform, layer, compiled.outcome, now, before.as_ref());
                compiled.reason = Some(reason);
            }
        }
        compiled.gone = before.map(|before| before.gone(now)).unwrap_or_default();
    }

    /// Leaves it. `key` is that of the request, where the next compile may know it again.
    ///
    /// # Errors
    /// Those of the store.
    pub fn leave(
        self,
        key: Option<&Digest>,
        request: &Request,
        context: &Context,
    ) -> Result<(), Diagnostics> {
        self.roots.record(context)?;
        if let Some(key) = key {
            self.ingredients.keep(request, context);
            if let Some(last_run) = self.last_run {
                last_run.keep(key, context);
            }
        }
        Ok(())
    }
}
