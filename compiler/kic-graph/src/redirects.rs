//! Under which name the cluster asks for an image: policies rewrite it in the pod, then mirrors say whom a node asks.
//!
//! - A policy sees the pods that are made after the step of the launch that applies it; policies of a base see all. Pods are
//!   made again later, on other nodes or for new versions, and then every policy sees them: both times are judged.
//! - What a policy has rewritten comes to it again, with every change of the pod. So it must leave that alone.
//! - Mirrors see every pull, from the first one on.
//! - What asks without a pod, such as `crictl pull` in a step, and what is never pulled, is not judged.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use kic_base::{ImageReference, Span};
use kic_redirect::{Change, Mirror, Operation, Place, Pod, Policy, Problem, admit, asked};
use kic_spec::{Spec, Step};

use crate::admissions::{Admission, Applied, KnownAdmissions};
use crate::closure::Available;
use crate::inputs::{BaseContents, BaseFacts, Inputs, Need, NeedStep, PolicyFacts, RedirectFacts};
use crate::launch_steps::steps;

/// The policies and mirrors that hold in a cluster.
#[derive(Debug, Default, Clone)]
pub(crate) struct Redirects {
    pub policies: Vec<PolicyFacts>,
    pub mirrors: Vec<Mirror>,
    /// What the manifests of bases name: their pods are made again when these are there.
    pub needs: Vec<Need>,
    /// The layers of bases that are too large to be read.
    pub unread: BTreeSet<String>,
    /// The base image that kic did not build, and the line that names it, until that was told.
    pub foreign: Option<(String, Span)>,
}

impl Redirects {
    /// Those of a spec: for the one above it, which has it as its base.
    pub fn add(&mut self, inputs: &Inputs) {
        self.policies.extend(inputs.redirects.policies.iter().cloned());
        self.mirrors.extend(inputs.redirects.mirrors.iter().cloned());
        self.needs.extend(inputs.needs.iter().cloned());
    }

    /// Those of a base that is an image.
    pub fn add_base(&mut self, contents: &BaseContents) {
        self.policies.extend(contents.redirects.policies.iter().cloned());
        self.mirrors.extend(contents.redirects.mirrors.iter().cloned());
        self.needs.extend(contents.needs.iter().cloned());
        self.unread.extend(contents.unread.iter().cloned());
    }
}

/// What becomes of an image's name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// The caches answer to what is asked for.
    Answered,
    /// The image is asked for by its own name, of its own registry.
    Unchanged,
    /// The caches have no such name.
    Misses {
        /// What the pod says.
        written: String,
        /// What is asked for.
        becomes: String,
        /// Whether a digest went missing.
        digest_lost: bool,
        /// What makes it so: places, and what each says.
        by: Vec<(Span, String)>,
    },
    /// What a policy has rewritten, it rewrites again.
    Unstable { written: String, first: String, second: String, by: Vec<(Span, String)> },
    /// A policy fails on the pod, or kic cannot evaluate it.
    Stopped { policy: String, problem: Problem },
}

/// Whether anything that kic sees may give images other names.
pub(crate) fn is_judged(inputs: &Inputs, available: &Available) -> bool {
    let base = &available.redirects;
    let own = &inputs.redirects;
    let mut policies = base.policies.iter().chain(&own.policies);
    !base.mirrors.is_empty()
        || !own.mirrors.is_empty()
        || policies.any(|facts| facts.policy.engine().is_some())
}

/// Whether anything may look at pods, of which the spec or what it is built on knows.
pub fn may_be_judged(inputs: &Inputs) -> bool {
    let judges = |redirects: &RedirectFacts| {
        let mut policies = redirects.policies.iter();
        !redirects.mirrors.is_empty() || policies.any(|facts| facts.policy.engine().is_some())
    };
    judges(&inputs.redirects)
        || match &inputs.base {
            BaseFacts::Scratch => false,
            BaseFacts::Spec(inputs) => may_be_judged(inputs),
            BaseFacts::Image(images) => images.values().any(|image| judges(&image.contents.redirects)),
        }
}

