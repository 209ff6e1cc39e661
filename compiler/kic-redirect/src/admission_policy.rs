//! Policies in CEL: the API server's `MutatingAdmissionPolicy`, and Kyverno's `MutatingPolicy`, which has its form.

use std::collections::{BTreeMap, BTreeSet};

use kic_base::{Span, Spanned};
use kic_manifest::{Object, Yaml};
use serde_json::{Value as Json, json};

use crate::cel::{self, Environment, Names, Node, Value};
use crate::fault::Fault;
use crate::json_patch;
use crate::policy::Problem;
use crate::request::{Request, text_at};
use crate::selector;
use crate::strategic_merge;

/// A policy in CEL that may change an image's name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AdmissionPolicy {
    pub name: String,
    /// Of a `NamespacedMutatingPolicy`, the one namespace that it is for.
    namespace: Option<String>,
    /// Which pods it is for.
    constraints: Option<Yaml>,
    conditions: Vec<Yaml>,
    variables: Vec<Yaml>,
    mutations: Vec<Mutation>,
    span: Span,
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
struct Mutation {
    is_json_patch: bool,
    expression: Spanned<String>,
}

/// The binding that puts a policy of the API server to work.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Binding {
    pub policy: String,
    /// Which of the policy's pods it is for.
    resources: Option<Yaml>,
}

/// The policy that an object is; `None` where it is none, or changes no image.
pub(crate) fn read(object: &Object) -> Option<AdmissionPolicy> {
    let group = object.api_version.split('/').next().unwrap_or_default();
    let namespace = match (group, object.kind.as_str()) {
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy")
        | ("policies.kyverno.io", "MutatingPolicy") => None,
        ("policies.kyverno.io", "NamespacedMutatingPolicy") => {
            Some(object.namespace.clone().unwrap_or_else(|| "default".to_owned()))
        }
        _ => return None,
    };
    let list = |key: &str| object.root.at(&["spec", key]).map(Yaml::items).unwrap_or_default().to_vec();
    let mutations: Vec<Mutation> = list("mutations")
        .iter()
        .filter_map(|mutation| {
            let is_json_patch = mutation.get("patchType").and_then(Yaml::as_str) == Some("JSONPatch");
            let holder = mutation.get(if is_json_patch { "jsonPatch" } else { "applyConfiguration" })?;
            Some(Mutation { is_json_patch, expression: text_at(holder, "expression")? })
        })
        .collect();
    // Where the mutations take their patches from variables, those speak of images.
    let variables = list("variables");
    let texts = mutations.iter().map(|mutation| mutation.expression.value.as_str());
    let speaks = texts
        .chain(variables.iter().filter_map(|variable| variable.get("expression")?.as_str()))
        .any(|text| text.contains("image") || text.contains("ontainers"));
    speaks.then(|| AdmissionPolicy {
        name: object.name.clone().unwrap_or_default(),
        namespace,
        constraints: object.root.at(&["spec", "matchConstraints"]).cloned(),
        conditions: list("matchConditions"),
        variables,
        mutations,
        span: object.span.clone(),
    })
}

/// The binding that an object is.
pub(crate) fn read_binding(object: &Object) -> Option<Binding> {
    if !object.api_version.starts_with("admissionregistration.k8s.io/")
        || object.kind != "MutatingAdmissionPolicyBinding"
    {
        return None;
    }
    let policy = object.root.at(&["spec", "policyName"])?.as_str()?.to_owned();
    Some(Binding { policy, resources: object.root.at(&["spec", "matchResources"]).cloned() })
}

