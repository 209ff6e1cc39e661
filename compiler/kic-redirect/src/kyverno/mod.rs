//! Kyverno's `ClusterPolicy` and `Policy`: their mutate rules, as far as they can change an image's name.
//!
//! | part of a rule | evaluated |
//! |---|---|
//! | `match`, `exclude` | kinds, names, namespaces, operations, labels, annotations; not users and roles |
//! | `context` | `variable`; not API calls, ConfigMaps and registries |
//! | `preconditions` | all operators that compare texts and numbers |
//! | `mutate` | `foreach`, `patchStrategicMerge` with anchors, `patchesJson6902`; not `targets` |
//!
//! Messages of failures follow Kyverno 1.19.

mod conditions;
mod filters;
mod kinds;
mod matching;
mod merge;
mod substitute;

use kic_base::Span;
use kic_manifest::{Object, Yaml, YamlValue};
use serde_json::{Map, Value as Json, json};

use crate::fault::Fault;
use crate::image_info::ImageInfo;
use crate::json_patch;
use crate::policy::Problem;
use crate::request::{CONTAINER_LISTS, Request, text_at};
pub(crate) use filters::Filters;
use matching::Matched;
use substitute::substitute;

/// The most elements that a `foreach` goes over.
const MOST_ELEMENTS: usize = 1000;

/// The most `foreach` inside each other.
const DEEPEST: usize = 4;

/// The rules of a policy that may change an image's name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KyvernoPolicy {
    /// Of a `Policy`, the one namespace that it is for.
    namespace: Option<String>,
    /// Whether what follows a rule that has been applied is left aside.
    first_rule_only: bool,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq)]
struct Rule {
    name: String,
    span: Span,
    yaml: Yaml,
}

/// The policy that an object is; `None` where it changes no image.
pub(crate) fn read(object: &Object) -> Option<KyvernoPolicy> {
    if !object.api_version.starts_with("kyverno.io/") || !matches!(&*object.kind, "ClusterPolicy" | "Policy")
    {
        return None;
    }
    let namespace =
        (object.kind == "Policy").then(|| object.namespace.clone().unwrap_or_else(|| "default".to_owned()));
    let rules: Vec<Rule> = object
        .root
        .at(&["spec", "rules"])?
        .items()
        .iter()
        .filter(|rule| rule.get("mutate").is_some_and(speaks_of_images))
        .map(|rule| {
            let name = text_at(rule, "name");
            let span = name.as_ref().map_or_else(|| rule.span.clone(), |name| name.span.clone());
            Rule { name: name.map(|name| name.value).unwrap_or_default(), span, yaml: rule.clone() }
        })
        .collect();
    let first_rule_only = object.root.at(&["spec", "applyRules"]).and_then(Yaml::as_str) == Some("One");
    (!rules.is_empty()).then_some(KyvernoPolicy { namespace, first_rule_only, rules })
}

/// Whether patches can touch the name of an image.
fn speaks_of_images(mutate: &Yaml) -> bool {
    fn speaks(yaml: &Yaml) -> bool {
        let word = |text: &str| text.contains("image") || text.contains("ontainers");
        match &yaml.value {
            YamlValue::String(text) => word(text),
            YamlValue::Sequence(items) => items.iter().any(speaks),
            YamlValue::Mapping(entries) => {
                entries.iter().any(|(key, value)| word(&key.key()) || speaks(value))
            }
            _ => false,
        }
    }
    // Rules with targets change objects that are there already.
    mutate.get("targets").is_none() && speaks(mutate)
}

impl KyvernoPolicy {
    /// What becomes of the pod, and the rules that changed it.
    pub fn admit(&self, request: Request, changed: &mut Vec<Span>) -> Result<Json, Problem> {
        let mut object = request.pod.object().clone();
        if self.namespace.as_ref().is_some_and(|namespace| *namespace != request.pod.namespace) {
            return Ok(object);
        }
        for rule in &self.rules {
            let problem = |(fault, span): (Fault, Option<Span>)| {
                Problem::new(fault, &rule.name, span.unwrap_or_else(|| rule.span.clone()))
            };
            match matching::matches(&rule.yaml, request, &object) {
                Matched::No => continue,
                Matched::Unknown(why, span) => return Err(problem((Fault::Unknown(why), Some(span)))),
                Matched::Yes => {}
            }
            let Some(after) = rule.apply(request, &object).map_err(problem)? else { continue };
            if after != object {
                changed.push(rule.span.clone());
            }
            object = after;
            if self.first_rule_only {
                break;
            }
        }
        Ok(object)
    }
}

/// A fault, and where the policy has it, if that is known better than by the rule.
pub(crate) type Located<T> = Result<T, (Fault, Option<Span>)>;

fn at<T>(result: Result<T, Fault>, span: &Span) -> Located<T> {
    result.map_err(|fault| (fault, Some(span.clone())))
}

impl Rule {
    /// The pod after the rule; `None` where its preconditions do not hold.
    fn apply(&self, request: Request, object: &Json) -> Located<Option<Json>> {
        let mut context = context(request, object);
        add_variables(self.yaml.get("context"), &mut context)?;
        if !conditions::hold(self.yaml.get("preconditions"), &context)? {
            return Ok(None);
        }
        let Some(mutate) = self.yaml.get("mutate") else { return Ok(None) };
        let after = match mutate.get("foreach") {
            Some(foreach) => {
                let mut object = object.clone();
                for each in foreach.items() {
                    object = for_each(each, &mut context, object, 0)?;
                    set(&mut context, &["request", "object"], object.clone());
                }
                object
            }
            None => patch(mutate, &context, object)?,
        };
        Ok(Some(after))
    }
}

