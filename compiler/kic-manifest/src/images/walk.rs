use std::collections::BTreeMap;
use std::ops::Range;

use super::candidate::{Candidate, Position, with_transport, without_transport};
use super::kinds::{
    ADDRESSES, CONTAINER_LISTS, FIELDS_OF_CONTAINERS, FIELDS_OF_VARIABLES, FOREIGN_WITHOUT_IMAGES,
    GROUPS_WITHOUT_IMAGES, OUTPUTS, PATTERNS, SETTINGS, SKIPPED, VALUES, WITHOUT_IMAGES,
};
use super::locate::locate;
use super::words::{Hint, field_hint, key_hint, variable_hint, words};
use super::{
    Confidence, Found, Part, Parts, embedded, expressions, group, schema, settings as setting, sources,
    variables,
};
use crate::{Object, Style, Yaml, YamlValue};

/// The images of one object.
pub(crate) fn object(object: &Object) -> Vec<Found> {
    let mut walk = Walk::new(object.title(), Confidence::Certain, "");
    walk.object(&object.root, &object.api_version, &object.kind);
    walk.found
}

/// The images of a document that is no object.
pub(crate) fn document(root: &Yaml, name: &str) -> Vec<Found> {
    let mut walk = Walk::new(name.to_owned(), Confidence::Likely, "");
    if let Some(annotations) = root.get("annotations") {
        walk.entry("annotations", |walk| setting::annotations(walk, annotations));
    }
    walk.versioned_elsewhere = versioned_beside(root);
    walk.folder = group::folder(root);
    let taken = group::find(&mut walk, root, "");
    for (key, value) in root.entries() {
        if key.as_str() != Some("annotations") && !taken.contains(&&*key.key()) {
            walk.field(&key.key(), value);
        }
    }
    if root.entries().is_empty() {
        walk.node(root, "");
    }
    walk.found
}

/// One way down the tree of an object.
pub(crate) struct Walk {
    pub(crate) title: String,
    pub(crate) path: String,
    pub(crate) found: Vec<Found>,
    /// The most that may be said of what is found here, and why it is not more.
    pub(crate) cap: Confidence,
    pub(crate) because: &'static str,
    /// Istio's `hub` and `tag`, which its short names of images mean.
    pub(crate) hub: Option<(Part, String)>,
    /// The tag that images without a version get in the object at hand; an empty one is not to be known.
    pub(crate) default_tag: Option<String>,
    /// How many strings were opened to come here.
    pub(crate) level: usize,
    pub(crate) kyverno: bool,
    /// Whether what is at hand is a Secret: of its values, only those are told that say that they are images.
    pub(crate) secret: bool,
    pub(crate) machines: bool,
    /// The variables of the list at hand: their words, and their values.
    pub(crate) variables: BTreeMap<String, Part>,
    /// The folder of the registry that a list of components gives, in which their images have short names.
    pub(crate) base: Option<Part>,
    /// The folder of a registry that the object gives for all its images.
    pub(crate) folder: Option<String>,
    /// The registry before the repositories that begin with `/`, from the field that gave one last.
    pub(crate) base_registry: Option<Part>,
    /// The registry that a mapping for images gives for all below it.
    pub(crate) registry: Option<Part>,
    /// The `version` of the nearest mapping around that has one.
    pub(crate) version: Option<String>,
    under_image: Under,
    /// Whether the version of an image without one may stand elsewhere.
    pub(crate) versioned_elsewhere: bool,
    /// Whether the mapping at hand is one of settings, such as the data of a ConfigMap.
    settings: bool,
    /// Whether each value of the mapping at hand is a path with a version.
    table: bool,
}

/// Whether the mapping at hand stands under a key that is named for images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Under {
    /// It does not.
    Nothing,
    /// Right under it.
    Images,
    /// Deeper below it, or the key only speaks of images.
    AboutImages,
}

/// What is recorded of a find.
pub(crate) struct Find<'a> {
    pub(crate) candidate: Candidate,
    pub(crate) node: &'a Yaml,
    /// The bytes of the reference in the text of the node.
    pub(crate) part: Range<usize>,
    pub(crate) confidence: Confidence,
    pub(crate) reason: String,
}

