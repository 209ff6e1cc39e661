use kic_base::{Digest, Span, StableHasher};
use kic_manifest::Object;
use serde_json::Value as Json;

use crate::admission_policy::{self, AdmissionPolicy, Binding};
use crate::fault::Fault;
use crate::kyverno::{self, Filters, KyvernoPolicy};
use crate::request::{Operation, Pod, Request};

/// An object that decides what becomes of images in pods: a policy, or what one needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Such as `ClusterPolicy redirect-registry`.
    pub title: String,
    /// The object.
    pub span: Span,
    /// What it is known by: all that decides what it makes of pods.
    pub digest: Digest,
    part: Part,
}

/// Who evaluates a policy, in the order in which the API server asks them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    /// The API server itself (`MutatingAdmissionPolicy`).
    AdmissionPolicy,
    /// Kyverno's `ClusterPolicy` and `Policy`.
    Kyverno,
    /// Kyverno's `MutatingPolicy`.
    KyvernoMutatingPolicy,
}

impl Engine {
    /// Its name, as `std:redirect` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AdmissionPolicy => "admission-policy",
            Self::Kyverno => "kyverno",
            Self::KyvernoMutatingPolicy => "kyverno-mutating-policy",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Kyverno(KyvernoPolicy),
    Filters(Filters),
    Admission(Engine, AdmissionPolicy),
    Binding(Binding),
}

/// Why a policy gives no pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// What is in the way.
    pub message: String,
    /// The rule, where the policy has several.
    pub rule: Option<String>,
    /// Where.
    pub span: Span,
    /// Whether the engine itself fails there; otherwise kic cannot evaluate it.
    pub fails: bool,
}

impl Problem {
    pub(crate) fn new(fault: Fault, rule: &str, span: Span) -> Self {
        let (message, fails) = match fault {
            Fault::NotFound(key) => (format!("there is no `{key}`"), true),
            Fault::Fails(message) => (message, true),
            Fault::Unknown(message) => (message, false),
        };
        Self { message, rule: Some(rule.to_owned()).filter(|rule| !rule.is_empty()), span, fails }
    }
}

/// The policies among objects, and what they need.
pub fn policies(objects: &[Object]) -> Vec<Policy> {
    let part = |object: &Object| {
        let admission = |policy| {
            let engine = if object.kind == "MutatingAdmissionPolicy" {
                Engine::AdmissionPolicy
            } else {
                Engine::KyvernoMutatingPolicy
            };
            Part::Admission(engine, policy)
        };
        kyverno::read(object)
            .map(Part::Kyverno)
            .or_else(|| admission_policy::read(object).map(admission))
            .or_else(|| admission_policy::read_binding(object).map(Part::Binding))
            .or_else(|| Filters::read(object).map(Part::Filters))
    };
    let policy = |object: &Object| {
        let part = part(object)?;
        let digest = match &part {
            Part::Filters(filters) => digest_of_settings(filters),
            _ => {
                // What it says, and the order in which it says it.
                let mut hasher = StableHasher::new();
                hasher.variant("Object").text(&object.root.to_json().to_string()).text(object.span.text());
                hasher.finish()
            }
        };
        Some(Policy { title: object.title(), span: object.span.clone(), digest, part })
    };
    objects.iter().filter_map(policy).collect()
}

/// The same for settings that are read and those that were kept.
fn digest_of_settings(filters: &Filters) -> Digest {
    let (resources, webhooks) = filters.texts();
    let mut hasher = StableHasher::new();
    hasher.variant("Settings").text(&resources);
    hasher.option(webhooks.as_deref(), |hasher, webhooks| {
        hasher.text(webhooks);
    });
    hasher.finish()
}

