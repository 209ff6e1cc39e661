//! Checks that wait for objects which nothing makes. Such a wait ends with its time limit, at every start.
//!
//! Controllers make objects, too, so this is a warning, and only where it is likely: where the layer that the check belongs to
//! has others of the kind in the namespace, or there is one of the name in another namespace.

use kic_base::{Span, closest};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_spec::readiness::CheckKind;
use kic_spec::{Content, Layer, LayerKind, Spec, Step};

use crate::inputs::{BaseFacts, Inputs, ObjectFacts};

/// The short names of kubectl.
const SHORT: [(&str, &str); 13] = [
    ("cm", "configmap"),
    ("crd", "customresourcedefinition"),
    ("crds", "customresourcedefinition"),
    ("deploy", "deployment"),
    ("ds", "daemonset"),
    ("ing", "ingress"),
    ("netpol", "networkpolicy"),
    ("ns", "namespace"),
    ("pvc", "persistentvolumeclaim"),
    ("sa", "serviceaccount"),
    ("sc", "storageclass"),
    ("sts", "statefulset"),
    ("svc", "service"),
];

/// Warns of every check whose object nothing makes.
pub(crate) fn check_awaited(spec: &Spec, inputs: &Inputs, diagnostics: &mut Diagnostics) {
    let mut all = Vec::new();
    collect(inputs, &mut all);
    if makes_more(spec) {
        return;
    }
    for layer in &spec.layers {
        let Content::Readiness(checks) = &layer.content else { continue };
        let owner = |object: &&ObjectFacts| belongs(layer, object);
        let own: Vec<&ObjectFacts> = inputs.objects.iter().filter(owner).collect();
        if own.is_empty() {
            continue;
        }
        for check in checks {
            for wanted in wanted(&check.value.what) {
                if let Some(unmade) = unmade(&wanted, &own, &all) {
                    diagnostics.push(unmade.diagnostic(&spec.way_to(&check.span), layer));
                }
            }
        }
    }
}

/// An object that a check waits for.
struct Wanted<'a> {
    /// As the check names it.
    written: String,
    kind: String,
    name: &'a str,
    namespace: Option<&'a str>,
}

impl Wanted<'_> {
    fn is_of_kind(&self, object: &ObjectFacts) -> bool {
        let kind = object.kind.to_lowercase();
        self.kind == kind || self.kind == plural(&kind)
    }

    fn may_be_in_namespace_of(&self, object: &ObjectFacts) -> bool {
        match (self.namespace, &object.namespace) {
            (Some(wanted), Some(own)) => wanted == &**own,
            _ => true,
        }
    }
}

/// All objects of the spec and its bases.
fn collect<'a>(inputs: &'a Inputs, all: &mut Vec<&'a ObjectFacts>) {
    all.extend(&inputs.objects);
    match &inputs.base {
        BaseFacts::Spec(base) => collect(base, all),
        BaseFacts::Image(images) => all.extend(images.values().flat_map(|image| &image.contents.objects)),
        BaseFacts::Scratch => {}
    }
}

/// Whether steps of the launch may make objects that kic does not see.
fn makes_more(spec: &Spec) -> bool {
    let verbs = ["apply", "create", "expose", "helm", "kustomize", "replace", "run"];
    let makes = |command: &str| {
        let mut words = command.split(|c: char| !c.is_alphanumeric());
        (command.contains("kubectl") || command.contains("helm")) && words.any(|word| verbs.contains(&word))
    };
    spec.launch.iter().flatten().any(|step| matches!(&step.value, Step::Run(command) if makes(command)))
}

/// Whether a readiness layer is for the layer of an object.
fn belongs(readiness: &Layer, object: &ObjectFacts) -> bool {
    let (kind, name) = &*object.layer;
    let after = readiness.after.as_ref().map(|after| &after.value);
    matches!(kind, LayerKind::Manifests | LayerKind::Policies)
        && (name == &readiness.name.value || after == Some(name))
}