impl<'a> Find<'a> {
    /// A repository whose version stands nowhere near.
    pub(crate) fn of_repository(
        candidate: Candidate,
        node: &'a Yaml,
        part: Range<usize>,
        what: &str,
    ) -> Self {
        let reason = format!("a repository of a registry in {what}, with no version beside it");
        Self { candidate, node, part, confidence: Confidence::Possible, reason }
    }
}

impl Walk {
    pub(crate) fn new(title: String, cap: Confidence, because: &'static str) -> Self {
        Self {
            title,
            path: String::new(),
            found: Vec::new(),
            cap,
            because,
            hub: None,
            default_tag: None,
            level: 0,
            kyverno: false,
            secret: false,
            machines: false,
            variables: BTreeMap::new(),
            base: None,
            folder: None,
            base_registry: None,
            registry: None,
            version: None,
            under_image: Under::Nothing,
            versioned_elsewhere: false,
            settings: false,
            table: false,
        }
    }

    /// An object, at the top of a document or of a string.
    pub(crate) fn object(&mut self, root: &Yaml, api_version: &str, kind: &str) {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let own = !group.contains('.') || group.ends_with(".k8s.io");
        if (own && WITHOUT_IMAGES.contains(&kind))
            || FOREIGN_WITHOUT_IMAGES.contains(&kind)
            || GROUPS_WITHOUT_IMAGES.iter().any(|group| api_version.starts_with(group))
        {
            // Their annotations may still name some.
            self.metadata(root);
            if kind == "PrometheusRule" {
                sources::alerts(self, root);
            }
            return;
        }
        self.kyverno =
            api_version.starts_with("kyverno.io/") || api_version.starts_with("policies.kyverno.io/");
        self.machines = api_version.starts_with("infrastructure.cluster.x-k8s.io/");
        if self.kyverno {
            self.at_most(Confidence::Likely, "in a policy");
        }
        if api_version.starts_with("image.toolkit.fluxcd.io/") {
            self.at_most(Confidence::Possible, "which is watched for tags, not run");
        }
        if api_version.starts_with("upgrade.cattle.io/") && kind == "Plan" {
            // A tag has no `+`: this is how its controller writes the version.
            let version = root.at(&["spec", "version"]).and_then(group::version_text);
            self.default_tag = Some(version.unwrap_or_default().replace('+', "-"));
        }
        self.folder = group::folder(root);
        if expressions::object(self, root, kind) || sources::object(self, root, api_version, kind) {
            return;
        }
        for (key, value) in root.entries() {
            match &*key.key() {
                "status" | "apiVersion" | "kind" => {}
                "metadata" => self.metadata(root),
                key => self.field(key, value),
            }
        }
    }

    fn metadata(&mut self, root: &Yaml) {
        if let Some(annotations) = root.at(&["metadata", "annotations"]) {
            self.entry("metadata", |walk| {
                walk.entry("annotations", |walk| setting::annotations(walk, annotations));
            });
        }
    }

    /// Whether the mapping at hand stands anywhere below a key that is named for images.
    pub(crate) fn is_about_images(&self) -> bool {
        self.under_image != Under::Nothing
    }

    pub(crate) fn at_most(&mut self, cap: Confidence, because: &'static str) {
        if cap < self.cap {
            self.cap = cap;
            self.because = because;
        }
    }

    /// Goes down one step of the path, and comes back as it was.
    pub(crate) fn entry<T>(&mut self, key: &str, down: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        let (cap, because) = (self.cap, self.because);
        if key.contains(['.', '/', ' ', '"']) {
            self.path.push_str(&format!("[\"{key}\"]"));
        } else {
            if length > 0 && !self.path.ends_with(' ') {
                self.path.push('.');
            }
            self.path.push_str(key);
        }
        let result = down(self);
        self.path.truncate(length);
        (self.cap, self.because) = (cap, because);
        result
    }

