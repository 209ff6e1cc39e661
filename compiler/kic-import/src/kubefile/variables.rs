//! `ARG` and `ENV`, and the places that name them.

use std::collections::BTreeMap;

use kic_syntax::Value;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Variable {
    /// A parameter of the spec, by its name there: `ARG`.
    Parameter(String),
    /// A text that is known: `ENV`.
    Text(String),
    /// A built-in name of the language: sealer's `ARCH`.
    BuiltIn(&'static str),
}

/// A text with references, as it stands in the spec.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Substituted {
    /// The text, with `${name}` for what only a compile knows.
    text: String,
    /// Whether there is such a reference in it.
    pub is_marked: bool,
    /// The names in it that nothing declares.
    pub unknown: Vec<String>,
}

impl Substituted {
    /// A text as it is.
    pub fn literal(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_marked: false, unknown: Vec::new() }
    }

    /// The text where it is known whole.
    pub fn known(&self) -> Option<&str> {
        (!self.is_marked).then_some(self.text.as_str())
    }

    /// As a value in KDL.
    pub fn kdl(&self) -> String {
        let mark = if self.is_marked { "($)" } else { "" };
        format!("{mark}{}", Value::String(self.text.clone()))
    }

    /// The same with another text before and behind it.
    pub fn map(&self, change: impl FnOnce(&str) -> String) -> Self {
        Self { text: change(&self.text), ..self.clone() }
    }
}

/// Puts what is known into a text. `${NAME}`, `$NAME` and `${NAME:-default}` are references, `\$` is none.
pub(super) fn substitute(text: &str, variables: &BTreeMap<String, Variable>) -> Substituted {
    let mut parts: Vec<Result<String, String>> = Vec::new();
    let mut unknown = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, after) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('\\') {
            parts.push(Ok(format!("{before}$")));
            rest = &after[1..];
            continue;
        }
        parts.push(Ok(before.to_owned()));
        let Some((reference, behind)) = reference(&after[1..]) else {
            parts.push(Ok("$".to_owned()));
            rest = &after[1..];
            continue;
        };
        rest = behind;
        let (name, default) = match reference.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        parts.push(match (variables.get(name), default) {
            (Some(Variable::Parameter(name)), _) => Err(name.clone()),
            (Some(Variable::BuiltIn(name)), _) => Err((*name).to_owned()),
            (Some(Variable::Text(text)), _) => Ok(text.clone()),
            (None, Some(default)) => Ok(default.to_owned()),
            (None, None) => {
                unknown.push(name.to_owned());
                Err(parameter_name(name))
            }
        });
    }
    parts.push(Ok(rest.to_owned()));
    let is_marked = parts.iter().any(Result::is_err);
    // What stands side by side is escaped as one.
    let parts = parts.into_iter().fold(Vec::new(), |mut joined: Vec<Result<String, String>>, part| {
        match (joined.last_mut(), part) {
            (Some(Ok(before)), Ok(text)) => before.push_str(&text),
            (_, part) => joined.push(part),
        }
        joined
    });
    let shown = parts.into_iter().map(|part| match part {
        Ok(text) if is_marked => text.replace("${", "$${"),
        Ok(text) => text,
        Err(name) => format!("${{{name}}}"),
    });
    Substituted { text: shown.collect(), is_marked, unknown }
}

/// The name behind a `$`, and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if let Some(inner) = text.strip_prefix('{') {
        let (name, rest) = inner.split_once('}')?;
        let first = name.split(":-").next().unwrap_or_default();
        return (!first.is_empty() && first.chars().all(is_word)).then_some((name, rest));
    }
    let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
    let is_name = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    is_name.then(|| text.split_at(end))
}

/// The name of a parameter for one of a Kubefile: `KUBE_VERSION` is `kube-version`.
pub(super) fn parameter_name(name: &str) -> String {
    let lower: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(63)
        .collect();
    let trimmed = lower.trim_matches('-');
    if trimmed.starts_with(|c: char| c.is_ascii_alphabetic()) {
        trimmed.to_owned()
    } else {
        format!("x{trimmed}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_become_marked_strings() {
        let variables = BTreeMap::from([
            ("VERSION".to_owned(), Variable::Parameter("version".into())),
            ("HOST".to_owned(), Variable::Text("example.com".into())),
            ("ARCH".to_owned(), Variable::BuiltIn("platform.arch")),
        ]);
        for (text, wanted) in [
            ("plain", "\"plain\""),
            ("$HOST/x", "\"example.com/x\""),
            ("${HOST}/x:$VERSION", "($)\"example.com/x:${version}\""),
            ("${ARCH}/*", "($)\"${platform.arch}/*\""),
            ("\\$HOME", "\"$HOME\""),
            ("$1 $ ${-}", "\"$1 $ ${-}\""),
            ("${-} ${VERSION}", "($)\"$${-} ${version}\""),
            ("${NONE:-x}", "\"x\""),
            ("${VERSION:-x}", "($)\"${version}\""),
            ("$NONE_2", "($)\"${none-2}\""),
        ] {
            assert_eq!(substitute(text, &variables).kdl(), wanted, "{text}");
        }
        assert_eq!(substitute("$NONE_2", &variables).unknown, ["NONE_2"]);
        assert_eq!(parameter_name("_2_KUBE.VERSION_"), "x2-kube-version");
    }
}
