use std::collections::BTreeMap;
use std::ops::Range;

use kic_base::{Source, Span};

use crate::images::Parts;
use crate::{Found, images, read};

/// A manifest with other references in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rewritten {
    /// The text: byte for byte the one that was read, but for the references.
    pub text: String,
    /// What should have been changed and was not: a reference that does not stand in the text as such (escaped,
    /// folded, put together from `hub` and short names), or a group without a place for a tag or digest that the
    /// new reference has.
    pub left: Vec<Found>,
}

/// Replaces references in the text itself. `change` is asked once a find, and gives the new reference, or
/// nothing where the find stays. Only the bytes of the reference change: quotes, comments, order and line ends
/// are kept, and of a group each part goes to its own field.
pub fn rewrite(source: &Source, change: &dyn Fn(&Found) -> Option<String>) -> Rewritten {
    let (objects, _) = read(source);
    let mut edits: BTreeMap<usize, (Range<usize>, String)> = BTreeMap::new();
    let mut left = Vec::new();
    for found in images(&objects) {
        let Some(new) = change(&found) else { continue };
        if new == found.written {
            continue;
        }
        match splices(&found, &new) {
            Some(splices) if splices.iter().all(|splice| fits(&edits, splice)) => {
                for (range, text) in splices {
                    edits.insert(range.start, (range, text));
                }
            }
            _ => left.push(found),
        }
    }
    let mut text = String::with_capacity(source.text().len());
    let mut at = 0;
    for (range, new) in edits.into_values() {
        text.push_str(&source.text()[at..range.start]);
        text.push_str(&new);
        at = range.end;
    }
    text.push_str(&source.text()[at..]);
    Rewritten { text, left }
}

/// Whether an edit is one that is there already, as for a node that several aliases name, or meets none.
fn fits(edits: &BTreeMap<usize, (Range<usize>, String)>, (range, text): &(Range<usize>, String)) -> bool {
    match edits.range(..range.end).next_back() {
        Some((_, (other, other_text))) => other.end <= range.start || (other == range && other_text == text),
        None => true,
    }
}

/// The bytes to replace, and by what.
fn splices(found: &Found, new: &str) -> Option<Vec<(Range<usize>, String)>> {
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
        Parts::Group { registry, tag, digest } => {
            group(found, registry.as_ref(), tag.as_ref(), digest.as_ref(), new)
        }
    }
}

fn group(
    found: &Found,
    registry: Option<&Span>,
    tag: Option<&Span>,
    digest: Option<&Span>,
    new: &str,
) -> Option<Vec<(Range<usize>, String)>> {
    let (named, new_digest) = match new.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (new, None),
    };
    let last = named.rfind('/').map_or(0, |slash| slash + 1);
    let (name, new_tag) = match named[last..].split_once(':') {
        Some((base, tag)) => (&named[..last + base.len()], Some(tag)),
        None => (named, None),
    };
    if name.contains('[') {
        return None;
    }
    let mut splices = Vec::new();
    match registry {
        Some(span) => {
            let (host, path) = name.split_once('/')?;
            splices.push((span.range(), host.to_owned()));
            splices.push((found.span.range(), path.to_owned()));
        }
        None => splices.push((found.span.range(), name.to_owned())),
    }
    match (tag, new_tag) {
        (Some(span), Some(tag)) => splices.push((span.range(), tag.to_owned())),
        (None, None) => {}
        // The tag that a reference without one means needs no place.
        (None, Some("latest")) => {}
        _ => return None,
    }
    match (digest, new_digest) {
        (Some(span), Some(new)) => {
            let hex = new.split_once(':').map_or(new, |(_, hex)| hex);
            let written = if span.text().contains(':') { new } else { hex };
            splices.push((span.range(), written.to_owned()));
        }
        (None, None) => {}
        _ => return None,
    }
    // Parts that the text holds in another form, such as escapes, cannot be spliced.
    let plain = |range: &Range<usize>| {
        let text = &found.span.source().text()[range.clone()];
        !text.contains(['"', '\'', '\\', '\n'])
    };
    splices.iter().all(|(range, _)| plain(range)).then_some(splices)
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