    /// Goes down to one item of a list.
    pub(crate) fn item(&mut self, place: usize, down: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(&format!("[{place}]"));
        down(self);
        self.path.truncate(length);
    }

    /// A key of a mapping and its value.
    pub(crate) fn field(&mut self, key: &str, value: &Yaml) {
        if SKIPPED.contains(&key) || (self.kyverno && (PATTERNS.contains(&key) || is_condition(key))) {
            return;
        }
        self.entry(key, |walk| {
            if OUTPUTS.contains(&key) && value.style == Style::Collection {
                walk.at_most(Confidence::Possible, "where it is built and pushed, not run");
            } else if VALUES.contains(&key) && value.style == Style::Collection {
                walk.at_most(Confidence::Likely, "in the values of a chart");
            }
            match key {
                "openAPIV3Schema" => schema::defaults(walk, value),
                "clusterConfiguration" => sources::cluster_configuration(walk, value),
                "metadata" if value.get("annotations").is_some() || value.get("labels").is_some() => {
                    if let Some(annotations) = value.get("annotations") {
                        walk.entry("annotations", |walk| setting::annotations(walk, annotations));
                    }
                }
                "args" | "command" | "arguments" | "extraArgs" | "additionalArgs" | "entrypoint"
                    if value.items().iter().any(|item| item.as_str().is_some())
                        || value.as_str().is_some() =>
                {
                    setting::arguments(walk, value);
                }
                _ if bare(key, CONTAINER_LISTS) && !value.items().is_empty() => {
                    for (place, container) in value.items().iter().enumerate() {
                        walk.item(place, |walk| walk.mapping(container, key, true));
                    }
                }
                "volumes" => {
                    for (place, volume) in value.items().iter().enumerate() {
                        walk.item(place, |walk| {
                            if !sources::image_volume(walk, volume) {
                                walk.node(volume, key);
                            }
                        });
                    }
                    if value.items().is_empty() {
                        walk.node(value, key);
                    }
                }
                _ => walk.node(value, key),
            }
        });
    }

    /// A value under the key `key`, or an item of the list under it.
    pub(crate) fn node(&mut self, node: &Yaml, key: &str) {
        match &node.value {
            YamlValue::Mapping(_) => self.mapping(node, key, false),
            YamlValue::Sequence(items) => {
                let variables = std::mem::replace(&mut self.variables, variables::of_list(items));
                for (place, item) in items.iter().enumerate() {
                    self.item(place, |walk| walk.node(item, key));
                }
                self.variables = variables;
            }
            YamlValue::String(text) => self.string(node, text, key),
            _ => {}
        }
    }

    /// A mapping under `key`, or in a list under it; `container` where that list is one of containers.
    fn mapping(&mut self, node: &Yaml, key: &str, container: bool) {
        let properties = node.get("properties").is_some_and(|node| !node.entries().is_empty());
        if properties
            && (node.get("type").and_then(Yaml::as_str) == Some("object") || node.get("$schema").is_some())
        {
            schema::defaults(self, node);
            return;
        }
        let entries = node.entries();
        let around = (self.hub.clone(), self.base.clone(), self.version.clone(), self.registry.clone());
        let outer = (self.settings, self.under_image, self.versioned_elsewhere, self.table);
        self.settings = SETTINGS.contains(&key);
        self.table = group::is_table(node);
        self.under_image = self.under(key);
        if let Some(version) = node.get("version").and_then(group::version_text) {
            self.version = Some(version);
        }
        self.versioned_elsewhere = versioned_beside(node);
        if let (Some(hub), Some(tag)) = (node.get("hub"), node.get("tag"))
            && hub.as_str().is_some()
            && let (Some(hub), Some(tag)) = (Part::of(hub), group::version_text(tag))
        {
            self.hub = Some((hub, tag));
        }
        group::components(self, node);
        if self.is_about_images()
            && let Some(registry) = group::registry(node)
        {
            self.registry = Some(registry);
        }
        let taken = group::find(self, node, key);
        let pair = setting::pair(self, node);
        for (name, value) in entries {
            let name = name.key();
            if taken.contains(&&*name) || pair.is_some_and(|pair| pair == name) {
                continue;
            }
            if bare(&name, FIELDS_OF_VARIABLES)
                && let Some(image) = node.get("image")
            {
                variables::digests(self, image, &name, value);
            }
            if bare(&name, &["image"])
                && let Some(text) = value.as_str()
                && (container || entries.iter().any(|(key, _)| bare(&key.key(), FIELDS_OF_CONTAINERS)))
            {
                self.entry(&name, |walk| walk.container(node, value, text, container));
                continue;
            }
            self.field(&name, value);
        }
        (self.hub, self.base, self.version, self.registry) = around;
        (self.settings, self.under_image, self.versioned_elsewhere, self.table) = outer;
    }

