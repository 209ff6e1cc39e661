//! Marked strings: `($)"${to}/nginx:${tag}"`.
//!
//! `${NAME}` stands for the value of a name, `${NAME.KEY}` for one inside a map, and `$${` for the two characters
//! `${`. A marked string that is one reference and nothing else is the value itself, with its own type.

use kic_base::Span;
use kic_diag::{Diagnostic, declared as code};
use kic_syntax::Value;

use super::binding::{Binding, Form, Scalar};
use super::scope::{Found, Missing, Scope};

/// The longest text that one marked string may become, in bytes.
const LONGEST: usize = 1 << 20;

/// The value of the marked string `text`, written at `span`.
pub(crate) fn interpolate(text: &str, span: &Span, scope: &Scope) -> Result<Found, Missing> {
    let parts = parts(text, span).map_err(Missing::Error)?;
    if let [Part::Reference(path, place)] = parts.as_slice() {
        return scope.look_up(path, place);
    }
    let mut out = String::new();
    let (mut is_of_platform, mut is_unknown) = (false, false);
    // A text that begins with a path is one, too, and relative to the same file.
    let mut path_written: Option<Span> = None;
    for (index, part) in parts.iter().enumerate() {
        let (path, place) = match part {
            Part::Text(text) => {
                out.push_str(text);
                continue;
            }
            Part::Reference(path, place) => (path, place),
        };
        let found = match scope.look_up(path, place) {
            Ok(found) => found,
            Err(Missing::Unknown) => {
                is_unknown = true;
                continue;
            }
            Err(error) => return Err(error),
        };
        is_of_platform |= found.is_of_platform;
        let Binding::Scalar(Scalar { value, span: written, form }) = &found.binding else {
            return Err(Missing::Error(no_text(path, place, &found.binding)));
        };
        let shown = show(value).ok_or_else(|| Missing::Error(no_text(path, place, &found.binding)))?;
        out.push_str(&shown);
        if *form == Form::Path && (index == 0 || index == 1 && is_scheme(&parts[0])) {
            path_written = Some(written.clone());
        }
        if out.len() > LONGEST {
            let error = Diagnostic::new(&code::TOO_LARGE, "the string becomes longer than 1 MiB")
                .at(span, "this one")
                .help("put long texts into files");
            return Err(Missing::Error(error));
        }
    }
    if is_unknown {
        return Err(Missing::Unknown);
    }
    let form = if path_written.is_some() { Form::Path } else { Form::Any };
    let span = path_written.unwrap_or_else(|| span.clone());
    Ok(Found { binding: Binding::Scalar(Scalar { value: Value::String(out), span, form }), is_of_platform })
}

/// Whether a path behind it stays one: `oci:`, `oci-archive:` and `docker-archive:` name an image on disk.
fn is_scheme(part: &Part) -> bool {
    matches!(part, Part::Text(text) if ["oci:", "oci-archive:", "docker-archive:"].contains(&text.as_str()))
}

/// Whether the marked string `text` is well formed, and every name in it is one; what their values are is left open.
pub(crate) fn check(text: &str, span: &Span, scope: &Scope) -> Result<(), Diagnostic> {
    for part in parts(text, span)? {
        if let Part::Reference(path, place) = part {
            scope.check(&path, &place)?;
        }
    }
    Ok(())
}

/// Whether `path` is `NAME` or `NAME.KEY…`.
pub(crate) fn is_path(path: &str) -> bool {
    path.split('.').all(|word| {
        word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    })
}

fn no_text(path: &str, place: &Span, binding: &Binding) -> Diagnostic {
    let what = binding.describe();
    let diagnostic =
        Diagnostic::new(&code::WRONG_TYPE, format!("`{path}` is {what}, and cannot stand inside a string"))
            .at(place, "used here");
    let diagnostic = match binding.span() {
        Some(written) => diagnostic.at(written, "its value is this"),
        None => diagnostic,
    };
    diagnostic.help(match binding {
        Binding::Scalar(_) => "give it a value, or leave the reference out".to_owned(),
        Binding::Map(map) => match map.fields.keys().next() {
            Some(key) => format!("name what is meant inside it: `${{{path}.{key}}}`"),
            None => "it is empty".to_owned(),
        },
        _ => format!("go over it with `for \"one\" in=($)\"${{{path}}}\" {{ … }}`, or use it alone: `($)\"${{{path}}}\"`"),
    })
}

/// A scalar as a text.
fn show(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Bool(bool) => Some(bool.to_string()),
        Value::Null => None,
    }
}

enum Part {
    Text(String),
    /// A path, and where it stands.
    Reference(String, Span),
}

