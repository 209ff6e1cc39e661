//! Discovery over structure: the fields of an object are looked at by their shape, their names and their
//! values together, and never a line by itself.
//!
//! | where | by | at most |
//! |---|---|---|
//! | `containers`, `initContainers`, `ephemeralContainers`, image volumes, a mapping that is a container by its other fields | `fields` | certain |
//! | a field named for an image; `repository` and `tag` groups | `strings`, `group`, `around` | certain when full |
//! | arguments, variables, parameters, settings | `settings` | likely |
//! | YAML, JSON, settings and commands inside strings | `embedded` | likely |
//! | YAML and JSON in the data of Secrets | `encoded` | likely |
//! | sources of Flux, Argo CD, kustomize and Cluster API | `sources` | likely |
//! | tags in lists and mappings beneath a repository | `tags` | likely when it is one |
//! | variables that complete each other: repository and version, name and checksum | `variables` | likely |
//! | what policies in CEL write | `expressions` | likely |
//! | defaults in schemas | `schema` | possible |
//!
//! Everything that is not a well-formed reference (templates, patterns, URLs, paths) falls through.

mod around;
mod candidate;
mod embedded;
mod encoded;
mod expressions;
mod fields;
mod gaps;
mod group;
mod kinds;
mod locate;
mod schema;
mod settings;
mod sources;
mod strings;
mod tags;
mod variables;
mod walk;
mod words;

pub(crate) use encoded::decode;
use kic_base::{ImageReference, Source, Span};

use crate::stream::documents;
use crate::{Object, YamlError};

/// An image that a manifest names.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The image, written out in full.
    pub reference: ImageReference,
    /// The reference as the manifest writes it; that of a group, put together.
    pub written: String,
    /// Where it is written: the reference alone, without quotes, flag or surrounding text, where the text has
    /// it in one piece; else the scalar around it. Of a group, the repository.
    pub span: Span,
    /// The object, such as `Deployment kyverno/kyverno`.
    pub object: String,
    /// The field, such as `spec.template.spec.containers[0].image`; inside a string, the field that holds the
    /// string, ` > `, and the field in it.
    pub path: String,
    /// The name of the container that runs it, where one does.
    pub container: Option<String>,
    /// How sure it is that the cluster will ask for it.
    pub confidence: Confidence,
    /// Why, in plain English, as the end of "because it is …".
    pub reason: String,
    /// The scalars that make it up.
    pub(crate) parts: Parts,
}

/// How sure it is that a find is an image that the cluster will ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// It may be: the author decides.
    Possible,
    /// It most likely is.
    Likely,
    /// It is.
    Certain,
}

impl Confidence {
    /// The confidence of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Possible, Self::Likely, Self::Certain].into_iter().find(|confidence| confidence.name() == name)
    }

    /// Its name, in one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }
}

/// What of the text makes up a reference.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Parts {
    /// The span of the find holds all of it. `plain`: it stands in a scalar without quotes; `alone`: nothing
    /// else stands in its scalar.
    Whole { plain: bool, alone: bool },
    /// Several scalars; the span of the find is that of the repository, or of the name in a folder.
    Group(GroupParts),
    /// It was put together from more than stands there.
    Derived,
}

/// The scalars before and behind a repository, where they stand in the text.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct GroupParts {
    /// A host, before the rest.
    pub(crate) registry: Option<Span>,
    /// A folder of a registry, in which the rest is a name.
    pub(crate) folder: Option<Span>,
    pub(crate) tag: Option<Span>,
    pub(crate) digest: Option<Span>,
}

impl Parts {
    /// A repository whose version stands elsewhere.
    pub(crate) fn repository() -> Self {
        Self::Group(GroupParts::default())
    }

    /// A name in a folder that stands elsewhere, as its version does.
    pub(crate) fn in_folder(folder: &Span) -> Self {
        Self::Group(GroupParts { folder: Some(folder.clone()), ..GroupParts::default() })
    }
}

/// A scalar that is a part of references which stand elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// A place where the cluster may get an image from that kic cannot know.
#[derive(Debug, Clone, PartialEq)]
pub struct Gap {
    /// Why it cannot.
    pub kind: GapKind,
    /// What stands there: what should be an image, or a version.
    pub written: String,
    /// Where it stands.
    pub span: Span,
    /// The object, such as `Deployment kyverno/kyverno`.
    pub object: String,
    /// The field, such as `spec.version`.
    pub path: String,
}

/// Why an image cannot be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GapKind {
    /// A container's image is no reference.
    Unreadable,
    /// An object of that kind, `Kind.group`, has a version, and names no image: its operator has the names.
    Versioned(String),
}

/// What objects say of images.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Discovery {
    /// The images, in the order of the text. One image named in several places is found in each of them.
    pub found: Vec<Found>,
    /// What is left open.
    pub gaps: Vec<Gap>,
}

/// Every image that the objects name, and what they leave open.
pub fn discover(objects: &[Object]) -> Discovery {
    let mut discovery = Discovery::default();
    for object in objects {
        walk::object(object, &mut discovery);
    }
    discovery
}

/// Every image that the objects name, as [`discover`] finds them.
pub fn images(objects: &[Object]) -> Vec<Found> {
    discover(objects).found
}

/// Every image that a YAML text of any kind names: a chart's `Chart.yaml` (its annotations) or values, a
/// kustomization. Nothing in it is more than likely.
pub fn images_of_text(source: &Source) -> (Vec<Found>, Vec<YamlError>) {
    let (documents, errors) = documents(source);
    let mut found = Vec::new();
    for document in &documents {
        found.append(&mut walk::document(document, source.name()));
    }
    (found, errors)
}