impl Policy {
    /// Kyverno's own settings, from the texts of its ConfigMap: `resourceFilters`, and `webhooks`.
    pub fn settings(resources: &str, webhooks: Option<&str>, span: Span) -> Self {
        let filters = Filters::new(resources, webhooks);
        let digest = digest_of_settings(&filters);
        Self { title: "Kyverno's settings".to_owned(), span, digest, part: Part::Filters(filters) }
    }

    /// The texts that it is made of, where it is Kyverno's settings.
    pub fn as_settings(&self) -> Option<(String, Option<String>)> {
        match &self.part {
            Part::Filters(filters) => Some(filters.texts()),
            _ => None,
        }
    }

    /// Who evaluates it; `None` for what only belongs to policies.
    pub fn engine(&self) -> Option<Engine> {
        match &self.part {
            Part::Kyverno(_) => Some(Engine::Kyverno),
            Part::Admission(engine, _) => Some(*engine),
            Part::Filters(_) | Part::Binding(_) => None,
        }
    }
}

/// A change of a pod: by which policy, and where that says it.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Such as `ClusterPolicy redirect-registry`.
    pub policy: String,
    /// The rule or expression.
    pub span: Span,
}

/// Why Kyverno has no say about a pod.
#[derive(Debug, Clone, PartialEq)]
pub enum LeftAlone {
    /// Its ConfigMap, which is there, says so.
    BySettings(Span),
    /// There is no ConfigMap, and those of its install manifests say so.
    ByDefaults,
}

/// Whether Kyverno leaves a pod alone, whatever its policies say, and why.
pub fn kyverno_leaves_alone(policies: &[&Policy], pod: &Pod, operation: Operation) -> Option<LeftAlone> {
    let request = Request { pod, operation };
    let set = policies.iter().rev().find_map(|policy| match &policy.part {
        Part::Filters(filters) => Some((filters, &policy.span)),
        _ => None,
    });
    match set {
        Some((filters, span)) => filters.leave_alone(request).then(|| LeftAlone::BySettings(span.clone())),
        None => Filters::default().leave_alone(request).then_some(LeftAlone::ByDefaults),
    }
}

/// The pod after all `policies` have had their say, in the order in which the API server asks them; what has changed it goes to
/// `changes`.
///
/// # Errors
/// The first policy that gives no pod, by its title, and why.
pub fn admit(
    policies: &[&Policy],
    pod: &Pod,
    operation: Operation,
    changes: &mut Vec<Change>,
) -> Result<Pod, (String, Problem)> {
    let left_alone = kyverno_leaves_alone(policies, pod, operation).is_some();
    let bindings: Vec<&Binding> = policies
        .iter()
        .filter_map(|policy| if let Part::Binding(binding) = &policy.part { Some(binding) } else { None })
        .collect();
    let mut ordered: Vec<(Engine, &&Policy)> =
        policies.iter().filter_map(|policy| Some((policy.engine()?, policy))).collect();
    ordered.sort_by(|left, right| (left.0, &left.1.title).cmp(&(right.0, &right.1.title)));

    let mut pod = pod.clone();
    for (engine, policy) in ordered {
        if engine != Engine::AdmissionPolicy && left_alone {
            continue;
        }
        let request = Request { pod: &pod, operation };
        let mut spans = Vec::new();
        let result: Result<Json, Problem> = match &policy.part {
            Part::Kyverno(kyverno) => kyverno.admit(request, &mut spans),
            Part::Admission(Engine::AdmissionPolicy, admission) => {
                let own: Vec<&Binding> =
                    bindings.iter().copied().filter(|binding| binding.policy == admission.name).collect();
                admission.admit(request, Some(&own), &mut spans)
            }
            Part::Admission(_, admission) => admission.admit(request, None, &mut spans),
            Part::Filters(_) | Part::Binding(_) => continue,
        };
        let object = result.map_err(|problem| (policy.title.clone(), problem))?;
        changes.extend(spans.into_iter().map(|span| Change { policy: policy.title.clone(), span }));
        pod = Pod::new(pod.namespace, object);
    }
    Ok(pod)
}
