//! The images that manifests, policies and commands name.

use std::collections::BTreeMap;
use std::sync::Arc;

use kic_base::{Digest, Source, Span};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::{ContentFacts, Need, NeedStep, ObjectFacts, PathFacts, PathKey, PolicyFacts};
use kic_manifest::{Confidence, Discovery, Found, Gap, Object};
use kic_redirect::{Pod, Policy};
use kic_spec::{Spec, Step};

use super::empty_layers;
use super::gaps::{self, Open};
use super::known_needs::KnownNeeds;
use super::renders::Render;
use super::rewriting;
use super::said::{Said, SaidPart, SaidPlace};
use super::texts::{Applied, Kind, Text, texts};
use crate::context::Context;
use crate::parallel::parallel;

/// So many bytes are looked through in less time than it takes to wake a thread for them.
const FEW: u64 = 4096;

/// What all texts name.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub needs: Vec<Need>,
    /// Texts with images named anew, by the digest of the text without, and the registry.
    pub rewritten: BTreeMap<(Digest, String), Arc<str>>,
    /// The policies among them, and what belongs to policies.
    pub policies: Vec<PolicyFacts>,
    /// The objects in them.
    pub objects: Vec<ObjectFacts>,
    /// What those of local files say, each by a digest.
    pub said: Vec<SaidPlace>,
}

/// What one text names.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub needs: Vec<Need>,
    pub policies: Vec<Policy>,
    pub objects: Vec<ObjectFacts>,
    /// The text with images named anew, where there are any.
    pub rewritten: Option<Arc<str>>,
    /// What is worth a look.
    pub warnings: Diagnostics,
    /// What it leaves open.
    pub gaps: Vec<Gap>,
}

/// What of texts goes into the inputs, that of one after that of the other.
#[derive(Debug, Default)]
pub(super) struct InTexts {
    pub needs: Vec<Need>,
    pub policies: Vec<PolicyFacts>,
    pub objects: Vec<ObjectFacts>,
    /// What they leave open.
    pub open: Vec<Open>,
}

/// How much of each list comes before a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    needs: usize,
    policies: usize,
    objects: usize,
    open: usize,
}

impl InTexts {
    /// What is before a text that comes next.
    pub fn before_next(&self) -> Before {
        let Self { needs, policies, objects, open } = self;
        Before { needs: needs.len(), policies: policies.len(), objects: objects.len(), open: open.len() }
    }

    /// Forgets what comes after.
    pub fn truncate(&mut self, before: Before) {
        self.needs.truncate(before.needs);
        self.policies.truncate(before.policies);
        self.objects.truncate(before.objects);
        self.open.truncate(before.open);
    }

    /// The same with more texts between those that are there, in their order.
    fn with(self, more: Vec<(Before, Self)>) -> Self {
        if more.is_empty() {
            return self;
        }
        let (mut needs, mut policies) = (Vec::new(), Vec::new());
        let (mut objects, mut open) = (Vec::new(), Vec::new());
        for (before, texts) in more {
            needs.push((before.needs, texts.needs));
            policies.push((before.policies, texts.policies));
            objects.push((before.objects, texts.objects));
            open.push((before.open, texts.open));
        }
        Self {
            needs: merged(self.needs, needs),
            policies: merged(self.policies, policies),
            objects: merged(self.objects, objects),
            open: merged(self.open, open),
        }
    }
}

/// A list with others between its items, each before the one with that index, in their order.
fn merged<T>(list: Vec<T>, others: Vec<(usize, Vec<T>)>) -> Vec<T> {
    let mut all = Vec::with_capacity(list.len() + others.iter().map(|(_, other)| other.len()).sum::<usize>());
    let (mut list, mut taken) = (list.into_iter(), 0);
    for (before, mut other) in others {
        all.extend(list.by_ref().take(before - taken));
        taken = before;
        all.append(&mut other);
    }
    all.extend(list);
    all
}

