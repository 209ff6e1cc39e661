use std::collections::{BTreeMap, BTreeSet};

use kic_base::{Digest, Epoch, ImageReference, Platform, Source, Span};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_syntax::{Node, Plain, Value};

/// The version of the lock's form that this kic writes.
const VERSION: i128 = 1;

/// What the language cannot resolve without the network, by digest: `kic.lock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// The encoder epoch that the image is built with.
    pub epoch: Epoch,
    /// What each image reference stood for, by the reference written out in full.
    pub images: BTreeMap<ImageReference, ImagePin>,
    /// What each URL gave.
    pub fetches: BTreeMap<String, FetchPin>,
    /// What each chart of a repository or registry stood for.
    pub charts: BTreeMap<ChartKey, ChartPin>,
}

/// What an image reference stood for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePin {
    /// The digest of the index, or of the manifest where the registry has no index.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// The manifests of the platforms that were asked for. For an image without index, its one manifest under
    /// its own platform.
    pub platforms: BTreeMap<Platform, Digest>,
    /// What refers to it, where that was asked for.
    pub referrers: Option<BTreeSet<ReferrerPin>>,
}

/// Something that refers to an image: a signature, an attestation, a bill of materials.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReferrerPin {
    /// The digest of what it refers to.
    pub subject: Digest,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The media type of that.
    pub media_type: String,
    /// The size of that in bytes.
    pub size: u64,
    /// The tag under which it is kept; `None` where the registry lists it.
    pub tag: Option<String>,
}

/// What a URL gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchPin {
    /// Its digest.
    pub sha256: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// A chart as a spec names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChartKey {
    /// `oci://REFERENCE`, or the name in a repository.
    pub name: String,
    /// The address of the repository.
    pub repo: Option<String>,
    /// The version that the spec asks for; for `oci://` it is in the reference.
    pub version: Option<String>,
}

/// What the name of a chart stood for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChartPin {
    /// The version that was chosen, and the address of its archive, in a repository.
    pub archive: Option<(String, String)>,
    /// The digest of the manifest, in a registry.
    pub manifest: Option<Digest>,
    /// The digest of the archive.
    pub sha256: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl Default for Lock {
    fn default() -> Self {
        Self {
            epoch: Epoch::CURRENT,
            images: BTreeMap::new(),
            fetches: BTreeMap::new(),
            charts: BTreeMap::new(),
        }
    }
}

impl Lock {
    /// Reads a lock.
    ///
    /// # Errors
    /// `invalid-lock` and `lock-newer`, and what the text has of KDL's own errors.
    pub fn parse(source: &Source) -> Result<Self, Diagnostics> {
        if let Some(marker) = conflict_marker(source) {
            return Err(Diagnostic::new(
                &code::INVALID_LOCK,
                format!("`{}` has an unresolved merge conflict", source.name()),
            )
            .at(&marker, "it begins here")
            .help("keep either side whole, and run `kic lock`, which adds what that side lacks")
            .into());
        }
        let (file, mut diagnostics) = kic_syntax::parse(source);
        if diagnostics.has_errors() {
            return Err(diagnostics);
        }
        let mut lock = Self::default();
        let invalid = |span: &Span, text: &str| {
            Diagnostic::new(&code::INVALID_LOCK, format!("`{}` is not a lock that kic wrote", source.name()))
                .at(span, text)
                .help("restore it from version control, or delete it and run `kic lock` to resolve everything anew")
        };
        let [node] = file.nodes.as_slice() else {
            return Err(invalid(&source.span(0..0), "expected one `lock` node").into());
        };
        if node.name.value != "lock" {
            return Err(invalid(&node.name.span, "expected one `lock` node").into());
        }
        match integer(node, "version") {
            Some(VERSION) => {}
            Some(newer) if newer > VERSION => {
                return Err(Diagnostic::new(
                    &code::LOCK_NEWER,
                    format!("the lock has version {newer}, and this kic reads {VERSION}"),
                )
                .at(&node.head(), "")
                .help("use the kic that wrote it, or a newer one")
                .into());
            }
            _ => return Err(invalid(&node.head(), "expected `version=1`").into()),
        }
        match integer(node, "epoch").and_then(|number| u32::try_from(number).ok()) {
            Some(number) => match Epoch::from_number(number) {
                Some(epoch) => lock.epoch = epoch,
                None => {
                    return Err(Diagnostic::new(
                        &code::LOCK_NEWER,
                        format!("this kic cannot build encoder epoch {number}"),
                    )
                    .at(&node.head(), "")
                    .help("use the kic that wrote the lock, or a newer one")
                    .into());
                }
            },
            None => return Err(invalid(&node.head(), "expected `epoch=…`").into()),
        }
        for child in node.children() {
            let read = match child.name.value.as_str() {
                "image" => {
                    read_image(child).is_some_and(|(name, pin)| lock.images.insert(name, pin).is_none())
                }
                "fetch" => {
                    read_fetch(child).is_some_and(|(url, pin)| lock.fetches.insert(url, pin).is_none())
                }
                "chart" => read_chart(child).is_some_and(|(key, pin)| lock.charts.insert(key, pin).is_none()),
                // Kept for modules of registries, which kic does not know yet.
                "module" => {
                    diagnostics.push(
                        Diagnostic::new(
                            &code::LOCK_NEWER,
                            "the lock pins a module of a registry, and this kic uses none",
                        )
                        .at(&child.span, "")
                        .help("use the kic that wrote it, or a newer one"),
                    );
                    continue;
                }
                _ => false,
            };
            if !read {
                diagnostics.push(invalid(&child.span, "this entry is not well formed, or stands twice"));
            }
        }
        diagnostics.or(lock).map(|(lock, _)| lock)
    }

