//! JSON patches (RFC 6902).

use serde_json::Value as Json;

use crate::fault::Fault;

/// The object after the operations, which are a list.
pub(crate) fn apply(operations: &Json, object: &Json) -> Result<Json, Fault> {
    let Some(operations) = operations.as_array() else {
        return Err(Fault::fails("a JSON patch is a list of operations"));
    };
    let mut object = object.clone();
    for operation in operations {
        let text = |key: &str| operation.get(key).and_then(Json::as_str);
        let path =
            text("path").ok_or_else(|| Fault::fails("an operation of the JSON patch has no `path`"))?;
        let value = || operation.get("value").cloned().unwrap_or(Json::Null);
        let from =
            || text("from").ok_or_else(|| Fault::fails("an operation of the JSON patch has no `from`"));
        let missing = |path: &str| Fault::fails(format!("the JSON patch names `{path}`, which is not there"));
        match text("op").unwrap_or_default() {
            "add" => add(&mut object, path, value())?,
            "replace" => *object.pointer_mut(path).ok_or_else(|| missing(path))? = value(),
            "remove" => {
                remove(&mut object, path).ok_or_else(|| missing(path))?;
            }
            "test" => {
                if object.pointer(path) != Some(&value()) {
                    return Err(Fault::fails(format!("the test of `{path}` in the JSON patch fails")));
                }
            }
            "copy" => {
                let from = from()?;
                let value = object.pointer(from).cloned().ok_or_else(|| missing(from))?;
                add(&mut object, path, value)?;
            }
            "move" => {
                let from = from()?;
                let value = remove(&mut object, from).ok_or_else(|| missing(from))?;
                add(&mut object, path, value)?;
            }
            other => return Err(Fault::fails(format!("a JSON patch knows no operation `{other}`"))),
        }
    }
    Ok(object)
}

/// The parent of a path, and the name in it.
fn split(path: &str) -> Option<(&str, String)> {
    let (parent, name) = path.rsplit_once('/')?;
    Some((parent, name.replace("~1", "/").replace("~0", "~")))
}

fn add(object: &mut Json, path: &str, value: Json) -> Result<(), Fault> {
    let missing = || Fault::fails(format!("the JSON patch adds `{path}`, and nothing is there to hold it"));
    if path.is_empty() {
        *object = value;
        return Ok(());
    }
    let (parent, name) = split(path).ok_or_else(missing)?;
    match object.pointer_mut(parent) {
        Some(Json::Object(fields)) => {
            fields.insert(name, value);
        }
        Some(Json::Array(items)) => {
            let at = if name == "-" { Some(items.len()) } else { name.parse().ok() };
            let at = at.filter(|at| *at <= items.len()).ok_or_else(missing)?;
            items.insert(at, value);
        }
        _ => return Err(missing()),
    }
    Ok(())
}

fn remove(object: &mut Json, path: &str) -> Option<Json> {
    let (parent, name) = split(path)?;
    match object.pointer_mut(parent)? {
        Json::Object(fields) => fields.remove(&name),
        Json::Array(items) => {
            let at = name.parse::<usize>().ok().filter(|at| *at < items.len())?;
            Some(items.remove(at))
        }
        _ => None,
    }
}
