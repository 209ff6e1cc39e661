use super::candidate::{Candidate, without_transport};
use super::locate::locate;
use super::walk::{Find, Walk};
use super::words::{Hint, key_hint, words};
use super::{Confidence, GroupParts, Part, Parts, around, tags};
use crate::{Style, Yaml, YamlValue};

/// Fields beside a `repository` that make it one of source code or of charts.
const OTHER_REPOSITORIES: &[&str] =
    &["branch", "commit", "revision", "chart", "chartName", "targetRevision", "owner", "git", "semver"];

/// Fields whose image an `imageTag` beside them belongs to.
const WHOLE_IMAGES: &[&str] = &["image", "imagename", "imagerepository", "imagerepo", "repository", "repo"];

/// The tag and registry of a mapping that are for all the images in it.
#[derive(Default)]
struct OfAll<'a> {
    tag: Option<(&'a str, &'a Yaml)>,
    registry: Option<(&'a str, &'a Yaml)>,
}

/// The scalars of a group, each under its key.
struct Group<'a> {
    registry: Option<&'a Yaml>,
    base: &'a Yaml,
    tag: Option<&'a Yaml>,
    digest: Option<&'a Yaml>,
}

/// Records the images whose parts stand in several fields of `node`, a mapping under `key`, and names the
/// fields that are then no images by themselves.
pub(crate) fn find<'a>(walk: &mut Walk, node: &'a Yaml, key: &str) -> Vec<&'a str> {
    let mut taken = Vec::new();
    let entries = node.entries();
    let relevant = |key: &str| {
        ["epo", "mage", "ame"].iter().any(|part| key.contains(part))
            || key.contains("IMAGE")
            || key.contains("REPO")
    };
    if !entries.iter().any(|(name, value)| name.as_str().is_some_and(relevant) && value.as_str().is_some()) {
        return taken;
    }
    if entries.iter().any(|(name, _)| OTHER_REPOSITORIES.contains(&&*name.key())) {
        return taken;
    }
    if let Some(replaced) = replacement(walk, node) {
        return replaced;
    }
    let fields: Vec<(Vec<String>, &'a str, &'a Yaml)> = entries
        .iter()
        .filter_map(|(name, value)| name.as_str().map(|name| (words(name), name, value)))
        .collect();
    // Some write several words as one: `baseimagetag`.
    let joined: Vec<String> = fields.iter().map(|(words, ..)| words.concat()).collect();
    let parent = words(key);
    let under_image = key_hint(whole_of_image(&parent)) == Hint::Image
        || parent.last().is_some_and(|word| word == "images");
    if let Some(taken) = triple(walk, node, under_image).or_else(|| remote(walk, node)) {
        return taken;
    }
    let field = |names: &[&str]| {
        let place = joined.iter().position(|joined| names.contains(&joined.as_str()))?;
        fields.get(place).map(|(_, name, value)| (*name, *value))
    };
    let scalar = |names: &[&str]| field(names).filter(|(_, value)| scalar_text(value).is_some());
    let of_all = match field(WHOLE_IMAGES) {
        None => OfAll {
            tag: scalar(&["imagetag", "imageversion", "imagetagversion"]),
            registry: scalar(&["imageregistry"]),
        },
        Some(_) => OfAll::default(),
    };
    // In a list of images, `name` beside a `repository` is what the image is called.
    let labelled = node.get("repository").and_then(Yaml::as_str).is_some_and(|text| !text.is_empty());
    for (name_words, name, value) in &fields {
        let Some(text) = value.as_str().filter(|text| !text.is_empty()) else { continue };
        let Some(last) = name_words.last() else { continue };
        let prefix = &name_words[..name_words.len() - 1];
        let repository = matches!(last.as_str(), "repository" | "repo");
        let short = under_image && (*name == "image" || (*name == "name" && !labelled));
        let image = key_hint(name_words) == Hint::Image;
        if !(repository || short || image) {
            continue;
        }
        // `imageRepository` goes with `imageTag`; `proxyImage` with `proxyImageTag`, `proxyTag`, `proxyVersion`.
        let whole = name_words.as_slice();
        let mut stems: Vec<&[String]> = vec![prefix];
        if image {
            stems.push(whole);
        }
        if *name == "baseImage" {
            stems.push(&[]);
        }
        if let Some((word, before)) = prefix.split_last()
            && word.ends_with("image")
            && repository
        {
            stems.push(before);
        }
        // A host alone is a registry.
        let host = !text.contains('/') && text.contains('.') && !text.starts_with('.');
        if repository && host && prefix.last().is_some_and(|word| word == "base") {
            walk.base_registry = Part::of(value);
            taken.push(name);
            continue;
        }
        let named = !prefix.is_empty() || last == "baseimage" || under_image;
        let stems: Vec<String> = stems.iter().map(|stem| stem.concat()).collect();
        let part = |ends: &[&str]| {
            fields.iter().zip(&joined).find_map(|((_, name, value), joined)| {
                let rest = |stem: &String| joined.strip_prefix(stem.as_str());
                let fits = stems.iter().filter_map(rest).any(|rest| ends.contains(&rest));
                (fits && scalar_text(value).is_some()).then_some((*name, *value))
            })
        };
        let mut tag = part(&["tag", "imagetag", "imageversion", "defaultimagetag", "defaultimageversion"]);
        // Beside a `repository` alone, a `version` may be that of anything.
        let mut loose = false;
        let mut wide = false;
        if tag.is_none() {
            let whole =
                Candidate::read(text).is_some_and(|candidate| candidate.in_folder_of_known_registry());
            let bare = Candidate::read(text).is_some_and(|candidate| {
                !candidate.has_version() && (candidate.is_path() || (*name == "image" && !walk.machines))
            });
            tag = part(&["version"]).filter(|_| named || whole || (image && bare));
            loose = tag.is_some() && !named;
            // `imageRepository` may be the folder of many images, and the version that of the whole.
            wide = repository && !under_image && tag.is_some_and(|(name, _)| name == "version");
            loose |= wide && !whole && Candidate::read(text).is_some_and(|found| !found.is_short_path());
        }
        let digest = part(&["digest", "imagedigest", "sha", "sha256", "imagesha"]);
        // `crypt-` is a prefix of names, `registry.example.com/crypt` the folder of images.
        let folder =
            |(_, node): &(&str, &Yaml)| node.as_str().is_some_and(|text| !text.ends_with(['-', '_']));
        let mut registry = part(&["registry", "imageregistry"])
            .or_else(|| part(&["prefix", "imageprefix"]).filter(|found| image && folder(found)));
        let own = (tag, registry);
        if image && let Some(plain) = Candidate::read(text).filter(|candidate| !candidate.has_version()) {
            tag = tag.or(of_all.tag.filter(|_| digest.is_none()));
            let versioned = tag.is_some() || digest.is_some();
            registry = registry.or(of_all.registry.filter(|_| versioned && !plain.names_registry()));
        }
        let is_of_all = own.0.is_some() != tag.is_some() || own.1.is_some() != registry.is_some();
        let parts = [registry, tag, digest];
        if parts
            .into_iter()
            .flatten()
            .any(|(_, node)| scalar_text(node).is_some_and(|text| is_placeholder(&text)))
        {
            taken.push(name);
            taken.extend(parts.into_iter().flatten().map(|(name, _)| name));
            continue;
        }
        let group = Group {
            registry: registry.map(|(_, node)| node),
            base: value,
            tag: tag.map(|(_, node)| node),
            digest: digest.map(|(_, node)| node),
        };
        if tag.is_none() && digest.is_none() && several(walk, &group, node, name) {
            taken.push(name);
            taken.extend(registry.map(|(name, _)| name));
            continue;
        }
        if tag.is_none()
            && digest.is_none()
            && !(registry.is_some() && (repository || short))
            && !(repository && under_image)
        {
            let of_image = prefix.last().is_some_and(|word| word.ends_with("image"))
                || ["tag", "pullPolicy", "imagePullPolicy"].iter().any(|key| node.get(key).is_some());
            let fits = |candidate: &Candidate| {
                candidate.is_repository()
                    || (of_image && candidate.is_short_path() && !candidate.has_version())
            };
            if repository && let Some(candidate) = Candidate::read(text).filter(fits) {
                let what = format!("the field `{name}`");
                let find = Find::of_repository(candidate, value, 0..text.len(), &what);
                walk.entry(name, |walk| walk.record(find));
                taken.push(name);
            }
            continue;
        }
        // An image that is whole already is a field like any other.
        if registry.is_none()
            && (digest.is_none() || text.contains('@'))
            && Candidate::read(text).is_some_and(|candidate| candidate.has_version())
        {
            continue;
        }
        if tag.is_none()
            && digest.is_none()
            && registry.is_none()
            && repository
            && node.get("tag").is_none()
            && around::version_around(walk, value, text, name)
        {
            taken.push(name);
            continue;
        }
        // The list's own folder goes before a short name.
        if walk.base.is_some() && *name == "image" && !text.contains(['/', ':', '@']) {
            continue;
        }
        let strong = under_image || image || prefix.last().is_some_and(|word| word.ends_with("image"));
        if record(walk, &group, text, name, strong) {
            if is_of_all && let Some(found) = walk.found.last_mut() {
                found.confidence = found.confidence.min(Confidence::Likely);
                found.reason =
                    format!("put together from `{name}` and fields that are for all images beside it");
            }
            if (loose || wide)
                && let Some(found) = walk.found.last_mut()
            {
                let most = if loose { Confidence::Possible } else { Confidence::Likely };
                if found.confidence > most {
                    found.confidence = most;
                    found.reason.push_str(", though the `version` may be that of the whole");
                }
            }
            taken.push(name);
            taken.extend([tag, digest, registry].into_iter().flatten().map(|(name, _)| name));
        }
    }
    taken
}