    /// What a mapping under `key` is under.
    fn under(&self, key: &str) -> Under {
        if key.contains("mage") {
            let words = words(key);
            if key_hint(&words) == Hint::Image || words.last().is_some_and(|word| word == "images") {
                return Under::Images;
            }
            if variable_hint(&words) == Hint::Image {
                return Under::AboutImages;
            }
        }
        if self.under_image == Under::Nothing { Under::Nothing } else { Under::AboutImages }
    }

    /// The image of a container.
    fn container(&mut self, container: &Yaml, node: &Yaml, text: &str, listed: bool) {
        if self.hub.is_some() && group::in_hub(self, node, text) {
            return;
        }
        if group::in_plan(self, node, text) {
            return;
        }
        // Istio fills `auto` in when it injects its proxy.
        if text == "auto" && container.get("name").and_then(Yaml::as_str) == Some("istio-proxy") {
            return;
        }
        let reason = if listed {
            "the image of a container in a pod spec"
        } else {
            "the image of a container, by the fields beside it"
        };
        let Some(candidate) = Candidate::of_container(text) else { return };
        let name = container.get("name").and_then(Yaml::as_str).map(str::to_owned);
        let before = self.found.len();
        self.record(Find {
            candidate,
            node,
            part: 0..text.len(),
            confidence: Confidence::Certain,
            reason: reason.to_owned(),
        });
        for found in &mut self.found[before..] {
            found.container.clone_from(&name);
        }
    }

    /// A string under `key`, or in a list or mapping under it.
    fn string(&mut self, node: &Yaml, text: &str, key: &str) {
        let words = words(key);
        let hint = field_hint(key, &words);
        if hint == Hint::Prose || text.is_empty() {
            return;
        }
        if sources::artifact(self, node, text) || embedded::text(self, node, text, key) {
            return;
        }
        let listed = words.last().is_some_and(|word| word == "images");
        if hint == Hint::Image && self.hub.is_some() && group::in_hub(self, node, text) {
            return;
        }
        if hint == Hint::Image && group::in_plan(self, node, text) {
            return;
        }
        if hint == Hint::Image
            && words.iter().any(|word| word.starts_with("base"))
            && let Some(version) = self.version.clone()
            && group::base_image(self, node, text, &version)
        {
            return;
        }
        if self.settings && self.secret && variable_hint(&words) != Hint::Image {
            return;
        }
        if self.settings {
            setting::value(self, node, text, &format!("the setting `{key}`"), &words);
            return;
        }
        let position = match hint {
            Hint::Image => Position::Field,
            _ if listed || self.under_image == Under::Images => Position::Named,
            _ if self.table => Position::Setting,
            _ => Position::Neutral,
        };
        let Some(candidate) = Candidate::read(text) else {
            if hint == Hint::Image || listed {
                setting::value(self, node, text, &format!("the field `{key}`"), &words);
            }
            return;
        };
        let position = if position == Position::Neutral
            && self.under_image == Under::AboutImages
            && candidate.is_path()
            && candidate.has_version()
        {
            Position::Named
        } else {
            position
        };
        if candidate.is_bare_word() && (self.machines || (hint != Hint::Image && !listed)) {
            return;
        }
        // Where a registry is asked for, an image without a version is its address.
        if hint != Hint::Image
            && !candidate.has_version()
            && words.last().is_some_and(|word| ADDRESSES.contains(&word.as_str()))
            && transport(text) == 0
        {
            return;
        }
        let transported = (matches!(position, Position::Neutral | Position::Setting)
            && with_transport(text).is_some())
        .then_some(Confidence::Likely);
        let Some(confidence) = transported.or_else(|| candidate.judge(position)) else { return };
        let (confidence, incomplete) = self.complete(&candidate, confidence);
        let reason = match (position, candidate.is_full()) {
            _ if incomplete => format!("a reference in the field `{key}` that another field may complete"),
            (Position::Field, true) => format!("a full reference in the field `{key}`"),
            (Position::Field, false) if candidate.is_bare_word() => {
                format!("a single word in the field `{key}`, which may mean something else")
            }
            (Position::Field, false) => format!("a reference in the field `{key}`"),
            (Position::Named, _) if listed => format!("in the list `{key}`"),
            (Position::Named, _) => format!("a reference in `{key}`, under a field that is named for images"),
            _ if transported.is_some() => {
                format!("a reference with its transport in the field `{key}`")
            }
            (_, true) => format!("a full reference, though the field `{key}` is not named for an image"),
            _ => format!("a path with a version in the field `{key}`, like all that stand beside it"),
        };
        self.record(Find { part: transport(text)..text.len(), candidate, node, confidence, reason });
    }