/// Looks through all manifests and policies, in the order of the spec; those that cannot be read give errors, and nothing
/// else. Those of which the last run knew what they name are not read.
pub(super) async fn gather(
    spec: &Spec,
    files: &BTreeMap<PathKey, PathFacts>,
    fetches: &BTreeMap<String, ContentFacts>,
    renders: &BTreeMap<Digest, Render>,
    context: &Context,
    diagnostics: &mut Diagnostics,
) -> Needs {
    let mut known = KnownNeeds::open(spec, context);
    let mut rewritten = BTreeMap::new();
    let mut in_texts = InTexts::default();
    let (mut said, mut unknown) = (Vec::new(), Vec::<(Before, Text, Option<SaidPart>)>::new());
    texts(spec, files, fetches, renders, |text| {
        let found = if text.is_kept() { known.find(&text, &mut in_texts, context) } else { None };
        let part = SaidPlace::add(&mut said, &text, found);
        if found.is_none() {
            unknown.push((in_texts.before_next(), text, part));
        }
    });
    let (mut more, mut wrong) = (Vec::new(), Vec::new());
    if !unknown.is_empty() {
        let bytes: u64 = unknown.iter().map(|(_, text, _)| text.size).sum();
        let inner = context.clone();
        let look_through = move || {
            let look_through =
                |(): &mut (), (_, text, _): &(Before, Text, Option<SaidPart>)| text.needs(&inner);
            let results = parallel(&unknown, &inner, || (), look_through);
            inner.go_on()?;
            Ok((unknown, results))
        };
        let looked_through = if bytes <= FEW { look_through() } else { context.blocking(look_through).await };
        match looked_through {
            Ok((texts, results)) => {
                for ((before, text, part), result) in texts.iter().zip(results) {
                    let (digest, named) = match result {
                        Some(Ok(named)) => named,
                        Some(Err(errors)) => {
                            wrong.push(errors);
                            continue;
                        }
                        None => continue,
                    };
                    if text.is_kept() {
                        known.note(text, &digest, &named);
                        if let Some(part) = part.filter(|_| digest == text.digest) {
                            part.set(&mut said, Said::of_all(&named));
                        }
                    }
                    if let (Some(new), Some(rewriting)) = (named.rewritten, &text.rewriting) {
                        rewritten.insert((digest, rewriting.host.clone()), new);
                    }
                    diagnostics.append(named.warnings);
                    let policies = text.facts(named.policies).collect();
                    let open = named.gaps.into_iter().map(|gap| text.open(gap)).collect();
                    let Named { needs, objects, .. } = named;
                    more.push((*before, InTexts { needs, policies, objects, open }));
                }
            }
            Err(interrupted) => wrong.push(interrupted),
        }
    }
    known.save(context);
    let all_read = wrong.is_empty();
    wrong.into_iter().for_each(|errors| diagnostics.append(errors));
    let InTexts { mut needs, policies, objects, open } = in_texts.with(more);
    if all_read {
        empty_layers::tell(spec, files, fetches, renders, &objects, diagnostics);
    }
    diagnostics.append(gaps::tell(&open, spec, &needs));
    for step in spec.launch.iter().flatten() {
        if let Step::Run(command) = &step.value {
            for image in kic_manifest::command_images(command) {
                if let Ok(reference) = image.parse() {
                    let pod = pod_of_command(command, &image);
                    needs.push(Need {
                        reference,
                        span: step.span.clone(),
                        said: step.span.clone(),
                        is_generated: false,
                        object: "command".to_owned(),
                        path: String::new(),
                        asked: None,
                        confidence: Confidence::Certain,
                        reason: "an image that a step of the launch runs or pulls".to_owned(),
                        step: NeedStep::Run(command.clone()),
                        pod: pod.map(|(pod, place)| (Arc::new(pod), place)),
                    });
                }
            }
        }
    }
    Needs { needs, rewritten, policies, objects, said }
}

/// The pod that a command makes: those of kubectl do, in the namespace that it names.
fn pod_of_command(command: &str, image: &str) -> Option<(Pod, kic_redirect::Place)> {
    let words: Vec<&str> = command.split_whitespace().collect();
    if !words.iter().any(|word| word.ends_with("kubectl")) {
        return None;
    }
    let after = words.iter().position(|word| matches!(*word, "-n" | "--namespace"));
    let namespace = after.and_then(|at| words.get(at + 1)).copied();
    let joined = words.iter().find_map(|word| word.strip_prefix("--namespace="));
    Some(Pod::with(image, "containers", namespace.or(joined)))
}

impl Text {
    /// The policies in it, as the inputs have them.
    pub(super) fn facts(&self, policies: Vec<Policy>) -> impl Iterator<Item = PolicyFacts> {
        policies.into_iter().map(|policy| PolicyFacts {
            policy,
            layer: (*self.layer.layer).clone(),
            said: self.said.clone(),
            is_generated: self.kind != Kind::Written,
        })
    }

    /// What it leaves open, and what of the spec brings it in.
    pub(super) fn open(&self, gap: Gap) -> Open {
        Open { gap, said: self.said.clone(), is_generated: self.kind != Kind::Written }
    }

    /// The digest of its bytes, and the images that it names.
    pub(super) fn needs(&self, context: &Context) -> Result<(Digest, Named), Diagnostics> {
        let bytes = self.bytes(context)?;
        Ok((Digest::of(&bytes), self.named(bytes)?))
    }

