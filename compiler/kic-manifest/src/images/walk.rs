use std::collections::BTreeMap;
use std::ops::Range;

use super::candidate::Candidate;
use super::kinds::{FOREIGN_WITHOUT_IMAGES, GROUPS_WITHOUT_IMAGES, WITHOUT_IMAGES};
use super::locate::locate;
use super::{
    Confidence, Discovery, Found, Gap, Part, Parts, around, expressions, gaps, group, settings as setting,
    sources,
};
use crate::{Object, Style, Yaml};

/// The images of one object, and what it leaves open.
pub(crate) fn object(object: &Object, discovery: &mut Discovery) {
    let mut walk = Walk::new(object.title(), Confidence::Certain, "");
    walk.object(&object.root, &object.api_version, &object.kind);
    if walk.gaps.is_empty() {
        discovery.gaps.extend(gaps::versioned(object).filter(|gap| !gaps::is_named(gap, &walk.found)));
    }
    discovery.found.append(&mut walk.found);
    discovery.gaps.append(&mut walk.gaps);
}

/// The images of a document that is no object.
pub(crate) fn document(root: &Yaml, name: &str) -> Vec<Found> {
    let mut walk = Walk::new(name.to_owned(), Confidence::Likely, "in a text that is no object");
    if let Some(annotations) = root.get("annotations") {
        walk.entry("annotations", |walk| setting::annotations(walk, annotations));
    }
    walk.versioned_elsewhere = versioned_beside(root);
    walk.folder = around::folder(root);
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
    pub(crate) gaps: Vec<Gap>,
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
    /// Whether the object is of a kind of Kubernetes itself.
    pub(crate) own: bool,
    /// Whether the object is a pattern for others, with parameters in it.
    pub(crate) is_template: bool,
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
    pub(super) under_image: Under,
    /// Whether the version of an image without one may stand elsewhere.
    pub(crate) versioned_elsewhere: bool,
    /// Whether what is at hand is a text of settings in which no version stands.
    pub(crate) versionless: bool,
    /// Whether the mapping at hand is one of settings, such as the data of a ConfigMap.
    pub(super) settings: bool,
    /// Whether each value of the mapping at hand is a path with a version.
    pub(super) table: bool,
}

/// Whether the mapping at hand stands under a key that is named for images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Under {
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
    /// A string that is a reference as a whole.
    pub(crate) fn whole(candidate: Candidate, node: &'a Yaml, confidence: Confidence, reason: &str) -> Self {
        let part = 0..node.as_str().unwrap_or_default().len();
        Self { candidate, node, part, confidence, reason: reason.to_owned() }
    }

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
            gaps: Vec::new(),
            cap,
            because,
            hub: None,
            default_tag: None,
            level: 0,
            kyverno: false,
            secret: false,
            machines: false,
            own: false,
            is_template: false,
            variables: BTreeMap::new(),
            base: None,
            folder: None,
            base_registry: None,
            registry: None,
            version: None,
            under_image: Under::Nothing,
            versioned_elsewhere: false,
            versionless: false,
            settings: false,
            table: false,
        }
    }

    /// An object, at the top of a document or of a string.
    pub(crate) fn object(&mut self, root: &Yaml, api_version: &str, kind: &str) {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let own = !group.contains('.') || group.ends_with(".k8s.io");
        self.own = own;
        self.is_template = kind == "Template";
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
        self.folder = around::folder(root);
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
pub(super) fn versioned_beside(node: &Yaml) -> bool {
    ["version", "tag", "imageTag", "imageVersion", "image_version"].iter().any(|key| node.get(key).is_some())
}