fn parts(text: &str, span: &Span) -> Result<Vec<Part>, Diagnostic> {
    // Where the text begins in the source; none where it is written in another way, with escapes.
    let begin = span.text().find(text).map(|at| span.range().start + at);
    let place = |start: usize, length: usize| match begin {
        Some(begin) => span.source().span(begin + start..begin + start + length),
        None => span.clone(),
    };
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut at = 0;
    while let Some(dollar) = text[at..].find('$') {
        plain.push_str(&text[at..at + dollar]);
        at += dollar;
        let rest = &text[at..];
        if rest.starts_with("$${") {
            plain.push_str("${");
            at += 3;
        } else if let Some(inner) = rest.strip_prefix("${") {
            let Some(end) = inner.find('}') else {
                return Err(Diagnostic::new(&code::INVALID_REFERENCE, "a `${` without its `}`")
                    .at(&place(at, 2), "it begins here")
                    .help("close it, or write `$${` for the two characters themselves"));
            };
            let path = inner[..end].trim();
            let place = place(at, end + 3);
            if !is_path(path) {
                return Err(Diagnostic::new(&code::INVALID_REFERENCE, format!("`{}` names no value", place_text(&inner[..end])))
                    .at(&place, "this is no name")
                    .help("between the braces stands a name, such as `${version}` or `${platform.arch}`; for the two characters `${` themselves write `$${`"));
            }
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Reference(path.to_owned(), place));
            at += end + 3;
        } else {
            plain.push('$');
            at += 1;
        }
    }
    plain.push_str(&text[at..]);
    if !plain.is_empty() || parts.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(parts)
}

/// `${…}` with its beginning, fit for a message.
fn place_text(inner: &str) -> String {
    let short: String = inner.chars().map(|c| if c.is_control() { ' ' } else { c }).take(40).collect();
    let cut = if short.chars().count() < inner.chars().count() { "…" } else { "" };
    format!("${{{short}{cut}}}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kic_base::Source;

    fn value(text: &str) -> Result<Value, &'static str> {
        let source = Source::new("a.kdl", format!("{text:?}"));
        let span = source.span(0..source.text().len());
        let scalar = |value: Value| Binding::scalar(value, span.clone());
        let platform = Binding::map([("arch".to_owned(), scalar("arm64".into()))].into(), span.clone());
        let mut scope = Scope::new(std::sync::Arc::new([("platform", platform)].into()));
        scope.add("tag", scalar("v1".into()));
        scope.add("replicas", scalar(3.into()));
        scope.add("broken", Binding::Unknown);
        match interpolate(text, &span, &scope) {
            Ok(Found { binding: Binding::Scalar(scalar), .. }) => Ok(scalar.value),
            Ok(_) => Err("map"),
            Err(Missing::Unknown) => Err("unknown"),
            Err(Missing::Error(error)) => Err(error.code.name),
        }
    }

    #[test]
    fn references_become_their_values_and_a_single_one_keeps_its_type() {
        assert_eq!(value("${tag}/x"), Ok("v1/x".into()));
        assert_eq!(value("a-${platform.arch}-${replicas}"), Ok("a-arm64-3".into()));
        assert_eq!(value("${replicas}"), Ok(3.into()));
        assert_eq!(value("cost: $5 $${tag} ${ tag }"), Ok("cost: $5 ${tag} v1".into()));
        assert_eq!(value("{{ element.name }} $(date)"), Ok("{{ element.name }} $(date)".into()));
        assert_eq!(value("ü${tag}ü$"), Ok("üv1ü$".into()));
        assert_eq!(value(""), Ok("".into()));
    }

    #[test]
    fn references_that_lead_nowhere_are_errors() {
        assert_eq!(value("${tga}"), Err("unknown-variable"));
        assert_eq!(value("${tag.x}"), Err("unknown-variable"));
        assert_eq!(value("${platform.os}"), Err("unknown-variable"));
        assert_eq!(value("${tag"), Err("invalid-reference"));
        assert_eq!(value("${}"), Err("invalid-reference"));
        assert_eq!(value("${a b}"), Err("invalid-reference"));
        assert_eq!(value("x${platform}"), Err("wrong-type"));
        assert_eq!(value("${platform}"), Err("map"));
    }

    #[test]
    fn what_is_made_of_an_unknown_value_is_unknown_unless_it_is_wrong_anyway() {
        assert_eq!(value("${broken}"), Err("unknown"));
        assert_eq!(value("${broken.x}-${tag}"), Err("unknown"));
        assert_eq!(value("${broken}-${tga}"), Err("unknown-variable"));
    }

    #[test]
    fn the_place_of_a_reference_is_its_own() {
        let source = Source::new("a.kdl", "($)\"${a} ${b} ${b}\"");
        let span = source.span(3..source.text().len());
        let Ok(parts) = parts("${a} ${b} ${b}", &span) else { panic!("it is well formed") };
        let places: Vec<_> = parts
            .iter()
            .filter_map(|part| if let Part::Reference(_, place) = part { Some(place.range()) } else { None })
            .collect();
        assert_eq!(places, [4..8, 9..13, 14..18]);
    }
}
