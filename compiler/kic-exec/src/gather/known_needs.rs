//! The images that manifests name, known from the run before: what is found in a text follows from its bytes and from the
//! build of kic, and from nothing else.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use kic_base::packed::{Reader, put_digest, put_length, put_list, put_option, put_text};
use kic_base::{Digest, ImageReference, Source, Span};
use kic_graph::{Need, NeedStep, ObjectFacts};
use kic_manifest::{Confidence, Gap, GapKind};
use kic_redirect::{Place, Pod, Policy};
use kic_spec::Spec;

use super::known::Known;
use super::memo_key;
use super::needs::{InTexts, Named};
use super::said::Said;
use super::texts::{Kind, Text};
use crate::context::Context;

/// What is known of texts, by their keys.
#[derive(Debug, Default)]
pub(super) struct KnownNeeds {
    known: Known,
    words: Words,
}

/// Kinds and namespaces of objects, and names of images: each is held once, however many texts say it.
#[derive(Debug, Default)]
struct Words {
    words: BTreeSet<Arc<str>>,
    references: BTreeMap<Box<str>, ImageReference>,
}

impl Words {
    fn get(&mut self, word: &str) -> Arc<str> {
        if let Some(known) = self.words.get(word) {
            return Arc::clone(known);
        }
        let word: Arc<str> = word.into();
        self.words.insert(Arc::clone(&word));
        word
    }

    fn reference(&mut self, text: &str) -> Option<ImageReference> {
        if let Some(known) = self.references.get(text) {
            return Some(known.clone());
        }
        let reference: ImageReference = text.parse().ok()?;
        self.references.insert(text.into(), reference.clone());
        Some(reference)
    }
}

impl KnownNeeds {
    /// What the last run of this build has found in the texts of a spec.
    pub fn open(spec: &Spec, context: &Context) -> Self {
        Self::of("kic needs", spec, context)
    }

    /// The same for the texts of a spec's base that is an image.
    pub fn of_base(spec: &Spec, context: &Context) -> Self {
        Self::of("kic needs of the base", spec, context)
    }

    fn of(what: &str, spec: &Spec, context: &Context) -> Self {
        Self { known: Known::open(memo_key(what, spec, context), context), words: Words::default() }
    }

    /// Adds what a text says, if that is known, and gives a digest over it. Its bytes are read only to show a place.
    pub fn find(&mut self, text: &Text, in_texts: &mut InTexts, context: &Context) -> Option<Said> {
        let (place, _) = self.known.find(&text.key(&text.digest))?;
        let (bytes, part) = self.known.bytes_of(place);
        let before = in_texts.before_next();
        let said = take(bytes, part, text, &mut self.words, in_texts, context);
        match said {
            Some(_) => self.known.keep(place),
            None => in_texts.truncate(before),
        }
        said
    }

    /// Notes what was found in a text whose bytes have that digest. One with policies is read again: they are held as they stand
    /// there.
    pub fn note(&mut self, text: &Text, digest: &Digest, named: &Named) {
        let Some(filters) = filters(named) else { return };
        let mut bytes = Vec::new();
        put(&mut bytes, named, &filters);
        self.known.note(text.key(digest), bytes);
    }

    /// Keeps what the next run needs, beside what goes on. Where that does not work, the next run reads the texts again.
    pub fn save(self, context: &Context) {
        self.known.save(context);
    }
}

/// The settings of Kyverno in a text; nothing where there are policies in it that are none.
pub(super) fn filters(named: &Named) -> Option<Vec<Filters>> {
    named.policies.iter().map(Policy::as_settings).collect()
}

/// As [`Policy::as_settings`] has them.
pub(super) type Filters = (String, Option<String>);