    fn named(&self, bytes: Vec<u8>) -> Result<Named, Diagnostics> {
        let Self { said, kind, layer, rewriting, .. } = self;
        let name = self.name();
        let Ok(content) = String::from_utf8(bytes) else {
            return Err(Diagnostic::new(&code::INVALID_YAML, format!("`{name}` is not UTF-8 text"))
                .at(said, "named here")
                .help("save it as UTF-8")
                .into());
        };
        let source = Source::new(&name, content);
        if *kind == Kind::Description {
            let images = kic_manifest::images_of_text(&source).0.into_iter();
            let needs = images.map(|found| need(found, said, *kind, &Pods::default(), layer)).collect();
            return Ok(Named { needs, ..Named::default() });
        }
        let (objects, errors) = kic_manifest::read(&source);
        let mut warnings = Diagnostics::new();
        if !errors.is_empty() {
            let diagnostic = |error: kic_manifest::YamlError| {
                let mut diagnostic =
                    Diagnostic::new(&code::INVALID_YAML, error.message).at(&error.span, "here");
                if let Some(first) = &error.first {
                    diagnostic = diagnostic.at(first, "first here");
                }
                diagnostic
                    .at(said, "read because of this")
                    .help(error.help.unwrap_or_else(|| "mend the manifest there".to_owned()))
            };
            warnings.extend(errors.into_iter().map(diagnostic));
            return Err(warnings);
        }
        let Discovery { found: images, mut gaps } = kic_manifest::discover(&objects);
        if *kind == Kind::Dropped {
            gaps.clear();
        }
        let (policies, made) = match kind {
            Kind::Dropped => (Vec::new(), Vec::new()),
            _ => (kic_redirect::policies(&objects), made(&objects, layer)),
        };
        let Some(rewriting) = rewriting else {
            let pods = Pods::of(&objects, &objects, layer);
            let needs = images.into_iter().map(|found| need(found, said, *kind, &pods, layer)).collect();
            return Ok(Named { needs, policies, objects: made, gaps, ..Named::default() });
        };
        let (text, left) = rewriting::rewritten(&source, rewriting);
        warnings.extend(left.iter().map(|found| rewriting::left(found, said)));
        let asked = |found: &Found| {
            let stays = left.iter().any(|other| other.span == found.span && other.path == found.path);
            rewriting.name(found).filter(|_| !stays)
        };
        // Pods name what the rewritten text does.
        let (anew, _) = kic_manifest::read(&Source::new(&name, text.as_str()));
        let pods = Pods::of(&objects, &anew, layer);
        let needs = images
            .into_iter()
            .map(|found| Need { asked: asked(&found), ..need(found, said, *kind, &pods, layer) })
            .collect();
        let rewritten = (text != source.text()).then(|| text.into());
        Ok(Named { needs, policies, objects: made, rewritten, warnings, gaps })
    }
}

/// Adds what a text of a base says, where its layer is applied. What cannot be read says nothing: who compiled it was told.
pub(super) fn in_base(text: &Text, in_texts: &mut InTexts, known: &mut KnownNeeds, context: &Context) {
    if known.find(text, in_texts, context).is_some() {
        return;
    }
    let Ok((digest, named)) = text.needs(context) else { return };
    known.note(text, &digest, &named);
    in_texts.policies.extend(text.facts(named.policies));
    in_texts.needs.extend(named.needs);
    in_texts.objects.extend(named.objects);
}

/// The objects that have a name.
fn made(objects: &[Object], layer: &Applied) -> Vec<ObjectFacts> {
    let fact = |object: &Object| {
        Some(ObjectFacts {
            kind: object.kind.as_str().into(),
            name: object.name.clone()?,
            namespace: object.namespace.as_deref().or(layer.namespace.as_deref()).map(Arc::from),
            layer: layer.layer.clone(),
        })
    };
    objects.iter().filter_map(fact).collect()
}

/// The pods that objects make, by where the objects stand.
#[derive(Default)]
struct Pods {
    made: Vec<(Span, Option<String>, Option<Arc<Pod>>)>,
}

impl Pods {
    /// Those of `objects`, as far as their places go, which say what `anew` says.
    fn of(objects: &[Object], anew: &[Object], layer: &Applied) -> Self {
        let made = objects.iter().zip(anew).map(|(object, anew)| {
            let pod = Pod::of(anew, layer.namespace.as_deref()).map(Arc::new);
            (object.span.clone(), object.namespace.clone(), pod)
        });
        Self { made: made.collect() }
    }

    /// The pod that asks for what was found: that of a template, or one that a controller or program will make of the object.
    fn asking(&self, found: &Found, layer: &Applied) -> (Arc<Pod>, kic_redirect::Place) {
        let at = found.span.range().start;
        let object = self.made.iter().find(|(span, ..)| span.range().contains(&at));
        let of_template = object.and_then(|(_, _, pod)| {
            let pod = pod.as_ref()?;
            Some((pod.clone(), kic_redirect::place_of(pod, &found.path)?))
        });
        of_template.unwrap_or_else(|| {
            let own = object.and_then(|(_, namespace, _)| namespace.as_deref());
            let (pod, place) = Pod::with(&found.written, "containers", own.or(layer.namespace.as_deref()));
            (Arc::new(pod), place)
        })
    }
}

fn need(found: Found, said: &Span, kind: Kind, pods: &Pods, layer: &Applied) -> Need {
    let pod = pods.asking(&found, layer);
    let (confidence, reason) = match kind {
        Kind::Dropped => (
            Confidence::Possible,
            format!("{}, in a hook of the chart that an installation does not run", found.reason),
        ),
        _ => (found.confidence, found.reason),
    };
    Need {
        reference: found.reference,
        span: found.span,
        said: said.clone(),
        is_generated: kind != Kind::Written,
        object: found.object,
        path: found.path,
        asked: None,
        confidence,
        reason,
        step: NeedStep::Apply(layer.layer.0, layer.layer.1.clone()),
        pod: Some(pod),
    }
}
