use std::cmp::Ordering;

use serde_json::{Map, Number, Value as Json, json};

use super::Expression;
use super::evaluate::{evaluate, or_null, same};
use crate::fault::Fault;
use crate::image_info::ImageInfo;
use crate::text;

/// The functions that are evaluated, and how many arguments each takes.
const FUNCTIONS: &[(&str, usize, usize)] = &[
    ("abs", 1, 1),
    ("add", 2, 2),
    ("ceil", 1, 1),
    ("contains", 2, 2),
    ("ends_with", 2, 2),
    ("equal_fold", 2, 2),
    ("floor", 1, 1),
    ("image_normalize", 1, 1),
    ("join", 2, 2),
    ("keys", 1, 1),
    ("length", 1, 1),
    ("lookup", 2, 2),
    ("map", 2, 2),
    ("max", 1, 1),
    ("merge", 1, 9),
    ("min", 1, 1),
    ("not_null", 1, 9),
    ("parse_json", 1, 1),
    ("pattern_match", 2, 2),
    ("regex_match", 2, 2),
    ("regex_replace_all", 3, 3),
    ("regex_replace_all_literal", 3, 3),
    ("replace", 4, 4),
    ("replace_all", 3, 3),
    ("reverse", 1, 1),
    ("sort", 1, 1),
    ("split", 2, 2),
    ("starts_with", 2, 2),
    ("subtract", 2, 2),
    ("to_array", 1, 1),
    ("to_boolean", 1, 1),
    ("to_lower", 1, 1),
    ("to_number", 1, 1),
    ("to_string", 1, 1),
    ("to_upper", 1, 1),
    ("trim", 2, 2),
    ("trim_prefix", 2, 2),
    ("type", 1, 1),
    ("values", 1, 1),
];

/// The longest list or text that a function makes.
const LARGEST: usize = 1 << 20;

pub(super) fn call(name: &str, arguments: &[Expression], context: &Json) -> Result<Json, Fault> {
    let Some((_, least, most)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) else {
        return Err(Fault::unknown(format!("kic does not evaluate the function `{name}`")));
    };
    if !(*least..=*most).contains(&arguments.len()) {
        return Err(Fault::fails(format!("`{name}` takes {least} arguments, and has {}", arguments.len())));
    }
    if name == "map" {
        return map(arguments, context);
    }
    let values: Vec<Json> =
        arguments.iter().map(|argument| or_null(evaluate(argument, context))).collect::<Result<_, _>>()?;
    let result = Call { name, values: &values }.result()?;
    match &result {
        Json::String(text) if text.len() > LARGEST => {
            Err(Fault::unknown(format!("the result of `{name}` is too long")))
        }
        _ => Ok(result),
    }
}

fn map(arguments: &[Expression], context: &Json) -> Result<Json, Fault> {
    let [Expression::Reference(each), list] = arguments else {
        return Err(Fault::fails("`map` takes `&EXPRESSION` and a list"));
    };
    match or_null(evaluate(list, context))? {
        Json::Array(items) => {
            items.iter().map(|item| or_null(evaluate(each, item))).collect::<Result<_, _>>().map(Json::Array)
        }
        _ => Err(Fault::fails("the second argument of `map` is no list")),
    }
}

/// A call with its values.
struct Call<'a> {
    name: &'a str,
    values: &'a [Json],
}

