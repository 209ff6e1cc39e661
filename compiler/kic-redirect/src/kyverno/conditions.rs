//! `preconditions`.

use kic_manifest::Yaml;
use serde_json::Value as Json;

use super::Located;
use super::substitute::substitute;
use crate::fault::Fault;
use crate::text::wildcard;

/// Whether they hold: `any` and `all`, or a list of which all must.
pub(super) fn hold(conditions: Option<&Yaml>, context: &Json) -> Located<bool> {
    let Some(conditions) = conditions else { return Ok(true) };
    let any = conditions.get("any").map(Yaml::items);
    let all = conditions.get("all").map(Yaml::items).unwrap_or_else(|| conditions.items());
    let mut holds = true;
    if let Some(any) = any {
        holds = false;
        for condition in any {
            if holds_one(condition, context)? {
                holds = true;
                break;
            }
        }
    }
    for condition in all {
        if !holds_one(condition, context)? {
            return Ok(false);
        }
    }
    Ok(holds)
}

fn holds_one(condition: &Yaml, context: &Json) -> Located<bool> {
    let part = |key| match condition.get(key) {
        Some(part) => substitute(part, context),
        None => Ok(Json::Null),
    };
    let (key, value) = (part("key")?, part("value")?);
    let operator = condition.get("operator").and_then(Yaml::as_str).unwrap_or_default();
    compare(operator, &key, &value).map_err(|fault| (fault, Some(condition.span.clone())))
}

/// Names of operators are taken in any case.
fn compare(operator: &str, key: &Json, value: &Json) -> Result<bool, Fault> {
    let unknown =
        || Err(Fault::unknown(format!("kic does not evaluate the operator `{operator}` on these values")));
    Ok(match operator.to_lowercase().as_str() {
        "equal" | "equals" => return equal(key, value),
        "notequal" | "notequals" => !equal(key, value)?,
        "in" | "allin" | "anyin" | "notin" | "allnotin" | "anynotin" => {
            let (Some(keys), Some(values)) = (texts(key), texts(value)) else { return unknown() };
            let among =
                |key: &String| values.iter().any(|value| wildcard(value, key) || wildcard(key, value));
            match operator.to_lowercase().as_str() {
                "in" | "allin" => keys.iter().all(among),
                "anyin" => keys.iter().any(among),
                "anynotin" => keys.iter().any(|key| !among(key)),
                _ => keys.iter().all(|key| !among(key)),
            }
        }
        "greaterthan" | "greaterthanorequals" | "lessthan" | "lessthanorequals" => {
            let (Some(key), Some(value)) = (number(key), number(value)) else { return unknown() };
            match operator.to_lowercase().as_str() {
                "greaterthan" => key > value,
                "greaterthanorequals" => key >= value,
                "lessthan" => key < value,
                _ => key <= value,
            }
        }
        _ => return unknown(),
    })
}

fn equal(key: &Json, value: &Json) -> Result<bool, Fault> {
    Ok(match (key, value) {
        // The value may be a pattern.
        (Json::String(key), Json::String(value)) => wildcard(value, key),
        (Json::String(_), _) => false,
        (Json::Number(_), _) => number(key).is_some() && number(key) == number(value),
        (Json::Null, _) => false,
        _ => key == value,
    })
}

/// The texts of a value: one, those of a list, or those of a text that is a JSON list.
fn texts(value: &Json) -> Option<Vec<String>> {
    let text = |one: &Json| match one {
        Json::String(text) => Some(text.clone()),
        Json::Number(_) | Json::Bool(_) => Some(one.to_string()),
        _ => None,
    };
    match value {
        Json::Array(items) => items.iter().map(text).collect(),
        Json::String(inner) if inner.starts_with('[') => match serde_json::from_str::<Vec<String>>(inner) {
            Ok(items) => Some(items),
            Err(_) => Some(vec![inner.clone()]),
        },
        one => text(one).map(|text| vec![text]),
    }
}

fn number(value: &Json) -> Option<f64> {
    match value {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => text.parse().ok(),
        _ => None,
    }
}