    /// The text of `kic.lock`: one line a pin, sorted, made to be read in a diff.
    pub fn to_text(&self) -> String {
        let mut children = Vec::new();
        for (key, pin) in &self.charts {
            let text = |text: &String| Value::String(text.clone());
            let mut node = Plain::new("chart").argument(text(&key.name));
            for (name, value) in [("repo", &key.repo), ("version", &key.version)] {
                if let Some(value) = value {
                    node = node.property(name, text(value));
                }
            }
            if let Some((version, url)) = &pin.archive {
                node = node.property("is", text(version)).property("url", text(url));
            }
            if let Some(digest) = &pin.manifest {
                node = node.property("digest", Value::String(digest.to_string()));
            }
            children.push(
                node.property("sha256", Value::String(pin.sha256.hex()))
                    .property("size", Value::Integer(pin.size.into())),
            );
        }
        for (url, pin) in &self.fetches {
            children.push(
                Plain::new("fetch")
                    .argument(Value::String(url.clone()))
                    .property("sha256", Value::String(pin.sha256.hex()))
                    .property("size", Value::Integer(pin.size.into())),
            );
        }
        for (reference, pin) in &self.images {
            let platforms = pin.platforms.iter().map(|(platform, digest)| {
                Plain::new("platform")
                    .argument(Value::String(platform.to_string()))
                    .property("digest", Value::String(digest.to_string()))
            });
            let mut image = Plain::new("image")
                .argument(Value::String(reference.to_string()))
                .property("digest", Value::String(pin.digest.to_string()))
                .property("media-type", Value::String(pin.media_type.clone()))
                .property("size", Value::Integer(pin.size.into()));
            // It says that they were asked for, also where there are none.
            if pin.referrers.is_some() {
                image = image.property("referrers", Value::Bool(true));
            }
            let referrers = pin.referrers.iter().flatten().map(referrer);
            children.push(image.children(platforms.chain(referrers)));
        }
        let lock = Plain::new("lock")
            .property("version", Value::Integer(VERSION))
            .property("epoch", Value::Integer(self.epoch.number().into()))
            .children(children);
        format!(
            "// Written by kic: what every tag and URL stood for. Commit it; `kic lock --update` moves it.\n{lock}"
        )
    }
}

fn referrer(pin: &ReferrerPin) -> Plain {
    let node = Plain::new("referrer")
        .argument(Value::String(pin.digest.to_string()))
        .property("media-type", Value::String(pin.media_type.clone()))
        .property("size", Value::Integer(pin.size.into()))
        .property("subject", Value::String(pin.subject.to_string()));
    match &pin.tag {
        Some(tag) => node.property("tag", Value::String(tag.clone())),
        None => node,
    }
}

/// The line where git, or a program like it, began to write both sides of a conflict.
fn conflict_marker(source: &Source) -> Option<Span> {
    let mut start = 0;
    for line in source.text().split_inclusive('\n') {
        if line.starts_with("<<<<<<<") {
            return Some(source.span(start..start + line.trim_end().len()));
        }
        start += line.len();
    }
    None
}

fn integer(node: &Node, name: &str) -> Option<i128> {
    match node.property(name)?.value {
        Value::Integer(number) => Some(number),
        _ => None,
    }
}