/// What the spec says of a text, such as the place that brings it in, is not kept.
fn put(bytes: &mut Vec<u8>, named: &Named, filters: &[Filters]) {
    let Named { needs, objects, gaps, .. } = named;
    Said::of(named, filters).put(bytes);
    put_list(bytes, objects.iter(), |bytes, object| {
        put_text(bytes, &object.kind);
        put_text(bytes, &object.name);
        put_option(bytes, object.namespace.as_deref(), put_text);
    });
    put_list(bytes, filters.iter(), |bytes, (resources, webhooks)| {
        put_text(bytes, resources);
        put_option(bytes, webhooks.as_deref(), put_text);
    });
    let mut pods: Vec<&Arc<Pod>> = Vec::new();
    let places: Vec<_> = needs
        .iter()
        .map(|need| {
            let (pod, place) = need.pod.as_ref()?;
            let index = pods.iter().position(|other| Arc::ptr_eq(other, pod)).unwrap_or_else(|| {
                pods.push(pod);
                pods.len() - 1
            });
            Some((index, place))
        })
        .collect();
    put_list(bytes, pods.iter(), |bytes, pod| {
        put_text(bytes, &pod.namespace);
        put_digest(bytes, pod.digest());
        put_text(bytes, &pod.object().to_string());
    });
    put_list(bytes, needs.iter().zip(places), |bytes, (need, place)| {
        put_text(bytes, &need.reference.to_string());
        put_span(bytes, &need.span);
        for text in [&need.object, &need.path, need.confidence.name(), &need.reason] {
            put_text(bytes, text);
        }
        put_option(bytes, place, |bytes, (index, place)| {
            put_length(bytes, index);
            put_text(bytes, place.list);
            put_text(bytes, &place.name);
        });
    });
    put_list(bytes, gaps.iter(), |bytes, gap| {
        let kind = match &gap.kind {
            GapKind::Unreadable => None,
            GapKind::Versioned(kind) => Some(kind),
        };
        put_option(bytes, kind, |bytes, kind| put_text(bytes, kind));
        put_span(bytes, &gap.span);
        for text in [&gap.written, &gap.object, &gap.path] {
            put_text(bytes, text);
        }
    });
}

fn put_span(bytes: &mut Vec<u8>, span: &Span) {
    put_length(bytes, span.range().start);
    put_length(bytes, span.range().end);
}

fn take_span(reader: &mut Reader<'_>, source: &Source) -> Option<Span> {
    Some(source.span_again(reader.length()?..reader.length()?))
}

/// Adds what was put in that part of the bytes; where these are other bytes, a part of something.
fn take(
    bytes: &Arc<Vec<u8>>,
    part: Range<usize>,
    text: &Text,
    words: &mut Words,
    in_texts: &mut InTexts,
    context: &Context,
) -> Option<Said> {
    let source = LazyCell::new(|| text.source(context));
    let reader = &mut Reader(bytes.get(part.clone())?);
    let said = Said::take(reader)?;
    for _ in 0..reader.length()? {
        in_texts.objects.push(ObjectFacts {
            kind: words.get(reader.text()?),
            name: reader.text()?.to_owned(),
            namespace: reader.option(Reader::text)?.map(|namespace| words.get(namespace)),
            layer: Arc::clone(&text.layer.layer),
        });
    }
    let filters = reader.list(|reader| {
        let (resources, webhooks) = (reader.text()?, reader.option(Reader::text)?);
        Some(Policy::settings(resources, webhooks, source.span_again(0..0)))
    })?;
    let pods = reader.list(|reader| {
        let (namespace, digest) = (reader.text()?.to_owned(), reader.digest()?);
        // It is read when a policy looks at it: what these made of it is mostly known, too.
        let length = reader.bytes()?.len();
        let end = part.end - reader.0.len();
        Some(Arc::new(Pod::kept(namespace, digest, bytes, end - length..end)))
    })?;
    for _ in 0..reader.length()? {
        in_texts.needs.push(take_need(reader, text, &source, &pods, words)?);
    }
    in_texts.policies.extend(text.facts(filters));
    for _ in 0..reader.length()? {
        let kind = reader.option(Reader::text)?.map(str::to_owned);
        let span = take_span(reader, &source)?;
        let mut text_of = || Some(reader.text()?.to_owned());
        let (written, object, path) = (text_of()?, text_of()?, text_of()?);
        let kind = kind.map_or(GapKind::Unreadable, GapKind::Versioned);
        in_texts.open.push(text.open(Gap { kind, written, span, object, path }));
    }
    reader.0.is_empty().then_some(said)
}

fn take_need(
    reader: &mut Reader<'_>,
    text: &Text,
    source: &Source,
    pods: &[Arc<Pod>],
    words: &mut Words,
) -> Option<Need> {
    Some(Need {
        reference: words.reference(reader.text()?)?,
        span: take_span(reader, source)?,
        said: text.said.clone(),
        is_generated: text.kind == Kind::Generated,
        object: reader.text()?.to_owned(),
        path: reader.text()?.to_owned(),
        // Texts in which images are named anew are not kept.
        asked: None,
        confidence: Confidence::by_name(reader.text()?)?,
        reason: reader.text()?.to_owned(),
        step: NeedStep::Apply(text.layer.layer.0, text.layer.layer.1.clone()),
        pod: reader.option(|reader| {
            let pod = pods.get(reader.length()?)?.clone();
            Some((pod, Place::new(reader.text()?, reader.text()?)?))
        })?,
    })
}

#[cfg(test)]
mod tests {
    use kic_spec::LayerKind;

    use super::*;
    use crate::gather::texts::Applied;
    use crate::sources::Sources;

