//! Marked strings: `($)"${to}/nginx:${tag}"`.
//!
//! `${NAME}` stands for the value of a name, `${NAME.KEY}` for one inside a map, and `$${` for the two characters
//! `${`. A marked string that is one reference and nothing else is the value itself, with its own type.

use std::path::{Component, Path, PathBuf};

use kic_base::Span;
use kic_diag::{Diagnostic, declared as code};
use kic_syntax::Value;

use super::binding::{Binding, Scope};

/// The longest text that one marked string may become, in bytes.
const LONGEST: usize = 1 << 20;

/// The value of the marked string `text`, written at `span`.
pub(crate) fn interpolate(text: &str, span: &Span, scope: &Scope) -> Result<Binding, Diagnostic> {
    let parts = parts(text, span)?;
    if let [Part::Reference(path)] = parts.as_slice() {
        return scope.look_up(path, &place(span, path)).cloned();
    }
    let mut out = String::new();
    let mut is_path = false;
    for (index, part) in parts.iter().enumerate() {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Reference(path) => {
                let place = place(span, path);
                match scope.look_up(path, &place)? {
                    Binding::Scalar { value, span: written, is_path: value_is_path } => {
                        let shown = show(value).ok_or_else(|| not_text(path, &place, "`#null`", written))?;
                        if *value_is_path && index == 0 {
                            is_path = true;
                            out.push_str(&relative(&shown, written, span));
                        } else {
                            out.push_str(&shown);
                        }
                    }
                    other => return Err(not_text(path, &place, other.describe(), other.span())),
                }
            }
        }
        if out.len() > LONGEST {
            return Err(Diagnostic::new(&code::TOO_LARGE, "the string becomes longer than 1 MiB")
                .at(span, "this one")
                .help("put long texts into files"));
        }
    }
    Ok(Binding::Scalar { value: Value::String(out), span: span.clone(), is_path })
}

fn not_text(path: &str, place: &Span, what: &str, written: &Span) -> Diagnostic {
    Diagnostic::new(&code::WRONG_TYPE, format!("`{path}` is {what}, and cannot stand inside a string"))
        .at(place, "used here")
        .at(written, "its value is this")
        .help("a list or map is used with `for`, or alone, as `($)\"${name}\"`")
}

/// A scalar as a text.
pub(crate) fn show(value: &Value) -> Option<String> {
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
    Reference(String),
}

fn parts(text: &str, span: &Span) -> Result<Vec<Part>, Diagnostic> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        plain.push_str(&rest[..dollar]);
        rest = &rest[dollar..];
        if let Some(after) = rest.strip_prefix("$${") {
            plain.push_str("${");
            rest = after;
        } else if let Some(inner) = rest.strip_prefix("${") {
            let Some(end) = inner.find('}') else {
                return Err(Diagnostic::new(&code::INVALID_REFERENCE, "a `${` without its `}`")
                    .at(span, "in this string")
                    .help("close it, or write `$${` for the two characters themselves"));
            };
            let path = inner[..end].trim();
            let word = |part: &str| {
                part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                    && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
            };
            if !path.split('.').all(word) {
                return Err(Diagnostic::new(&code::INVALID_REFERENCE, format!("`${{{path}}}` names no value"))
                    .at(&place(span, path), "in this string")
                    .help("between the braces stands a name, such as `${version}` or `${platform.arch}`; for the two characters `${` themselves write `$${`"));
            }
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Reference(path.to_owned()));
            rest = &inner[end + 1..];
        } else {
            plain.push('$');
            rest = &rest[1..];
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() || parts.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(parts)
}

/// The place of `${path}` in the string at `span`, where it stands there as it is; else the whole string.
fn place(span: &Span, path: &str) -> Span {
    let reference = format!("${{{path}}}");
    match span.text().find(&reference) {
        Some(at) => {
            let start = span.range().start + at;
            span.source().span(start..start + reference.len())
        }
        None => span.clone(),
    }
}

/// The path `text`, written in the file of `written`, as it is called from the file of `user`.
fn relative(text: &str, written: &Span, user: &Span) -> String {
    let folder =
        |span: &Span| Path::new(span.source().name()).parent().map(Path::to_path_buf).unwrap_or_default();
    let (from, to) = (folder(user), folder(written).join(text));
    if from == folder(written) || to.is_absolute() {
        return if to.is_absolute() { to.display().to_string() } else { text.to_owned() };
    }
    let (from, to): (Vec<Component>, Vec<Component>) =
        (from.components().collect(), to.components().collect());
    let shared = from.iter().zip(&to).take_while(|(left, right)| left == right).count();
    let up = from[shared..].iter().map(|_| Component::ParentDir);
    up.chain(to[shared..].iter().copied()).collect::<PathBuf>().display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kic_base::Source;

    fn value(text: &str) -> Result<Value, &'static str> {
        let source = Source::new("a.kdl", format!("{text:?}"));
        let span = source.span(0..source.text().len());
        let map = Binding::Map(
            [("arch".to_owned(), Binding::scalar("arm64".into(), span.clone()))].into(),
            span.clone(),
        );
        let scope = Scope::default()
            .with("tag", Binding::scalar("v1".into(), span.clone()))
            .with("replicas", Binding::scalar(3.into(), span.clone()))
            .with("platform", map);
        match interpolate(text, &span, &scope) {
            Ok(Binding::Scalar { value, .. }) => Ok(value),
            Ok(_) => Err("map"),
            Err(error) => Err(error.code.name),
        }
    }

    #[test]
    fn references_become_their_values_and_a_single_one_keeps_its_type() {
        assert_eq!(value("${tag}/x"), Ok("v1/x".into()));
        assert_eq!(value("a-${platform.arch}-${replicas}"), Ok("a-arm64-3".into()));
        assert_eq!(value("${replicas}"), Ok(3.into()));
        assert_eq!(value("cost: $5 $${tag} ${ tag }"), Ok("cost: $5 ${tag} v1".into()));
        assert_eq!(value("{{ element.name }} $(date)"), Ok("{{ element.name }} $(date)".into()));
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
    fn paths_are_called_from_the_file_that_uses_them() {
        let span = |name: &str| Source::new(name, "").span(0..0);
        assert_eq!(relative("etc/x", &span("cluster.kdl"), &span("modules/m.kdl")), "../etc/x");
        assert_eq!(relative("etc/x", &span("a/cluster.kdl"), &span("a/b/m.kdl")), "../etc/x");
        assert_eq!(relative("etc/x", &span("a/b/m.kdl"), &span("a/cluster.kdl")), "b/etc/x");
        assert_eq!(relative("etc/x", &span("a/m.kdl"), &span("a/n.kdl")), "etc/x");
        assert_eq!(relative("/etc/x", &span("a/m.kdl"), &span("b/n.kdl")), "/etc/x");
    }
}