fn text<'a>(node: &'a Node, name: &str) -> Option<&'a str> {
    match &node.property(name)?.value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn first_argument(node: &Node) -> Option<&str> {
    match &node.arguments().next()?.value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn read_image(node: &Node) -> Option<(ImageReference, ImagePin)> {
    let reference: ImageReference = first_argument(node)?.parse().ok()?;
    let mut platforms = BTreeMap::new();
    let mut referrers = match node.property("referrers").map(|entry| &entry.value) {
        None => None,
        Some(Value::Bool(true)) => Some(BTreeSet::new()),
        Some(_) => return None,
    };
    for child in node.children() {
        let is_new = match child.name.value.as_str() {
            "platform" => {
                let digest = text(child, "digest")?.parse().ok()?;
                platforms.insert(first_argument(child)?.parse().ok()?, digest).is_none()
            }
            "referrer" => referrers.as_mut()?.insert(read_referrer(child)?),
            _ => false,
        };
        if !is_new {
            return None;
        }
    }
    let pin = ImagePin {
        digest: text(node, "digest")?.parse().ok()?,
        media_type: text(node, "media-type")?.to_owned(),
        size: integer(node, "size")?.try_into().ok()?,
        platforms,
        referrers,
    };
    Some((reference, pin))
}

fn read_referrer(node: &Node) -> Option<ReferrerPin> {
    Some(ReferrerPin {
        subject: text(node, "subject")?.parse().ok()?,
        digest: first_argument(node)?.parse().ok()?,
        media_type: text(node, "media-type")?.to_owned(),
        size: integer(node, "size")?.try_into().ok()?,
        tag: match node.property("tag") {
            None => None,
            Some(_) => Some(text(node, "tag").filter(|tag| is_tag(tag))?.to_owned()),
        },
    })
}

/// Whether a text can be a tag, and so a part of a path.
fn is_tag(text: &str) -> bool {
    format!("a:{text}").parse::<ImageReference>().is_ok_and(|reference| reference.tag() == Some(text))
}

fn read_fetch(node: &Node) -> Option<(String, FetchPin)> {
    let pin = FetchPin {
        sha256: Digest::from_hex(text(node, "sha256")?).ok()?,
        size: integer(node, "size")?.try_into().ok()?,
    };
    Some((first_argument(node)?.to_owned(), pin))
}

fn read_chart(node: &Node) -> Option<(ChartKey, ChartPin)> {
    let owned = |name: &str| text(node, name).map(str::to_owned);
    let key =
        ChartKey { name: first_argument(node)?.to_owned(), repo: owned("repo"), version: owned("version") };
    let manifest = match text(node, "digest") {
        Some(digest) => Some(digest.parse().ok()?),
        None => None,
    };
    let archive = match (owned("is"), owned("url")) {
        (Some(version), Some(url)) => Some((version, url)),
        (None, None) => None,
        _ => return None,
    };
    if archive.is_some() == manifest.is_some() || archive.is_some() != key.repo.is_some() {
        return None;
    }
    let (sha256, size) =
        (Digest::from_hex(text(node, "sha256")?).ok()?, integer(node, "size")?.try_into().ok()?);
    Some((key, ChartPin { archive, manifest, sha256, size }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_reads_back_what_was_written() {
        let mut lock = Lock::default();
        let digest = Digest::of(b"x");
        let platforms = BTreeMap::from([("linux/amd64".parse().unwrap(), Digest::of(b"y"))]);
        let media_type = "application/x".to_owned();
        let pin = ImagePin { digest, media_type: media_type.clone(), size: 7, platforms, referrers: None };
        lock.images.insert("nginx".parse().unwrap(), pin.clone());
        lock.images
            .insert("none".parse().unwrap(), ImagePin { referrers: Some(BTreeSet::new()), ..pin.clone() });
        let referrer =
            |tag| ReferrerPin { subject: digest, digest, media_type: media_type.clone(), size: 9, tag };
        let referrers = Some(BTreeSet::from([referrer(None), referrer(Some("sha256-0.sig".to_owned()))]));
        lock.images.insert("some".parse().unwrap(), ImagePin { referrers, ..pin });
        lock.fetches.insert("https://e.com/a\"b".into(), FetchPin { sha256: digest, size: u64::MAX });
        let key = |name: &str, repo: Option<&str>, version: Option<&str>| ChartKey {
            name: name.into(),
            repo: repo.map(str::to_owned),
            version: version.map(str::to_owned),
        };
        let archive = Some(("1.2.3".to_owned(), "https://e.com/a.tgz".to_owned()));
        let pin = ChartPin { archive, manifest: None, sha256: digest, size: 9 };
        lock.charts.insert(key("a", Some("https://e.com"), None), pin.clone());
        lock.charts.insert(key("a", Some("https://e.com"), Some("v1.2.3")), pin);
        let pin = ChartPin { archive: None, manifest: Some(digest), sha256: digest, size: 9 };
        lock.charts.insert(key("oci://e.com/a:1", None, None), pin);
        let text = lock.to_text();
        assert_eq!(Lock::parse(&Source::new("kic.lock", text.clone())), Ok(lock), "{text}");
    }

    #[test]
    fn damaged_and_newer_locks_are_refused() {
        let codes = |text: &str| match Lock::parse(&Source::new("kic.lock", text)) {
            Ok(_) => Vec::new(),
            Err(diagnostics) => diagnostics.iter().map(|diagnostic| diagnostic.code.name).collect(),
        };
        assert_eq!(codes("lock version=1 epoch=1"), Vec::<&str>::new());
        assert_eq!(codes("lock version=2 epoch=1"), ["lock-newer"]);
        assert_eq!(codes("lock version=1 epoch=99"), ["lock-newer"]);
        for text in [
            "",
            "lock",
            "other version=1 epoch=1",
            "lock version=1 epoch=1 { image nginx; }",
            "lock version=1 epoch=1 { fetch \"https://e.com\" sha256=\"00\" size=1; }",
            "lock version=1 epoch=1 { chart \"a\" sha256=\"00\" size=1; }",
            "lock version=1 epoch=1 { unknown; }",
        ] {
            assert_eq!(codes(text), ["invalid-lock"], "{text}");
        }
    }
}