impl Call<'_> {
    fn wrong(&self, place: usize, wanted: &str) -> Fault {
        let found = &self.values[place];
        Fault::fails(format!("argument {} of `{}` is no {wanted}: it is `{found}`", place + 1, self.name))
    }

    fn text(&self, place: usize) -> Result<&str, Fault> {
        self.values[place].as_str().ok_or_else(|| self.wrong(place, "text"))
    }

    /// A text, or a number as one.
    fn loose(&self, place: usize) -> Result<String, Fault> {
        match &self.values[place] {
            Json::String(text) => Ok(text.clone()),
            Json::Number(number) => Ok(number.to_string()),
            _ => Err(self.wrong(place, "text")),
        }
    }

    fn number(&self, place: usize) -> Result<f64, Fault> {
        self.values[place].as_f64().ok_or_else(|| self.wrong(place, "number"))
    }

    fn list(&self, place: usize) -> Result<&[Json], Fault> {
        self.values[place].as_array().map(Vec::as_slice).ok_or_else(|| self.wrong(place, "list"))
    }

    fn object(&self, place: usize) -> Result<&Map<String, Json>, Fault> {
        self.values[place].as_object().ok_or_else(|| self.wrong(place, "map"))
    }

    fn result(&self) -> Result<Json, Fault> {
        Ok(match self.name {
            "abs" => number(self.number(0)?.abs()),
            "ceil" => number(self.number(0)?.ceil()),
            "floor" => number(self.number(0)?.floor()),
            "add" | "subtract" if !(self.values[0].is_number() && self.values[1].is_number()) => {
                return Err(Fault::unknown(format!("kic evaluates `{}` on numbers only", self.name)));
            }
            "add" => number(self.number(0)? + self.number(1)?),
            "subtract" => number(self.number(0)? - self.number(1)?),
            "contains" => match &self.values[0] {
                Json::Array(items) => Json::Bool(items.iter().any(|item| same(item, &self.values[1]))),
                Json::String(text) => Json::Bool(text.contains(self.text(1)?)),
                _ => return Err(self.wrong(0, "text or list")),
            },
            "starts_with" => Json::Bool(self.text(0)?.starts_with(self.text(1)?)),
            "ends_with" => Json::Bool(self.text(0)?.ends_with(self.text(1)?)),
            "equal_fold" => Json::Bool(self.text(0)?.to_lowercase() == self.text(1)?.to_lowercase()),
            "image_normalize" => {
                let image = ImageInfo::read(self.text(0)?)
                    .ok_or_else(|| Fault::fails(format!("`{}` is no image", self.values[0])))?;
                Json::String(image.reference())
            }
            "join" => {
                let parts: Option<Vec<&str>> = self.list(1)?.iter().map(Json::as_str).collect();
                Json::String(parts.ok_or_else(|| self.wrong(1, "list of texts"))?.join(self.text(0)?))
            }
            "keys" => Json::Array(self.object(0)?.keys().map(|key| Json::String(key.clone())).collect()),
            "values" => Json::Array(self.object(0)?.values().cloned().collect()),
            "length" => match &self.values[0] {
                Json::String(text) => json!(text.chars().count()),
                Json::Array(items) => json!(items.len()),
                Json::Object(fields) => json!(fields.len()),
                _ => return Err(self.wrong(0, "text, list or map")),
            },
            "lookup" => self.lookup()?,
            "max" => self.extreme(Ordering::Greater)?,
            "min" => self.extreme(Ordering::Less)?,
            "merge" => {
                let mut merged = Map::new();
                for place in 0..self.values.len() {
                    merged.extend(self.object(place)?.clone());
                }
                Json::Object(merged)
            }
            "not_null" => self.values.iter().find(|value| !value.is_null()).cloned().unwrap_or(Json::Null),
            "parse_json" => serde_json::from_str(self.text(0)?)
                .map_err(|error| Fault::fails(format!("`parse_json`: {error}")))?,
            "pattern_match" => Json::Bool(text::wildcard(self.text(0)?, &self.loose(1)?)),
            "regex_match" => Json::Bool(text::regex(self.text(0)?)?.is_match(&self.loose(1)?)),
            "regex_replace_all" => {
                let (source, replacement) = (self.loose(1)?, self.loose(2)?);
                Json::String(text::regex(self.text(0)?)?.replace_all(&source, replacement.as_str()).into())
            }
            "regex_replace_all_literal" => {
                let (source, replacement) = (self.loose(1)?, self.loose(2)?);
                let replacement = regex_lite::NoExpand(&replacement);
                Json::String(text::regex(self.text(0)?)?.replace_all(&source, replacement).into())
            }
            "replace" => {
                let times = self.number(3)?;
                let (source, from, to) = (self.text(0)?, self.text(1)?, self.text(2)?);
                Json::String(if times < 0.0 {
                    source.replace(from, to)
                } else {
                    source.replacen(from, to, times as usize)
                })
            }
            "replace_all" => Json::String(self.text(0)?.replace(self.text(1)?, self.text(2)?)),
            "reverse" => match &self.values[0] {
                Json::String(text) => Json::String(text.chars().rev().collect()),
                _ => Json::Array(self.list(0)?.iter().rev().cloned().collect()),
            },
            "sort" => self.sorted()?,
            "split" => {
                let (source, separator) = (self.text(0)?, self.text(1)?);
                let part = |part: &str| Json::String(part.to_owned());
                Json::Array(if separator.is_empty() {
                    source.chars().map(|letter| Json::String(letter.into())).collect()
                } else {
                    source.split(separator).map(part).collect()
                })
            }
            "to_array" => match &self.values[0] {
                list @ Json::Array(_) => list.clone(),
                other => json!([other]),
            },
            "to_boolean" => match self.text(0)?.to_lowercase().as_str() {
                "true" => Json::Bool(true),
                "false" => Json::Bool(false),
                _ => return Err(self.wrong(0, "boolean")),
            },
            "to_lower" => Json::String(self.text(0)?.to_lowercase()),
            "to_upper" => Json::String(self.text(0)?.to_uppercase()),
            "to_number" => match &self.values[0] {
                number @ Json::Number(_) => number.clone(),
                Json::String(text) => text.parse::<f64>().map_or(Json::Null, number),
                _ => Json::Null,
            },
            "to_string" => match &self.values[0] {
                text @ Json::String(_) => text.clone(),
                other => Json::String(other.to_string()),
            },
            "trim" => {
                let cut = self.text(1)?;
                Json::String(self.text(0)?.trim_matches(|letter| cut.contains(letter)).to_owned())
            }
            "trim_prefix" => {
                let (source, prefix) = (self.text(0)?, self.text(1)?);
                Json::String(source.strip_prefix(prefix).unwrap_or(source).to_owned())
            }
            "type" => Json::String(
                match &self.values[0] {
                    Json::Null => "null",
                    Json::Bool(_) => "boolean",
                    Json::Number(_) => "number",
                    Json::String(_) => "string",
                    Json::Array(_) => "array",
                    Json::Object(_) => "object",
                }
                .to_owned(),
            ),
            _ => return Err(Fault::unknown(format!("kic does not evaluate the function `{}`", self.name))),
        })
    }

    fn lookup(&self) -> Result<Json, Fault> {
        Ok(match &self.values[0] {
            Json::Object(fields) => fields.get(self.text(1)?).cloned().unwrap_or(Json::Null),
            Json::Array(items) => {
                let place = self.number(1)?;
                if place < 0.0 { None } else { items.get(place as usize) }.cloned().unwrap_or(Json::Null)
            }
            _ => return Err(self.wrong(0, "map or list")),
        })
    }

    fn extreme(&self, wanted: Ordering) -> Result<Json, Fault> {
        let mut best: Option<&Json> = None;
        for item in self.list(0)? {
            let better = match best {
                None => true,
                Some(best) => {
                    order(item, best).ok_or_else(|| self.wrong(0, "list of numbers or of texts"))? == wanted
                }
            };
            best = if better { Some(item) } else { best };
        }
        Ok(best.cloned().unwrap_or(Json::Null))
    }

    fn sorted(&self) -> Result<Json, Fault> {
        let mut items = self.list(0)?.to_vec();
        if items.windows(2).any(|pair| order(&pair[0], &pair[1]).is_none()) {
            return Err(self.wrong(0, "list of numbers or of texts"));
        }
        items.sort_by(|left, right| order(left, right).unwrap_or(Ordering::Equal));
        Ok(Json::Array(items))
    }
}

fn order(left: &Json, right: &Json) -> Option<Ordering> {
    match (left, right) {
        (Json::String(left), Json::String(right)) => Some(left.cmp(right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

fn number(number: f64) -> Json {
    let whole = number as i64;
    if whole as f64 == number {
        json!(whole)
    } else {
        Number::from_f64(number).map_or(Json::Null, Json::Number)
    }
}