/// The images of a repository whose tags stand in a list or mapping beside it; whether there are any. Which of several is
/// asked for is not to be known.
fn several(walk: &mut Walk, group: &Group<'_>, node: &Yaml, name: &str) -> bool {
    let Some(text) = group.base.as_str() else { return false };
    if Candidate::read(text).is_none_or(|candidate| candidate.has_version()) {
        return false;
    }
    let tags = tags::beneath(node);
    let most = if tags.len() == 1 { Confidence::Likely } else { Confidence::Possible };
    let mut any = false;
    for (path, tag) in tags {
        if !record(walk, &Group { tag: Some(tag), ..*group }, text, name, false) {
            continue;
        }
        any = true;
        if let Some(found) = walk.found.last_mut() {
            found.confidence = found.confidence.min(most);
            let several = if most == Confidence::Possible { ", one of several" } else { "" };
            found.reason = format!("put together from `{name}` and the tag `{path}`{several}");
        }
    }
    any
}

/// Whether a text stands for one that is still to be put there: `<tag>`, `${TAG}`, `$(TAG)`, `{{ tag }}`.
pub(crate) fn is_placeholder(text: &str) -> bool {
    (text.starts_with('<') && text.ends_with('>'))
        || ["${", "$(", "{{"].iter().any(|open| text.contains(open))
}