    /// Less sure of a reference without a tag where its version may stand elsewhere: whether that is so.
    fn complete(&self, candidate: &Candidate, confidence: Confidence) -> (Confidence, bool) {
        let loose = self.level > 0 || VALUES.iter().any(|key| self.path.contains(&format!(".{key}.")));
        let incomplete = !candidate.has_version()
            && !candidate.is_bare_word()
            && (self.versioned_elsewhere || loose || self.path.to_ascii_lowercase().ends_with("baseimage"))
            && confidence > Confidence::Possible;
        (if incomplete { Confidence::Possible } else { confidence }, incomplete)
    }

    pub(crate) fn record(&mut self, find: Find<'_>) {
        let text = find.node.as_str().unwrap_or_default();
        let written = text.get(find.part.clone()).unwrap_or(text).to_owned();
        let parts =
            Parts::Whole { plain: find.node.style == Style::Plain, alone: find.part == (0..text.len()) };
        let span = locate(find.node, text, find.part);
        self.push(find.candidate, written, span, parts, find.confidence, find.reason);
    }

    pub(crate) fn push(
        &mut self,
        candidate: Candidate,
        written: String,
        span: kic_base::Span,
        parts: Parts,
        confidence: Confidence,
        mut reason: String,
    ) {
        if confidence > self.cap || (confidence == self.cap && !self.because.is_empty()) {
            reason.push_str(", ");
            reason.push_str(self.because);
        }
        let reason = reason.trim_end_matches([',', ' ']).to_owned();
        self.found.push(Found {
            reference: candidate.reference,
            written,
            span,
            object: self.title.clone(),
            path: self.path.clone(),
            container: None,
            confidence: confidence.min(self.cap),
            reason,
            parts,
        });
    }
}

/// Whether a mapping has a field that may be the version of an image in it.
fn versioned_beside(node: &Yaml) -> bool {
    ["version", "tag", "imageTag", "imageVersion", "image_version"].iter().any(|key| node.get(key).is_some())
}

/// How many bytes of transport (`docker://`) stand before the reference.
pub(crate) fn transport(text: &str) -> usize {
    text.len() - without_transport(text).len()
}

/// Whether a key is one of `names`, without the anchors that Kyverno puts around keys (`+(image)`).
fn bare(key: &str, names: &[&str]) -> bool {
    names.contains(&key)
        || (key.ends_with(')')
            && key.split_once('(').is_some_and(|(_, key)| names.contains(&key.trim_end_matches(')'))))
}

/// Whether a key of a Kyverno policy asks rather than sets: all its anchors but `+(…)`.
fn is_condition(key: &str) -> bool {
    key.ends_with(')') && !key.starts_with('+') && key.contains('(')
}
