use serde_json::{Map, Value as Json};

use super::{Comparison, Expression, functions};
use crate::fault::Fault;

/// The value of the expression on `value`.
pub(super) fn evaluate(expression: &Expression, value: &Json) -> Result<Json, Fault> {
    match expression {
        Expression::Current => Ok(value.clone()),
        Expression::Literal(literal) => Ok(literal.clone()),
        Expression::Field(name) => match value {
            Json::Object(fields) => fields.get(name).cloned().ok_or_else(|| Fault::NotFound(name.clone())),
            _ => Ok(Json::Null),
        },
        Expression::Index(index) => Ok(match value {
            Json::Array(items) => item(items, *index).cloned().unwrap_or(Json::Null),
            _ => Json::Null,
        }),
        Expression::Slice(parts) => match value {
            Json::Array(items) => slice(items, *parts),
            _ => Ok(Json::Null),
        },
        Expression::Then(left, right) => evaluate(right, &evaluate(left, value)?),
        Expression::Pipe(left, right) => or_null(evaluate(right, &or_null(evaluate(left, value))?)),
        Expression::Project(list, each) => match or_null(evaluate(list, value))? {
            Json::Array(items) => project(items, each),
            _ => Ok(Json::Null),
        },
        Expression::ProjectValues(map, each) => match or_null(evaluate(map, value))? {
            Json::Object(fields) => project(fields.into_iter().map(|(_, value)| value).collect(), each),
            _ => Ok(Json::Null),
        },
        Expression::Filter(list, condition, each) => match or_null(evaluate(list, value))? {
            Json::Array(items) => {
                let mut kept = Vec::new();
                for item in items {
                    if is_true(&or_null(evaluate(condition, &item))?) {
                        kept.push(item);
                    }
                }
                project(kept, each)
            }
            _ => Ok(Json::Null),
        },
        Expression::Flatten(list) => Ok(match or_null(evaluate(list, value))? {
            Json::Array(items) => Json::Array(
                items
                    .into_iter()
                    .flat_map(|item| match item {
                        Json::Array(inner) => inner,
                        other => vec![other],
                    })
                    .collect(),
            ),
            _ => Json::Null,
        }),
        Expression::Or(left, right) => {
            let left = or_null(evaluate(left, value))?;
            if is_true(&left) { Ok(left) } else { or_null(evaluate(right, value)) }
        }
        Expression::And(left, right) => {
            let left = or_null(evaluate(left, value))?;
            if is_true(&left) { evaluate(right, value) } else { Ok(left) }
        }
        Expression::Not(inner) => Ok(Json::Bool(!is_true(&or_null(evaluate(inner, value))?))),
        Expression::Compare(comparison, left, right) => {
            let left = or_null(evaluate(left, value))?;
            let right = or_null(evaluate(right, value))?;
            Ok(compare(*comparison, &left, &right))
        }
        Expression::List(_) | Expression::Hash(_) if value.is_null() => Ok(Json::Null),
        Expression::List(items) => {
            items.iter().map(|item| or_null(evaluate(item, value))).collect::<Result<_, _>>().map(Json::Array)
        }
        Expression::Hash(fields) => {
            let mut map = Map::new();
            for (name, field) in fields {
                map.insert(name.clone(), or_null(evaluate(field, value))?);
            }
            Ok(Json::Object(map))
        }
        Expression::Call(name, arguments) => functions::call(name, arguments, value),
        Expression::Reference(_) => Err(Fault::fails("`&` stands only before an argument of a function")),
    }
}

/// A key that is not there as null.
pub(super) fn or_null(result: Result<Json, Fault>) -> Result<Json, Fault> {
    match result {
        Err(Fault::NotFound(_)) => Ok(Json::Null),
        other => other,
    }
}

/// Everything but null, false, and what is empty.
pub(super) fn is_true(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(bool) => *bool,
        Json::Number(_) => true,
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Object(fields) => !fields.is_empty(),
    }
}

fn project(items: Vec<Json>, each: &Expression) -> Result<Json, Fault> {
    let mut results = Vec::new();
    for item in items {
        let result = or_null(evaluate(each, &item))?;
        if !result.is_null() {
            results.push(result);
        }
    }
    Ok(Json::Array(results))
}

fn compare(comparison: Comparison, left: &Json, right: &Json) -> Json {
    match comparison {
        Comparison::Equal => return Json::Bool(same(left, right)),
        Comparison::NotEqual => return Json::Bool(!same(left, right)),
        _ => {}
    }
    let (Some(left), Some(right)) = (left.as_f64(), right.as_f64()) else { return Json::Null };
    Json::Bool(match comparison {
        Comparison::Less => left < right,
        Comparison::LessOrEqual => left <= right,
        Comparison::Greater => left > right,
        _ => left >= right,
    })
}

/// Equal, `1` and `1.0` included.
pub(super) fn same(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Number(left), Json::Number(right)) => left.as_f64() == right.as_f64(),
        _ => left == right,
    }
}

fn item(items: &[Json], index: i64) -> Option<&Json> {
    let index = if index < 0 { index + i64::try_from(items.len()).ok()? } else { index };
    items.get(usize::try_from(index).ok()?)
}

fn slice(items: &[Json], [start, stop, step]: [Option<i64>; 3]) -> Result<Json, Fault> {
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(Fault::fails("a slice goes in steps of at least one"));
    }
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let bound = |given: Option<i64>, default: i64| match given {
        None => default,
        Some(at) if at < 0 => (at.saturating_add(length)).max(if step < 0 { -1 } else { 0 }),
        Some(at) => at.min(if step < 0 { length - 1 } else { length }),
    };
    let mut at = bound(start, if step < 0 { length - 1 } else { 0 });
    let stop = bound(stop, if step < 0 { -1 } else { length });
    let mut taken = Vec::new();
    while (step > 0 && at < stop) || (step < 0 && at > stop) {
        taken.extend(usize::try_from(at).ok().and_then(|at| items.get(at)).cloned());
        at = at.saturating_add(step);
    }
    Ok(Json::Array(taken))
}