/// The words of a key without those that make `imageSpec` of `image`: what stands below is the image's parts.
fn whole_of_image(words: &[String]) -> &[String] {
    match words.split_last() {
        Some((last, stem)) if matches!(last.as_str(), "spec" | "source") => stem,
        _ => words,
    }
}

/// `repository` as the folder of an `image`, or below a key for images of a `name`, without one: with its
/// `version` or `tag`, and its `registry` in front.
fn triple<'a>(walk: &mut Walk, node: &'a Yaml, under_image: bool) -> Option<Vec<&'a str>> {
    let field = |key: &str| node.get(key).and_then(Yaml::as_str).filter(|text| !text.is_empty());
    let folder = field("repository")?;
    let tag = ["version", "tag"].iter().find_map(|key| node.get(key).and_then(scalar_text));
    // A repository of several parts may be the whole, and the name one for people.
    let plain = folder.split('/').filter(|part| !part.contains(['.', ':'])).count() <= 1;
    // An item of a list is called by its `name`.
    let item = walk.path.ends_with(']');
    let key = match (field("image"), field("name")) {
        (Some(_), _) if tag.is_some() => "image",
        (None, Some(_)) if (under_image || walk.is_about_images()) && plain && !item => "name",
        _ => return None,
    };
    let base = node.get(key)?;
    let text = base.as_str()?;
    if text.contains(['/', ':', '@']) || (key == "name" && text == folder) {
        return None;
    }
    let mut written = format!("{}/{text}", folder.trim_end_matches('/'));
    let registry = field("registry").filter(|registry| !folder.starts_with(registry));
    let has_registry = registry.is_some();
    if let Some(registry) = registry {
        written = format!("{}/{written}", registry.trim_end_matches('/'));
    }
    if let Some(tag) = &tag {
        written = format!("{written}{}{tag}", before_version(tag));
    }
    let candidate = Candidate::read(&written)?;
    let (confidence, version) = match tag {
        Some(_) => (Confidence::Likely, "the version"),
        None => (Confidence::Possible, "no version"),
    };
    let reason = format!("put together from `repository`, `{key}` and {version} beside them");
    let span = locate(base, text, 0..text.len());
    let part = |key: &str| node.get(key).and_then(Part::of).map(|part| part.span);
    let registry = part("registry").filter(|_| has_registry);
    let parts = Parts::Group(GroupParts { registry, folder: part("repository"), ..GroupParts::default() });
    walk.entry(key, |walk| walk.push(candidate, written, span, parts, confidence, reason));
    Some(vec!["registry", "repository", key, "version", "tag"])
}