    #[test]
    fn what_is_kept_of_a_text_is_found_again_and_cut_bytes_are_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let context = Context::for_tests(kic_store::Store::open(folder.path()).unwrap(), Sources::default());
        let written = "image: ü/nginx:1.27\n";
        let said = Source::new("cluster.kdl", "manifests").span(0..9);
        let layer = (LayerKind::Manifests, "web".to_owned());
        let applied =
            Arc::new(Applied { layer: Arc::new(layer.clone()), namespace: Some("shop".to_owned()) });
        let text = Text::here("a.yaml", written, &said, Kind::Generated, &applied);
        let pod = Arc::new(Pod::new("shop".to_owned(), serde_json::json!({"kind": "Pod"})));
        let source = text.source(&context);
        let need = |reference: &str, pod| Need {
            reference: reference.parse::<ImageReference>().unwrap(),
            span: source.span(7..19),
            said: said.clone(),
            is_generated: true,
            object: "Pod `ü`".to_owned(),
            path: "spec.image".to_owned(),
            asked: None,
            confidence: Confidence::Likely,
            reason: "a field of that name".to_owned(),
            step: NeedStep::Apply(layer.0, layer.1.clone()),
            pod,
        };
        let place = Place::new("containers", "web").unwrap();
        let needs = vec![
            need("docker.io/library/nginx:1.27", Some((pod.clone(), place.clone()))),
            need("docker.io/library/redis:7", None),
            need("docker.io/library/caddy:2", Some((pod, place))),
        ];
        let object = |namespace: Option<&str>| ObjectFacts {
            kind: "Pod".into(),
            name: "ü".to_owned(),
            namespace: namespace.map(Arc::from),
            layer: Arc::new(layer.clone()),
        };
        let objects = [object(Some("shop")), object(None)];
        let filters = [("[Event,*,*]".to_owned(), None), (String::new(), Some("{}".to_owned()))];
        let gap = |kind, written: &str| Gap {
            kind,
            written: written.to_owned(),
            span: source.span(0..5),
            object: "Pod `ü`".to_owned(),
            path: "spec.version".to_owned(),
        };
        let gaps = vec![gap(GapKind::Unreadable, ""), gap(GapKind::Versioned("A.b".to_owned()), "v1")];
        let named = Named { needs, objects: objects.to_vec(), gaps, ..Named::default() };
        let Named { needs, gaps, .. } = &named;
        let mut bytes = Vec::new();
        put(&mut bytes, &named, &filters);
        let take = |part: &[u8]| {
            let mut found = InTexts::default();
            let (all, part) = (Arc::new([b"before", part, b"behind"].concat()), 6..6 + part.len());
            let said = take(&all, part, &text, &mut Words::default(), &mut found, &context)?;
            assert_eq!(said, Said::of(&named, &filters));
            Some(found)
        };
        let found = take(&bytes).unwrap();
        let settings: Vec<_> =
            found.policies.iter().map(|facts| facts.policy.as_settings().unwrap()).collect();
        let told = |need: &Need| format!("{:?}", Need { pod: None, ..need.clone() });
        for (found, need) in found.needs.iter().zip(needs) {
            assert_eq!((told(found), &found.pod), (told(need), &need.pod));
            let digest = |need: &Need| need.pod.as_ref().map(|(pod, _)| *pod.digest());
            assert_eq!(digest(found), digest(need));
        }
        assert_eq!(found.needs.len(), needs.len());
        assert!(found.open.iter().map(|open| &open.gap).eq(gaps));
        assert!(found.open.iter().all(|open| open.said == said && open.is_generated));
        assert_eq!(settings, filters);
        assert_eq!(found.objects, objects);
        // Two needs of one pod are so afterwards, too.
        let pods: Vec<_> = found.needs.iter().filter_map(|need| need.pod.as_ref()).collect();
        assert!(Arc::ptr_eq(&pods[0].0, &pods[1].0));
        for length in 0..bytes.len() {
            assert!(take(&bytes[..length]).is_none(), "{length}");
        }
        bytes.push(0);
        assert!(take(&bytes).is_none());
    }

    #[test]
    fn the_namespace_of_a_layer_belongs_to_the_key_of_a_text() {
        let said = Source::new("cluster.kdl", "").span(0..0);
        let key = |namespace: Option<&str>| {
            let layer = (LayerKind::Manifests, "web".to_owned());
            let applied =
                Arc::new(Applied { layer: Arc::new(layer), namespace: namespace.map(str::to_owned) });
            let text = Text::here("a.yaml", "a: 1\n", &said, Kind::Written, &applied);
            text.key(&text.digest)
        };
        let keys = [key(None), key(Some("")), key(Some("a")), key(Some("b"))];
        for (index, one) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(one));
        }
    }
}