/// What becomes of the image of each need, at the times when it is asked for, without doubles. Empty for what is not judged.
pub(crate) fn verdicts(spec: &Spec, inputs: &Inputs, available: &Available) -> Vec<Vec<Verdict>> {
    let launches: Vec<Vec<Step>> =
        spec.platforms.iter().map(|platform| steps(spec, &platform.value)).collect();
    let all: Vec<&Policy> = available
        .redirects
        .policies
        .iter()
        .chain(&inputs.redirects.policies)
        .map(|facts| &facts.policy)
        .collect();
    let mirrors: Vec<Mirror> =
        available.redirects.mirrors.iter().chain(&inputs.redirects.mirrors).cloned().collect();
    if !is_judged(inputs, available) {
        return vec![Vec::new(); inputs.needs.len()];
    }
    let mut applied: BTreeMap<Vec<usize>, Applied> = BTreeMap::new();
    let judge = Judge::new(&mirrors, inputs, available);
    let of_need = |need: &Need| {
        let Some((pod, place)) = &need.pod else { return Vec::new() };
        let mut times: BTreeSet<Vec<usize>> = launches
            .iter()
            .map(|launch| seen_by(need, launch, &available.redirects, &inputs.redirects.policies))
            .collect();
        times.insert((0..all.len()).collect());
        let mut verdicts = Vec::new();
        for time in times {
            let policies = applied.entry(time).or_insert_with_key(|time| {
                Applied::new(time.iter().filter_map(|index| all.get(*index).copied()).collect())
            });
            match judge.verdict(policies, pod, place) {
                Some(verdict) if !verdicts.contains(&verdict) => verdicts.push(verdict),
                _ => {}
            }
        }
        verdicts
    };
    inputs.needs.iter().map(of_need).collect()
}

/// What is found of the images that the manifests of bases name, when their pods are made again under the policies and mirrors
/// that the spec adds. Only images that the caches have: whether they have all was proven with the base.
pub(crate) fn base_verdicts(inputs: &Inputs, available: &Available) -> Vec<(Need, Verdict)> {
    if inputs.redirects.policies.is_empty() && inputs.redirects.mirrors.is_empty() {
        return Vec::new();
    }
    let facts = available.redirects.policies.iter().chain(&inputs.redirects.policies);
    let policies = Applied::new(facts.map(|facts| &facts.policy).collect());
    let mirrors: Vec<Mirror> =
        available.redirects.mirrors.iter().chain(&inputs.redirects.mirrors).cloned().collect();
    let judge = Judge::new(&mirrors, inputs, available);
    let verdict = |need: &Need| {
        let (pod, place) = need.pod.as_ref()?;
        if !available.has(&need.reference) {
            return None;
        }
        let verdict = judge.verdict(&policies, pod, place)?;
        (!matches!(verdict, Verdict::Answered | Verdict::Unchanged)).then(|| (need.clone(), verdict))
    };
    available.redirects.needs.iter().filter_map(verdict).collect()
}

/// The policies, by their places among those of the base and then those of the spec, that are applied before a need.
fn seen_by(need: &Need, launch: &[Step], base: &Redirects, own: &[PolicyFacts]) -> Vec<usize> {
    let place = |step: &NeedStep| {
        launch.iter().position(|one| match (one, step) {
            (Step::Apply(kind, name), NeedStep::Apply(wanted, layer)) => kind == wanted && name == layer,
            (Step::Run(command), NeedStep::Run(wanted)) => command == wanted,
            _ => false,
        })
    };
    let needed = place(&need.step).unwrap_or(launch.len());
    let applied = |facts: &PolicyFacts| {
        let step = NeedStep::Apply(facts.layer.0, facts.layer.1.clone());
        place(&step).is_some_and(|applied| applied < needed)
    };
    let of_base = 0..base.policies.len();
    let of_spec = own.iter().enumerate().filter(|(_, facts)| applied(facts));
    of_base.chain(of_spec.map(|(index, _)| base.policies.len() + index)).collect()
}

/// What decides about images, beside policies.
struct Judge<'a> {
    mirrors: &'a [Mirror],
    available: &'a Available,
    known: Option<&'a dyn KnownAdmissions>,
    /// The admissions that nothing is wrong with: many pods name one image.
    good: RefCell<BTreeMap<Admission, Verdict>>,
}

impl<'a> Judge<'a> {
    fn new(mirrors: &'a [Mirror], inputs: &'a Inputs, available: &'a Available) -> Self {
        let known = inputs.redirects.known.as_deref();
        Self { mirrors, available, known, good: RefCell::default() }
    }