/// What stands between an image and its version: some write a digest where others write a tag.
fn before_version(version: &str) -> char {
    if version.starts_with("sha256:") { '@' } else { ':' }
}

/// An entry of a manifest of images: `image-name` in the folder `image-remote`, with its tag and digest.
fn remote<'a>(walk: &mut Walk, node: &'a Yaml) -> Option<Vec<&'a str>> {
    let part = |key: &str| node.get(key).and_then(scalar_text);
    let (folder, base) = (Part::of(node.get("image-remote")?)?, node.get("image-name")?);
    let text = base.as_str()?;
    let mut written = format!("{}/{text}", folder.text.trim_end_matches('/'));
    if let Some(tag) = part("image-tag").or_else(|| part("image-version")) {
        written = format!("{written}:{tag}");
    }
    if let Some(digest) = part("image-digest") {
        written = format!("{written}@{digest}");
    }
    let candidate = Candidate::read(&written)?;
    let confidence = if candidate.has_version() { Confidence::Likely } else { Confidence::Possible };
    let reason = "put together from `image-remote`, `image-name` and the fields beside them".to_owned();
    let span = locate(base, text, 0..text.len());
    let parts = Parts::in_folder(&folder.span);
    walk.entry("image-name", |walk| walk.push(candidate, written, span, parts, confidence, reason));
    Some(vec!["image-remote", "image-name", "image-tag", "image-version", "image-digest"])
}

/// What kustomize puts in place of an image: `newName`, `newTag` and `digest` beside `name`.
fn replacement<'a>(walk: &mut Walk, node: &'a Yaml) -> Option<Vec<&'a str>> {
    let new = |key: &str| node.get(key).filter(|node| scalar_text(node).is_some());
    let (name, tag) = (new("newName"), new("newTag"));
    if name.is_none() && tag.is_none() {
        return None;
    }
    let base = name.or_else(|| node.get("name"))?;
    let group = Group { registry: None, base, tag, digest: new("digest") };
    let key = if name.is_some() { "newName" } else { "name" };
    if record(walk, &group, base.as_str()?, key, true)
        && let Some(found) = walk.found.last_mut()
    {
        found.confidence = found.confidence.min(Confidence::Likely);
        found.reason = "what a kustomization puts in place of another image".to_owned();
    }
    Some(vec!["name", "newName", "newTag", "digest"])
}

