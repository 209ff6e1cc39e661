use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use kic_base::{ImageReference, Source, Span};

use crate::images::{GroupParts, Parts};
use crate::{Found, images, read};

/// A manifest with other references in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rewritten {
    /// The text: byte for byte the one that was read, but for the references.
    pub text: String,
    /// What should have been changed and was not: a reference that does not stand in the text as such (escaped,
    /// folded, in base64), a group without a place for a tag or digest that the new reference has, or a name in a folder that
    /// others share which stay.
    pub left: Vec<Found>,
}

/// Replaces references in the text itself. `change` is asked once a find, and gives the new reference, or
/// nothing where the find stays. Only the bytes of the reference change: quotes, comments, order and line ends
/// are kept, and of a group each part goes to its own field. A field that several images share, such as the folder of all
/// of them, changes where it changes for each.
pub fn rewrite(source: &Source, change: &dyn Fn(&Found) -> Option<String>) -> Rewritten {
    let (objects, _) = read(source);
    let mut plans: Vec<Plan> = images(&objects).into_iter().map(|found| Plan::of(found, change)).collect();
    let edits = loop {
        let (edits, in_the_way) = collect(&mut plans);
        if in_the_way.is_empty() {
            break edits;
        }
        for plan in &mut plans {
            if plan.edits.iter().flatten().any(|(range, _)| in_the_way.contains(&range.start)) {
                plan.edits = None;
            }
        }
    };
    let mut text = String::with_capacity(source.text().len());
    let mut at = 0;
    for (range, new) in edits.into_values() {
        text.push_str(&source.text()[at..range.start]);
        text.push_str(&new);
        at = range.end;
    }
    text.push_str(&source.text()[at..]);
    let left = plans.into_iter().filter(|plan| plan.edits.is_none()).map(|plan| plan.found).collect();
    Rewritten { text, left }
}

/// The bytes to replace, and by what.
type Edit = (Range<usize>, String);

/// Edits by where they begin.
type Edits = BTreeMap<usize, Edit>;

/// What becomes of a find.
struct Plan {
    found: Found,
    /// None where it should change and cannot.
    edits: Option<Vec<Edit>>,
}

impl Plan {
    fn of(found: Found, change: &dyn Fn(&Found) -> Option<String>) -> Self {
        let edits = match change(&found) {
            Some(new) if new != found.written => splices(&found, &new),
            _ => Some(Vec::new()),
        };
        Self { found, edits }
    }

    /// The scalars that name its repository, where it has several parts.
    fn names(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let spans = match &self.found.parts {
            Parts::Group(group) => [group.registry.as_ref(), group.folder.as_ref(), Some(&self.found.span)],
            _ => [None; 3],
        };
        spans.into_iter().flatten().map(Span::range)
    }
}

/// The edits that go together, those of a find that meets another's left out; and where edits begin that would
/// change an image that is to stay, or to become something else.
fn collect(plans: &mut [Plan]) -> (Edits, BTreeSet<usize>) {
    let mut edits = Edits::new();
    let mut references: BTreeMap<usize, ImageReference> = BTreeMap::new();
    for plan in plans.iter_mut() {
        let Some(own) = &plan.edits else { continue };
        if !own.iter().all(|edit| fits(&edits, edit)) {
            plan.edits = None;
            continue;
        }
        for edit in own {
            edits.insert(edit.0.start, edit.clone());
            references.insert(edit.0.start, plan.found.reference.clone());
        }
    }
    let mut in_the_way = BTreeSet::new();
    for plan in plans.iter() {
        for range in plan.names() {
            let own = plan.edits.iter().flatten().any(|(other, _)| *other == range);
            if !own
                && edits.contains_key(&range.start)
                && references.get(&range.start).is_some_and(|other| *other != plan.found.reference)
            {
                in_the_way.insert(range.start);
            }
        }
    }
    (edits, in_the_way)
}

/// Whether an edit is one that is there already, as for a node that several aliases name, or meets none.
fn fits(edits: &Edits, (range, text): &Edit) -> bool {
    match edits.range(..range.end).next_back() {
        Some((_, (other, other_text))) => other.end <= range.start || (other == range && other_text == text),
        None => true,
    }
}

/// The bytes to replace, and by what.
fn splices(found: &Found, new: &str) -> Option<Vec<Edit>> {
    match &found.parts {
        Parts::Derived => None,
        Parts::Whole { plain, alone } => {
            let raw = found.span.text();
            if raw != found.written {
                // Escapes: the scalar is written anew, in its quotes.
                let quote = raw.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
                return (*alone && raw.ends_with(quote))
                    .then(|| vec![(found.span.range(), format!("{quote}{new}{quote}"))]);
            }
            let needs_quotes = *plain && new.contains(['[', ']']);
            match (needs_quotes, *alone) {
                (false, _) => Some(vec![(found.span.range(), new.to_owned())]),
                (true, true) => Some(vec![(found.span.range(), format!("\"{new}\""))]),
                (true, false) => None,
            }
        }
        Parts::Group(parts) => group(found, parts, new),
    }
}