impl AdmissionPolicy {
    /// What becomes of the pod. `bindings` are those of the policy; `None` where it needs none.
    pub fn admit(
        &self,
        request: Request,
        bindings: Option<&[&Binding]>,
        changed: &mut Vec<Span>,
    ) -> Result<Json, Problem> {
        let problem = |fault: Fault, span: &Span| Problem::new(fault, "", span.clone());
        let before = request.pod.object();
        if self.namespace.as_ref().is_some_and(|namespace| *namespace != request.pod.namespace) {
            return Ok(before.clone());
        }
        let unknown = |fault| problem(fault, &self.span);
        let mut is_for = covers(self.constraints.as_ref(), request).map_err(unknown)?;
        if let Some(bindings) = bindings {
            let mut bound = false;
            for binding in bindings {
                bound |= match &binding.resources {
                    Some(resources) => covers(Some(resources), request).map_err(unknown)?,
                    None => true,
                };
            }
            is_for &= bound;
        }
        if !is_for {
            return Ok(before.clone());
        }
        let variables = self.parsed_variables().map_err(|(fault, span)| problem(fault, &span))?;
        let variables: BTreeMap<&str, &Node> =
            variables.iter().map(|(name, node)| (name.as_str(), node)).collect();
        let mut object = before.clone();
        let namespace = namespace_object(request);
        // The API server does not look the namespace up for conditions: there it has no fields.
        let namespace_of_conditions = if bindings.is_some() { json!({}) } else { namespace.clone() };
        for condition in &self.conditions {
            let Some(expression) = text_at(condition, "expression") else { continue };
            let result = cel::parse(&expression.value).and_then(|node| {
                environment(request, &object, &namespace_of_conditions, &variables).evaluate(&node)
            });
            match result {
                Ok(Value::Bool(true)) => {}
                Ok(Value::Bool(false)) => return Ok(object),
                Ok(other) => {
                    let fault = Fault::fails(format!("a condition is {}, and no boolean", other.kind()));
                    return Err(problem(fault, &expression.span));
                }
                Err(fault) => return Err(problem(fault, &expression.span)),
            }
        }
        for mutation in &self.mutations {
            let span = &mutation.expression.span;
            let after = cel::parse(&mutation.expression.value)
                .and_then(|node| environment(request, &object, &namespace, &variables).evaluate(&node))
                .and_then(|value| value.to_json())
                .and_then(|patch| {
                    if mutation.is_json_patch {
                        json_patch::apply(&patch, &object)
                    } else {
                        strategic_merge::merge(&patch, &object)
                    }
                })
                .map_err(|fault| problem(fault, span))?;
            if after != object {
                changed.push(span.clone());
            }
            object = after;
        }
        Ok(object)
    }

    fn parsed_variables(&self) -> Result<Vec<(String, Node)>, (Fault, Span)> {
        let mut parsed = Vec::new();
        for variable in &self.variables {
            let (Some(name), Some(expression)) = (text_at(variable, "name"), text_at(variable, "expression"))
            else {
                continue;
            };
            let node = cel::parse(&expression.value).map_err(|fault| (fault, expression.span.clone()))?;
            parsed.push((name.value, node));
        }
        Ok(parsed)
    }
}

fn namespace_object(request: Request) -> Json {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": request.pod.namespace,
        "labels": {"kubernetes.io/metadata.name": request.pod.namespace},
    }})
}

fn environment<'a>(
    request: Request,
    object: &Json,
    namespace: &Json,
    variables: &BTreeMap<&'a str, &'a Node>,
) -> Environment<'a> {
    let old = if request.operation.name() == "UPDATE" { request.pod.object().clone() } else { Json::Null };
    let admission = request.to_json();
    let names: Names =
        [("object", object), ("oldObject", &old), ("request", &admission), ("namespaceObject", namespace)]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::from_json(value)))
            .collect();
    Environment::new(names, variables.clone())
}

/// Whether `matchConstraints`, or the `matchResources` of a binding, take the pod.
fn covers(constraints: Option<&Yaml>, request: Request) -> Result<bool, Fault> {
    let Some(constraints) = constraints else { return Ok(false) };
    if let Some(selector) = constraints.get("namespaceSelector") {
        match selector::of_namespace(selector, &request.pod.namespace) {
            Some(true) => {}
            Some(false) => return Ok(false),
            None => return Err(Fault::unknown("it depends on labels of namespaces that kic does not know")),
        }
    }
    if let Some(selector) = constraints.get("objectSelector") {
        match selector::matches(selector, false, |key| request.pod.label("labels", key)) {
            Some(true) => {}
            Some(false) => return Ok(false),
            None => return Err(Fault::unknown("its selector of labels is not well formed")),
        }
    }
    let any = |key: &str| {
        constraints.get(key).map(Yaml::items).unwrap_or_default().iter().any(|rule| takes(rule, request))
    };
    let rules = constraints.get("resourceRules").map(Yaml::items).unwrap_or_default();
    // A binding without rules takes what the policy takes.
    Ok((rules.is_empty() || any("resourceRules")) && !any("excludeResourceRules"))
}

/// Whether a rule takes the request.
fn takes(rule: &Yaml, request: Request) -> bool {
    let words = |key: &str| -> BTreeSet<&str> {
        rule.get(key).map(Yaml::items).unwrap_or_default().iter().filter_map(Yaml::as_str).collect()
    };
    let has = |key: &str, word: &str| {
        let words = words(key);
        words.contains(word) || words.contains("*")
    };
    let subresource = request.operation.subresource();
    let resources = words("resources");
    let resource = if subresource.is_empty() {
        resources.contains("pods") || resources.contains("*")
    } else {
        [format!("pods/{subresource}"), "pods/*".to_owned(), format!("*/{subresource}")]
            .iter()
            .any(|resource| resources.contains(resource.as_str()))
    } || resources.contains("*/*");
    let names = words("resourceNames");
    has("apiGroups", "")
        && has("apiVersions", "v1")
        && has("operations", request.operation.name())
        && resource
        && (names.is_empty() || names.contains(request.pod.name()))
        && rule.get("scope").and_then(Yaml::as_str) != Some("Cluster")
}