/// The objects that a check names. One for all of a kind waits for none of them.
fn wanted(check: &CheckKind) -> Vec<Wanted<'_>> {
    let one =
        |written, kind: &str, name, namespace| Wanted { written, kind: kind.to_owned(), name, namespace };
    match check {
        CheckKind::Rollout { resource, namespace }
        | CheckKind::Condition { resource, namespace, .. }
        | CheckKind::Exists { resource, namespace }
        | CheckKind::Jsonpath { resource, namespace, .. }
        | CheckKind::Policy { resource, namespace } => {
            of_resource(resource, namespace.as_deref()).into_iter().collect()
        }
        CheckKind::Webhook { resource } => of_resource(resource, None).into_iter().collect(),
        CheckKind::Established { crds } => {
            crds.iter().map(|name| one(name.clone(), "customresourcedefinition", name, None)).collect()
        }
        CheckKind::Endpoints { service, namespace, .. } => {
            vec![one(format!("service/{service}"), "service", service, namespace.as_deref())]
        }
        CheckKind::Nodes { .. }
        | CheckKind::Admits { .. }
        | CheckKind::Http { .. }
        | CheckKind::Command { .. } => Vec::new(),
    }
}

/// `KIND/NAME`, the kind as kubectl takes it: in any case, in the plural, by a short name, with its group.
fn of_resource<'a>(resource: &'a str, namespace: Option<&'a str>) -> Option<Wanted<'a>> {
    let (kind, name) = resource.split_once('/')?;
    let kind = kind.split('.').next().unwrap_or(kind).to_lowercase();
    let long = SHORT.iter().find(|(short, _)| *short == kind).map(|(_, long)| (*long).to_owned());
    Some(Wanted { written: resource.to_owned(), kind: long.unwrap_or(kind), name, namespace })
}

/// The plural of a kind, as the API server makes it.
fn plural(kind: &str) -> String {
    match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if kind.ends_with('s') => format!("{kind}es"),
        None => format!("{kind}s"),
    }
}

/// What to say of an object that nothing makes; `None` where something does, or may.
fn unmade<'a>(wanted: &'a Wanted<'_>, own: &[&ObjectFacts], all: &[&ObjectFacts]) -> Option<Unmade<'a>> {
    let of_kind: Vec<&&ObjectFacts> = all.iter().filter(|object| wanted.is_of_kind(object)).collect();
    let of_name = || of_kind.iter().filter(|object| object.name == wanted.name);
    if of_name().any(|object| wanted.may_be_in_namespace_of(object)) {
        return None;
    }
    let elsewhere = of_name().find_map(|object| object.namespace.clone());
    let beside: Vec<&str> = own
        .iter()
        .filter(|object| wanted.is_of_kind(object) && wanted.may_be_in_namespace_of(object))
        .map(|object| object.name.as_str())
        .collect();
    let close = closest(wanted.name, beside.iter().copied());
    let help = match (elsewhere, close, beside.as_slice()) {
        (Some(namespace), ..) => format!("there is one in the namespace `{namespace}`"),
        (None, Some(close), _) => format!("did you mean `{close}`?"),
        (None, None, [first, rest @ ..]) => {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            format!("its manifests make `{first}`{more} of that kind")
        }
        // A controller may make it.
        (None, None, []) => return None,
    };
    Some(Unmade { written: &wanted.written, namespace: wanted.namespace, help })
}

/// A finding.
struct Unmade<'a> {
    written: &'a str,
    namespace: Option<&'a str>,
    help: String,
}

impl Unmade<'_> {
    /// The diagnostic, at the check and the uses of modules that bring it.
    fn diagnostic(self, way: &[Span], layer: &Layer) -> Diagnostic {
        let place =
            self.namespace.map(|namespace| format!(" in the namespace `{namespace}`")).unwrap_or_default();
        let message = format!("no manifest makes `{}`{place}, which this check waits for", self.written);
        let label = |index| match index {
            0 => format!("a check of `{}`", layer.name.value),
            _ => "by this use".to_owned(),
        };
        way.iter()
            .enumerate()
            .fold(Diagnostic::new(&code::OBJECT_NOT_MADE, message), |diagnostic, (index, span)| {
                diagnostic.at(span, label(index))
            })
            .help(self.help)
    }
}
