//! What becomes of single images, engine by engine.

use std::collections::BTreeSet;

use kic_base::{ImageReference, Span};
use kic_redirect::{
    Engine, LeftAlone, Mirror, MirrorEngine, Operation, Pod, Policy, admit, asked, kyverno_leaves_alone,
};
use kic_spec::Spec;

use crate::closure::Available;
use crate::inputs::Inputs;
use crate::lower::lower_image;

/// What one engine, or all together, make of an image.
#[derive(Debug, Clone)]
pub struct Redirected {
    /// The image as it was asked about.
    pub image: String,
    /// The engine's name, as `std:redirect` has it; `all` for all together.
    pub engine: &'static str,
    /// The policy or file.
    pub by: String,
    /// The kind of container, where that makes a difference.
    pub list: Option<&'static str>,
    /// The name that is asked for, or why there is none.
    pub becomes: Result<String, String>,
    /// Whether the cache answers to it; `None` where another registry is asked.
    pub answered: Option<bool>,
    /// Where the policy or file says so.
    pub span: Option<Span>,
    /// What else is to be said of the engine: that it does not see such pods, and why.
    pub note: Option<String>,
}

/// How containers come into a pod.
const LISTS: [(&str, Operation); 3] = [
    ("containers", Operation::Create),
    ("initContainers", Operation::Create),
    ("ephemeralContainers", Operation::Debug),
];

/// What becomes of each image in pods of a namespace: by each policy and by the mirrors of each engine for itself, and last by
/// all together.
pub fn redirect_images(spec: &Spec, inputs: &Inputs, images: &[String], namespace: &str) -> Vec<Redirected> {
    let (available, _) = lower_image(spec, inputs, BTreeSet::new());
    let policies: Vec<&Policy> = available.redirects.policies.iter().map(|facts| &facts.policy).collect();
    let mirrors = &available.redirects.mirrors;
    let mut rows = Vec::new();
    for image in images {
        let mut engines: Vec<(Engine, &Policy)> =
            policies.iter().filter_map(|policy| Some((policy.engine()?, *policy))).collect();
        engines.sort_by(|left, right| (left.0, &left.1.title).cmp(&(right.0, &right.1.title)));
        for (engine, policy) in &engines {
            // What only belongs to policies belongs to this one, too.
            let with: Vec<&Policy> = policies
                .iter()
                .copied()
                .filter(|other| other.engine().is_none() || std::ptr::eq(*other, *policy))
                .collect();
            let row = Row { image, engine: engine.name(), by: &policy.title, namespace };
            rows.extend(row.of_pods(&with, &[], &available));
        }
        let mut by_mirrors: Vec<MirrorEngine> = mirrors.iter().map(|mirror| mirror.engine).collect();
        by_mirrors.sort();
        by_mirrors.dedup();
        for engine in &by_mirrors {
            let own: Vec<Mirror> =
                mirrors.iter().filter(|mirror| mirror.engine == *engine).cloned().collect();
            let row = Row { image, engine: engine.name(), by: "files of the nodes", namespace };
            rows.extend(row.of_pods(&[], &own, &available));
        }
        if engines.len() + by_mirrors.len() != 1 {
            let row = Row { image, engine: "all", by: "", namespace };
            rows.extend(row.of_pods(&policies, mirrors, &available));
        }
    }
    rows
}

/// What the rows of one engine have in common.
struct Row<'a> {
    image: &'a str,
    engine: &'static str,
    by: &'a str,
    namespace: &'a str,
}

impl Row<'_> {
    /// One row, or one for each kind of container where they differ.
    fn of_pods(&self, policies: &[&Policy], mirrors: &[Mirror], available: &Available) -> Vec<Redirected> {
        let mut rows: Vec<Redirected> = LISTS
            .iter()
            .map(|(list, operation)| self.of_list(list, *operation, policies, mirrors, available))
            .collect();
        if rows.windows(2).all(|pair| pair[0].becomes == pair[1].becomes) {
            rows.truncate(1);
            rows.iter_mut().for_each(|row| row.list = None);
        }
        rows
    }

    fn of_list(
        &self,
        list: &'static str,
        operation: Operation,
        policies: &[&Policy],
        mirrors: &[Mirror],
        available: &Available,
    ) -> Redirected {
        let (pod, place) = Pod::with(self.image, list, Some(self.namespace));
        let mut changes = Vec::new();
        let mut span = None;
        let mut answered = None;
        let mut note = None;
        if self.engine == Engine::Kyverno.name() || self.engine == Engine::KyvernoMutatingPolicy.name() {
            let says = match kyverno_leaves_alone(policies, &pod, operation) {
                Some(LeftAlone::BySettings(at)) => {
                    span = Some(at);
                    Some("Kyverno's ConfigMap leaves it alone")
                }
                Some(LeftAlone::ByDefaults) => {
                    Some("the spec has no ConfigMap of Kyverno's, and by default that leaves it alone")
                }
                None => None,
            };
            note = says.map(|says| format!("does not see `{}`: {says}", self.namespace));
        }
        let becomes = admit(policies, &pod, operation, &mut changes)
            .map_err(|(policy, problem)| {
                let verb = if problem.fails { "fails" } else { "cannot be judged" };
                format!("{policy} {verb}: {}", problem.message)
            })
            .and_then(|after| {
                let name = after.image(&place).unwrap_or_default().to_owned();
                span = changes.last().map(|change| change.span.clone()).or(span.take());
                let Ok(reference) = name.parse::<ImageReference>() else { return Ok(name) };
                if available.hosts.contains(reference.registry()) {
                    answered = Some(available.has(&reference));
                    return Ok(name);
                }
                let mut asked =
                    asked(mirrors, &reference).map_err(|problem| problem.message)?.into_iter().map(|asked| {
                        let (tag, digest) = (reference.tag(), reference.digest().copied());
                        (ImageReference::new(&asked.authority, &asked.repository, tag, digest), asked.span)
                    });
                // Nodes ask one after the other: what counts is the first that answers.
                let all: Vec<_> =
                    asked.by_ref().filter(|(name, _)| available.hosts.contains(name.registry())).collect();
                let best = all.iter().find(|(name, _)| available.has(name)).or(all.first());
                let Some((name, at)) = best else { return Ok(name) };
                answered = Some(available.has(name));
                span = Some(at.clone());
                Ok(name.to_string())
            });
        Redirected {
            image: self.image.to_owned(),
            engine: self.engine,
            by: self.by.to_owned(),
            list: Some(list),
            becomes,
            answered,
            span,
            note,
        }
    }
}