fn record(walk: &mut Walk, group: &Group<'_>, text: &str, name: &str, strong: bool) -> bool {
    let text = without_transport(text);
    let registry = group.registry.and_then(scalar_text).filter(|registry| {
        // Some write the registry into the repository as well.
        !text.starts_with(&format!("{registry}/"))
    });
    let whole = Candidate::read(text);
    let versioned = whole.as_ref().is_some_and(Candidate::has_version);
    let around = walk.registry.clone().filter(|_| {
        group.registry.and_then(scalar_text).is_none() && whole.is_some_and(|whole| !whole.names_registry())
    });
    let is_around = around.is_some();
    let tag = group.tag.and_then(scalar_text).filter(|_| !versioned);
    let digest = group
        .digest
        .and_then(scalar_text)
        .filter(|_| !text.contains('@'))
        .map(|digest| if digest.contains(':') { digest } else { format!("sha256:{digest}") });
    let mut written = String::new();
    let base_registry =
        walk.base_registry.clone().filter(|_| registry.is_none() && text.starts_with('/')).or(around);
    if let Some(registry) = registry.as_ref().or(base_registry.as_ref().map(|part| &part.text)) {
        written.push_str(registry.trim_end_matches('/'));
        written.push('/');
    }
    written.push_str(text.trim_start_matches('/'));
    if let Some(tag) = &tag {
        written.push(before_version(tag));
        written.push_str(tag);
    }
    if let Some(digest) = &digest {
        written.push('@');
        written.push_str(digest);
    }
    let Some(candidate) = Candidate::read(&written) else { return false };
    if let Some(folder) = &walk.folder
        && candidate.has_version()
        && !candidate.is_path()
        && let Some(inside) = Candidate::read(&format!("{folder}/{written}"))
    {
        let (node, reason) = (group.base, "a name, meant in the registry of the whole".to_owned());
        let span = locate(node, text, 0..text.len());
        let written = format!("{folder}/{written}");
        walk.entry(name, |walk| {
            walk.push(inside, written, span, Parts::Derived, Confidence::Possible, reason);
        });
        return true;
    }
    let confidence = match (candidate.has_version(), strong) {
        (false, _) => Confidence::Possible,
        (true, true) if candidate.is_full() => Confidence::Certain,
        (true, true) if candidate.is_path() || !matches!(name, "name" | "image") => Confidence::Likely,
        (true, true) => Confidence::Possible,
        (true, false) if candidate.is_path() => Confidence::Likely,
        (true, false) => Confidence::Possible,
    };
    let together = format!("put together from `{name}` and the fields beside it");
    let reason = if is_around {
        format!("put together from `{name}`, the fields beside it and the `registry` around it")
    } else if !candidate.has_version() {
        format!("{together}, none of which gives a tag")
    } else if !candidate.is_full() {
        format!("{together}, none of which gives a registry")
    } else if !strong {
        format!("{together}, none of which is named for an image")
    } else {
        together
    };
    let span = |node: &Yaml| {
        let text = node.as_str().unwrap_or_default();
        locate(node, text, 0..text.len())
    };
    let base = group.base.as_str().unwrap_or_default();
    let confidence = if is_around {
        confidence.min(Confidence::Likely)
    } else if text.starts_with('/') && registry.is_none() {
        // Its registry stands elsewhere.
        confidence.min(if base_registry.is_some() { Confidence::Likely } else { Confidence::Possible })
    } else {
        confidence
    };
    let parts = if versioned && registry.is_none() {
        Parts::Whole { plain: group.base.style == Style::Plain, alone: true }
    } else {
        let own = registry.as_ref().and(group.registry).map(span);
        Parts::Group(GroupParts {
            registry: own.or(base_registry.map(|part| part.span)),
            folder: None,
            tag: tag
                .as_ref()
                .and(group.tag)
                .map(|node| if node.as_str().is_some() { span(node) } else { node.span.clone() }),
            digest: digest.as_ref().and(group.digest).map(span),
        })
    };
    let at = locate(group.base, base, base.len() - text.len()..base.len());
    walk.entry(name, |walk| walk.push(candidate, written, at, parts, confidence, reason));
    true
}

/// Whether a mapping is a table of images: two entries or more, and the value of each a path with a version.
pub(crate) fn is_table(node: &Yaml) -> bool {
    let entries = node.entries();
    let versioned = |text: &str| {
        text.contains('/')
            && text.contains([':', '@'])
            && Candidate::read(text).is_some_and(|candidate| candidate.is_versioned_path())
    };
    entries.len() > 1 && entries.iter().all(|(_, value)| value.as_str().is_some_and(versioned))
}

/// The text of a part of a reference: tags such as `1.25` are numbers to YAML.
fn scalar_text(node: &Yaml) -> Option<String> {
    match &node.value {
        YamlValue::String(text) if !text.is_empty() => Some(text.clone()),
        YamlValue::Integer(_) | YamlValue::Float(_) => Some(node.span.text().to_owned()),
        _ => None,
    }
}

/// The text of a tag.
pub(crate) fn version_text(node: &Yaml) -> Option<String> {
    scalar_text(node)
}