    /// What becomes of the image at a place of a pod under `policies`; nothing where no node pulls it.
    fn verdict(&self, policies: &Applied<'_>, pod: &Pod, place: &Place) -> Option<Verdict> {
        let known = self.known.map(|known| (known, policies.key(pod, place)));
        match known.as_ref().and_then(|(known, key)| known.find(key)) {
            Some(Admission::NeverPulled) => return None,
            // What is wrong is told with all that makes it so.
            Some(admission) => {
                if let Some(verdict) = self.good(admission) {
                    return Some(verdict);
                }
            }
            None => {}
        }
        let note = |admission: Admission| {
            if let Some((known, key)) = &known {
                known.note(*key, &admission);
            }
        };
        if pod.is_never_pulled(place) {
            note(Admission::NeverPulled);
            return None;
        }
        let written = pod.image(place).unwrap_or_default().to_owned();
        let mut changes = Vec::new();
        let after = match admit(&policies.policies, pod, Operation::Create, &mut changes) {
            Ok(after) => after,
            Err((policy, problem)) => return Some(Verdict::Stopped { policy, problem }),
        };
        let becomes = after.image(place).unwrap_or_default().to_owned();
        let by = || said(&changes, &becomes);
        // A pod that is changed later comes to all policies again.
        match admit(&policies.policies, &after, Operation::Update, &mut Vec::new()) {
            Ok(again) if again.image(place) != Some(&becomes) => {
                let second = again.image(place).unwrap_or_default().to_owned();
                return Some(Verdict::Unstable { written, first: becomes.clone(), second, by: by() });
            }
            Ok(_) => {}
            Err((policy, problem)) => return Some(Verdict::Stopped { policy, problem }),
        }
        note(Admission::Named { written: written.clone(), becomes: becomes.clone() });
        Some(self.of_names(&written, becomes.clone(), by))
    }

    /// The verdict over an admission, where nothing is wrong with it.
    fn good(&self, admission: Admission) -> Option<Verdict> {
        if let Some(verdict) = self.good.borrow().get(&admission) {
            return Some(verdict.clone());
        }
        let Admission::Named { written, becomes } = &admission else { return None };
        let verdict = self.of_names(written, becomes.clone(), Vec::new);
        let is_good = matches!(verdict, Verdict::Answered | Verdict::Unchanged);
        is_good.then(|| self.good.borrow_mut().entry(admission).or_insert(verdict).clone())
    }

    /// The same, of an image whose name policies make another one; `by` says which.
    fn of_names(&self, written: &str, becomes: String, by: impl Fn() -> Vec<(Span, String)>) -> Verdict {
        let Self { mirrors, available, .. } = self;
        let misses = |becomes: String, digest_lost: bool, by| Verdict::Misses {
            written: written.to_owned(),
            becomes,
            digest_lost,
            by,
        };
        let is_changed = becomes != written;
        let Ok(reference) = becomes.parse::<ImageReference>() else {
            return if is_changed { misses(becomes, false, by()) } else { Verdict::Unchanged };
        };
        let before = written.parse::<ImageReference>().ok();
        let digest = before.as_ref().and_then(ImageReference::digest);
        if digest.is_some() && reference.digest() != digest {
            return misses(becomes, true, by());
        }
        if available.hosts.contains(reference.registry()) {
            return if available.has(&reference) { Verdict::Answered } else { misses(becomes, false, by()) };
        }
        let asked = match asked(mirrors, &reference) {
            Ok(asked) => asked,
            Err(problem) => return Verdict::Stopped { policy: "the mirror".to_owned(), problem },
        };
        let ours: Vec<_> = asked
            .iter()
            .map(|asked| {
                let name = ImageReference::new(
                    &asked.authority,
                    &asked.repository,
                    reference.tag(),
                    reference.digest().copied(),
                );
                (name, asked)
            })
            .filter(|(name, _)| available.hosts.contains(name.registry()))
            .collect();
        if ours.iter().any(|(name, _)| available.has(name)) {
            return Verdict::Answered;
        }
        if let Some((name, asked)) = ours.first() {
            let mut by = by();
            by.push((asked.span.clone(), format!("{} asks for `{name}`", asked.engine.name())));
            return misses(name.to_string(), false, by);
        }
        match is_changed {
            true if available.has(&reference) => Verdict::Answered,
            true => misses(becomes, false, by()),
            false => Verdict::Unchanged,
        }
    }
}

/// What changed a pod, as labels.
fn said(changes: &[Change], becomes: &str) -> Vec<(Span, String)> {
    let mut by: Vec<(Span, String)> = Vec::new();
    for change in changes {
        if !by.iter().any(|(span, _)| *span == change.span) {
            by.push((change.span.clone(), format!("{} makes it `{becomes}`", change.policy)));
        }
    }
    by
}
