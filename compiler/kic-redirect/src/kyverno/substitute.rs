//! `{{ … }}` in the texts of a policy.

use std::sync::OnceLock;

use kic_manifest::{Yaml, YamlValue};
use regex_lite::Regex;
use serde_json::{Map, Value as Json};

use super::{Located, at};
use crate::fault::Fault;
use crate::jmespath::query;

/// How often what a variable gives is looked through for others.
const MOST_ROUNDS: usize = 64;

/// A part of a policy with every variable replaced. A text that is one variable and nothing else becomes its value.
pub(super) fn substitute(yaml: &Yaml, context: &Json) -> Located<Json> {
    Ok(match &yaml.value {
        YamlValue::String(text) => at(in_text(text, context), &yaml.span)?,
        YamlValue::Sequence(items) => {
            Json::Array(items.iter().map(|item| substitute(item, context)).collect::<Result<_, _>>()?)
        }
        YamlValue::Mapping(entries) => {
            let mut fields = Map::new();
            for (key, value) in entries {
                let name = match at(in_text(&key.key(), context), &key.span)? {
                    Json::String(name) => name,
                    other => other.to_string(),
                };
                fields.insert(name, substitute(value, context)?);
            }
            Json::Object(fields)
        }
        _ => yaml.to_json(),
    })
}

/// The same for one text.
pub(super) fn in_text(text: &str, context: &Json) -> Result<Json, Fault> {
    let Some(pattern) = variables() else { return Err(Fault::unknown("variables cannot be found")) };
    if text.contains("$(") {
        return Err(Fault::unknown("kic does not evaluate references such as `$(…)`"));
    }
    let mut text = text.to_owned();
    for _ in 0..MOST_ROUNDS {
        // Most texts have none, and to look for the pattern takes a while.
        if !text.contains("{{") {
            return Ok(Json::String(text));
        }
        let Some(found) = pattern.captures(&text).and_then(|captures| captures.get(2)) else {
            return Ok(Json::String(text.replace("\\{{", "{{")));
        };
        let expression = found.as_str().trim_start_matches("{{").trim_end_matches("}}").trim();
        let shallow = expression.starts_with('-');
        if shallow || expression.contains('@') && expression.trim() == "@" {
            return Err(Fault::unknown(format!("kic does not evaluate `{{{{ {expression} }}}}`")));
        }
        let value = query(expression, context).map_err(|fault| match fault {
            Fault::NotFound(key) => {
                Fault::fails(format!("`{expression}` leads nowhere: there is no `{key}`"))
            }
            other => other,
        })?;
        if found.range() == (0..text.len()) {
            // What it gives may hold variables again.
            match value {
                Json::String(inner) => {
                    text = inner;
                    continue;
                }
                other => return Ok(other),
            }
        }
        let inserted = match value {
            Json::String(inner) => inner,
            other => other.to_string(),
        };
        if text.len() + inserted.len() > 1 << 20 {
            return Err(Fault::unknown("the text becomes too long"));
        }
        text.replace_range(found.range(), &inserted);
    }
    Err(Fault::unknown("variables give variables without end"))
}

/// The innermost variables, those inside others first.
fn variables() -> Option<&'static Regex> {
    static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
    PATTERN.get_or_init(|| Regex::new(r"(^|[^\\])(\{\{(?:\{[^{}]*\}|[^{}])*\}\})").ok()).as_ref()
}