/// What expressions can name.
fn context(request: Request, object: &Json) -> Json {
    let mut images = Map::new();
    for list in CONTAINER_LISTS {
        let mut infos = Map::new();
        let containers = object.get("spec").and_then(|spec| spec.get(list)).and_then(Json::as_array);
        for container in containers.into_iter().flatten() {
            let text = |key| container.get(key).and_then(Json::as_str);
            if let (Some(name), Some(info)) = (text("name"), text("image").and_then(ImageInfo::read)) {
                infos.insert(name.to_owned(), info.to_json());
            }
        }
        if !infos.is_empty() {
            images.insert(list.to_owned(), Json::Object(infos));
        }
    }
    let mut admission = request.to_json();
    set(&mut admission, &["object"], object.clone());
    if request.operation.name() == "UPDATE" {
        set(&mut admission, &["oldObject"], object.clone());
    }
    json!({"request": admission, "images": images})
}

fn set(context: &mut Json, path: &[&str], value: Json) {
    let (Some((last, parents)), true) = (path.split_last(), context.is_object()) else { return };
    let parent = parents.iter().try_fold(context, |at, key| at.get_mut(*key));
    if let Some(Json::Object(fields)) = parent {
        fields.insert((*last).to_owned(), value);
    }
}

/// Adds the variables of a `context` node.
fn add_variables(entries: Option<&Yaml>, context: &mut Json) -> Located<()> {
    for entry in entries.map(Yaml::items).unwrap_or_default() {
        let unknown = |why: &str| (Fault::unknown(why), Some(entry.span.clone()));
        let Some(name) = entry.get("name").and_then(Yaml::as_str) else { continue };
        let Some(variable) = entry.get("variable") else {
            return Err(unknown(
                "the variable comes from the cluster or from a registry, which kic does not ask",
            ));
        };
        let given = match (variable.get("value"), variable.get("jmesPath")) {
            (Some(value), path) => {
                let value = substitute(value, context)?;
                match path {
                    Some(path) => {
                        let text = substitute(path, context)?;
                        crate::jmespath::query(text.as_str().unwrap_or_default(), &value)
                    }
                    None => Ok(value),
                }
            }
            (None, Some(path)) => {
                let text = substitute(path, context)?;
                crate::jmespath::query(text.as_str().unwrap_or_default(), context)
            }
            (None, None) => Ok(Json::Null),
        };
        let default = variable.get("default").map(|default| substitute(default, context)).transpose()?;
        let value = match (given, default) {
            (Ok(Json::Null) | Err(Fault::NotFound(_) | Fault::Fails(_)), Some(default)) => default,
            (Ok(value), _) => value,
            (Err(fault), _) => return Err((fault, Some(variable.span.clone()))),
        };
        set(context, &[name], value);
    }
    Ok(())
}

/// One `foreach`: its patches for each element of its list.
fn for_each(each: &Yaml, context: &mut Json, object: Json, depth: usize) -> Located<Json> {
    let Some(list) = each.get("list") else {
        return Err((Fault::fails("the `foreach` has no list"), Some(each.span.clone())));
    };
    let expression = list.as_str().unwrap_or_default();
    let mut elements = match at(crate::jmespath::query(expression, context), &list.span)? {
        Json::Array(elements) => elements,
        other => vec![other],
    };
    if elements.len() > MOST_ELEMENTS || depth >= DEEPEST {
        return Err((Fault::unknown("the list is too long, or nested too deep"), Some(list.span.clone())));
    }
    let order = each.get("order").and_then(Yaml::as_str);
    let reverse = match order {
        Some(order) => order == "Descending",
        None => each.get("patchStrategicMerge").is_some(),
    };
    let count = elements.len();
    if reverse {
        elements.reverse();
    }
    let mut object = object;
    for (place, element) in elements.into_iter().enumerate() {
        if element.is_null() {
            continue;
        }
        let index = if reverse { count - 1 - place } else { place };
        let mut context = context.clone();
        for (name, value) in [("element", element), ("elementIndex", json!(index))] {
            set(&mut context, &[&format!("{name}{depth}")], value.clone());
            set(&mut context, &[name], value);
        }
        add_variables(each.get("context"), &mut context)?;
        if !conditions::hold(each.get("preconditions"), &context)? {
            continue;
        }
        object = match each.get("foreach") {
            Some(inner) => {
                let mut object = object;
                for each in inner.items() {
                    object = for_each(each, &mut context, object, depth + 1)?;
                }
                object
            }
            None => patch(each, &context, &object)?,
        };
    }
    Ok(object)
}

/// The patches of a rule or of a `foreach`.
fn patch(holder: &Yaml, context: &Json, object: &Json) -> Located<Json> {
    if let Some(overlay) = holder.get("patchStrategicMerge") {
        let overlay_value = substitute(overlay, context)?;
        return at(merge::merge(&overlay_value, object), &overlay.span);
    }
    if let Some(patches) = holder.get("patchesJson6902") {
        let text = substitute(patches, context)?;
        let operations = at(operations(text.as_str().unwrap_or_default()), &patches.span)?;
        return at(json_patch::apply(&operations, object), &patches.span);
    }
    Ok(object.clone())
}

/// The operations of a JSON patch, from YAML or JSON.
fn operations(text: &str) -> Result<Json, Fault> {
    let source = kic_base::Source::new("patch", text);
    let (documents, errors) = kic_manifest::documents(&source);
    match (documents.first(), errors.is_empty()) {
        (Some(document), true) => Ok(document.to_json()),
        _ => Err(Fault::fails("the JSON patch is not well formed")),
    }
}