/// The edits of an image that stands in several scalars.
fn group(found: &Found, parts: &GroupParts, new: &str) -> Option<Vec<Edit>> {
    let (old_name, old_tag, old_digest) = split(&found.written);
    let (name, tag, digest) = split(new);
    if name.contains('[') {
        return None;
    }
    let mut edits = Vec::new();
    let mut edit = |span: &Span, text: String| edits.push((span.range(), text));
    if name != old_name {
        let base = found.span.text();
        let before = [&parts.registry, &parts.folder];
        let pieces = before.into_iter().flatten().map(Span::text).chain([base]);
        // Parts that the text holds in another form, such as escapes, cannot be spliced.
        if pieces.map(|piece| piece.trim_matches('/')).collect::<Vec<_>>().join("/") != old_name {
            return None;
        }
        let path = match &parts.registry {
            Some(registry) => {
                let (host, path) = name.split_once('/')?;
                edit(registry, host.to_owned());
                path
            }
            None => name,
        };
        match &parts.folder {
            Some(folder) => {
                edit(folder, path.strip_suffix(base.trim_matches('/'))?.strip_suffix('/')?.to_owned());
            }
            None => {
                let slash = if base.starts_with('/') { "/" } else { "" };
                edit(&found.span, format!("{slash}{path}"));
            }
        }
    }
    // The tag that a reference without one means needs no place.
    if tag != old_tag && !(old_tag.is_none() && tag == Some("latest")) {
        edit(parts.tag.as_ref().filter(|span| Some(span.text()) == old_tag)?, tag?.to_owned());
    }
    if digest != old_digest {
        let (span, new, old) = (parts.digest.as_ref()?, digest?, old_digest?);
        let hex = |digest: &str| digest.split_once(':').map_or(digest, |(_, hex)| hex).to_owned();
        if span.text() == old {
            edit(span, new.to_owned());
        } else if span.text() == hex(old) {
            edit(span, hex(new));
        } else {
            return None;
        }
    }
    Some(edits)
}

/// The name, tag and digest of a reference.
fn split(reference: &str) -> (&str, Option<&str>, Option<&str>) {
    let (named, digest) = match reference.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (reference, None),
    };
    let last = named.rfind('/').map_or(0, |slash| slash + 1);
    match named[last..].split_once(':') {
        Some((base, tag)) => (&named[..last + base.len()], Some(tag), digest),
        None => (named, None, digest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reference to `new.hub:5000`, its path and version kept.
    fn redirect(found: &Found) -> Option<String> {
        let reference = &found.reference;
        let mut new = format!("new.hub:5000/{}", reference.repository());
        if let Some(tag) = reference.tag() {
            new.push(':');
            new.push_str(tag);
        }
        if let Some(digest) = reference.digest() {
            new.push_str(&format!("@{digest}"));
        }
        Some(new)
    }

    #[test]
    fn only_the_bytes_of_references_change() {
        let text = "# größe\r
apiVersion: v1   # keep\r
kind: Pod\r
spec:\r
  containers:\r
  - image:   'quay.io/a/b:1'   # one\r
    args: [--side-image=quay.io/c/d:2, \"--x=quay.io/c/e:3\"]\r
  - image: \"quay.io\\/f\\/g:4\"\r
  - image: &h nginx\r
  - {image: *h, name: i}\r
  other:\r
    image: {registry: quay.io, repository: \"j/k\", tag: 1.25} # group\r
    data: |\r
      image: quay.io/l/m:5 # inside\r
\r
      z: 1\r
---\r
broken: [\r
";
        let expected = text
            .replace("quay.io/a/b:1", "new.hub:5000/a/b:1")
            .replace("quay.io/c/d:2", "new.hub:5000/c/d:2")
            .replace("quay.io/c/e:3", "new.hub:5000/c/e:3")
            .replace("quay.io\\/f\\/g:4", "new.hub:5000/f/g:4")
            .replace("&h nginx", "&h new.hub:5000/library/nginx:latest")
            .replace("registry: quay.io", "registry: new.hub:5000")
            .replace("quay.io/l/m:5", "new.hub:5000/l/m:5");
        let rewritten = rewrite(&Source::new("a.yaml", text), &redirect);
        assert_eq!(rewritten.left, []);
        assert_eq!(rewritten.text, expected);
    }

    #[test]
    fn nothing_changes_where_nothing_is_asked() {
        let text = "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: a}]}";
        assert_eq!(rewrite(&Source::new("a", text), &|_| None).text, text);
    }

    #[test]
    fn addresses_in_brackets_are_quoted_and_what_cannot_be_spliced_is_left() {
        let text = "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: a, args: [--b-image=c/d:1]}]}\n";
        let rewritten = rewrite(&Source::new("a", text), &|_| Some("[::1]:5000/a:1".to_owned()));
        assert_eq!(
            rewritten.text,
            "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: \"[::1]:5000/a:1\", args: [--b-image=c/d:1]}]}\n"
        );
        assert_eq!(rewritten.left.len(), 1);
        let text = "apiVersion: a/v1\nkind: A\nspec:\n  image: {repository: quay.io/a/b, tag: v1}\n";
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let rewritten = rewrite(&Source::new("a", text), &|_| Some(format!("hub/b:1@{digest}")));
        assert_eq!((rewritten.text.as_str(), rewritten.left.len()), (text, 1));
    }
}
