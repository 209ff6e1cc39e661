//! The checks of one `readiness` layer in the two forms that its image holds: JSON for kic, and a POSIX script
//! for a machine that has only kubectl.
//!
//! **Invariant:** whatever text a spec holds, it reaches the script as one quoted word, and never as shell text;
//! only a `command` check is run by the shell, because that is what it asks for.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use kic_spec::readiness::{Check, CheckKind};
use serde_json::{Map, Value, json};

/// The version of the JSON's shape.
const VERSION: u32 = 1;

/// The checks as JSON without spaces, keys sorted, no line end:
/// `{"checks":[CHECK…],"name":NAME,"version":1}`.
///
/// Each CHECK has `interval_seconds`, `kind`, `timeout_seconds`, and the fields of its kind; `namespace` is left
/// out where the spec names none:
///
/// | `kind` | fields |
/// |---|---|
/// | `rollout` | `namespace`, `resource` |
/// | `condition` | `condition`, `namespace`, `resource`, `status` |
/// | `exists` | `namespace`, `resource` |
/// | `established` | `crds` |
/// | `jsonpath` | `equals`, `namespace`, `path`, `resource` |
/// | `nodes` | `count` |
/// | `endpoints` | `count`, `namespace`, `service` |
/// | `webhook` | `resource` |
/// | `admits` | `object` |
/// | `policy` | `namespace`, `resource` |
/// | `http` | `insecure`, `status`, `url` |
/// | `command` | `command` |
pub fn readiness_json(name: &str, checks: &[Check]) -> Vec<u8> {
    let checks: Vec<Value> = checks.iter().map(check_json).collect();
    sorted(json!({ "checks": checks, "name": name, "version": VERSION })).to_string().into_bytes()
}

/// The checks as a script for any POSIX `sh`. `sh wait-NAME.sh` waits and reports to standard error;
/// `--list` prints the checks. Exit status: 0 when all passed, 1 when one did not within its time, 2 when
/// kubectl (or the program that `KUBECTL` names), or curl and wget both, are missing, or the use is wrong.
///
/// It needs no GNU program: `date +%s`, `head`, `mktemp -d`, `sed`, `sleep`, `tail`, `tr` and `uniq` of busybox will do.
/// A NUL character, which no argument of a program can hold, is left out.
pub fn readiness_script(name: &str, checks: &[Check]) -> String {
    let parts: BTreeSet<&str> = checks.iter().flat_map(|check| parts(&check.what)).copied().collect();
    let mut script = String::from(include_str!("readiness_script/begin.sh"));
    script.extend(parts);
    script.push_str(include_str!("readiness_script/await.sh"));

    let mut list = String::new();
    let mut awaits = String::new();
    for check in checks {
        let what = quoted(&describe(&check.what));
        let timeout = check.timeout_seconds;
        // Writing to a string cannot fail.
        let _ = writeln!(list, "    printf '%s (at most %s s)\\n' {what} {timeout}");
        let _ = writeln!(awaits, "    await {timeout} {} {what} \\", check.interval_seconds.max(1));
        let _ = writeln!(awaits, "        {}", call(&check.what));
    }
    let uses_kubectl =
        |check: &Check| !matches!(check.what, CheckKind::Http { .. } | CheckKind::Command { .. });
    let mut required = String::new();
    let mut settings = format!("\nname={}\n", quoted(&format!("wait-{}", one_line(name))));
    if checks.iter().any(uses_kubectl) {
        settings.push_str("kubectl=${KUBECTL:-kubectl}\n");
        required.push_str("    needs \"$kubectl\"\n");
    }
    if checks.iter().any(|check| matches!(check.what, CheckKind::Http { .. })) {
        required.push_str("    needs curl wget\n");
    }
    script.push_str(&settings);
    for (function, body) in [("list", list), ("required", required), ("checks", awaits)] {
        let body = if body.is_empty() { "    :\n" } else { &body };
        let _ = write!(script, "\n{function}() {{\n{body}}}\n");
    }
    script.push_str(include_str!("readiness_script/end.sh"));
    script
}

fn check_json(check: &Check) -> Value {
    let mut value = match &check.what {
        CheckKind::Rollout { resource, namespace } => {
            json!({ "kind": "rollout", "resource": resource, "namespace": namespace })
        }
        CheckKind::Condition { resource, condition, status, namespace } => json!({
            "kind": "condition", "resource": resource, "condition": condition, "status": status,
            "namespace": namespace,
        }),
        CheckKind::Exists { resource, namespace } => {
            json!({ "kind": "exists", "resource": resource, "namespace": namespace })
        }
        CheckKind::Established { crds } => json!({ "kind": "established", "crds": crds }),
        CheckKind::Jsonpath { resource, path, equals, namespace } => json!({
            "kind": "jsonpath", "resource": resource, "path": path, "equals": equals, "namespace": namespace,
        }),
        CheckKind::Nodes { count } => json!({ "kind": "nodes", "count": count }),
        CheckKind::Endpoints { service, namespace, count } => json!({
            "kind": "endpoints", "service": service, "namespace": namespace, "count": count,
        }),
        CheckKind::Webhook { resource } => json!({ "kind": "webhook", "resource": resource }),
        CheckKind::Admits { object } => json!({ "kind": "admits", "object": object }),
        CheckKind::Policy { resource, namespace } => {
            json!({ "kind": "policy", "resource": resource, "namespace": namespace })
        }
        CheckKind::Http { url, status, insecure } => {
            json!({ "kind": "http", "url": url, "status": status, "insecure": insecure })
        }
        CheckKind::Command { command } => json!({ "kind": "command", "command": command }),
    };
    value["timeout_seconds"] = check.timeout_seconds.into();
    value["interval_seconds"] = check.interval_seconds.into();
    if value["namespace"].is_null()
        && let Some(fields) = value.as_object_mut()
    {
        fields.remove("namespace");
    }
    sorted(value)
}

/// The value with the keys of every object in order, also where a build of serde_json keeps the order of insertion.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(String, Value)> =
                fields.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            fields.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(Map::from_iter(fields))
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

/// The functions of the script that a check of that kind calls.
fn parts(what: &CheckKind) -> &'static [&'static str] {
    const ENDPOINTS: &str = include_str!("readiness_script/endpoints.sh");
    match what {
        CheckKind::Rollout { .. } => &[include_str!("readiness_script/rollout.sh")],
        CheckKind::Condition { .. } | CheckKind::Established { .. } => {
            &[include_str!("readiness_script/condition.sh")]
        }
        CheckKind::Exists { .. } => &[include_str!("readiness_script/exists.sh")],
        CheckKind::Jsonpath { .. } => &[include_str!("readiness_script/jsonpath.sh")],
        CheckKind::Nodes { .. } => &[include_str!("readiness_script/nodes.sh")],
        CheckKind::Endpoints { .. } => &[ENDPOINTS],
        CheckKind::Webhook { .. } => &[include_str!("readiness_script/webhook.sh"), ENDPOINTS],
        CheckKind::Admits { .. } => &[include_str!("readiness_script/admits.sh")],
        CheckKind::Policy { .. } => &[include_str!("readiness_script/policy.sh")],
        CheckKind::Http { .. } => &[include_str!("readiness_script/http.sh")],
        CheckKind::Command { .. } => &[include_str!("readiness_script/shell.sh")],
    }
}

/// The call of that function: the check as words of the shell.
fn call(what: &CheckKind) -> String {
    let on = |resource: &str, namespace: &Option<String>| {
        let namespace = namespace.as_ref().map(|name| format!("--namespace={} ", quoted(name)));
        format!("{}-- {}", namespace.unwrap_or_default(), quoted(resource))
    };
    match what {
        CheckKind::Rollout { resource, namespace } => format!("rollout {}", on(resource, namespace)),
        CheckKind::Condition { resource, condition, status, namespace } => {
            let all = if is_kind(resource) { "--all " } else { "" };
            format!("condition {} {all}{}", quoted(&format!("{condition}={status}")), on(resource, namespace))
        }
        CheckKind::Exists { resource, namespace } => format!("exists {}", on(resource, namespace)),
        CheckKind::Established { crds } => {
            let names =
                crds.iter().map(|name| format!(" {}", quoted(&format!("customresourcedefinition/{name}"))));
            format!("condition 'Established=True' --{}", names.collect::<String>())
        }
        CheckKind::Jsonpath { resource, path, equals, namespace } => {
            let path = template(path);
            let (objects, path) = if is_kind(resource) {
                ("each", format!("{{range .items[*]}}{path}{{\"\\n\"}}{{end}}"))
            } else {
                ("one", path)
            };
            let output = quoted(&format!("jsonpath={path}"));
            format!("jsonpath {objects} {} --output={output} {}", quoted(equals), on(resource, namespace))
        }
        CheckKind::Nodes { count } => format!("nodes {count}"),
        CheckKind::Endpoints { service, namespace, count } => {
            format!("endpoints {count} {}", on(&format!("endpoints/{service}"), namespace))
        }
        CheckKind::Webhook { resource } => format!("webhook -- {}", quoted(resource)),
        CheckKind::Admits { object } => format!("admits {}", quoted(&sorted(object.clone()).to_string())),
        CheckKind::Policy { resource, namespace } => {
            let objects = if is_kind(resource) { "each" } else { "one" };
            format!("policy {objects} {}", on(resource, namespace))
        }
        CheckKind::Http { url, status, insecure } => {
            format!("http {} {status} {}", quoted(url), if *insecure { "insecure" } else { "secure" })
        }
        CheckKind::Command { command } => format!("shell {}", quoted(command)),
    }
}

/// What a check waits for, in one line for people.
fn describe(what: &CheckKind) -> String {
    let inside = |namespace: &Option<String>| {
        namespace.as_ref().map(|name| format!(" in namespace {name}")).unwrap_or_default()
    };
    let which = |resource: &str| {
        let every = if is_kind(resource) { "every one of " } else { "" };
        format!("{every}{resource}")
    };
    one_line(&match what {
        CheckKind::Rollout { resource, namespace } => format!("rollout of {resource}{}", inside(namespace)),
        CheckKind::Condition { resource, condition, status, namespace } => {
            format!("condition {condition}={status} of {}{}", which(resource), inside(namespace))
        }
        CheckKind::Exists { resource, namespace } => format!("existence of {resource}{}", inside(namespace)),
        CheckKind::Established { crds } => format!("established definitions: {}", crds.join(", ")),
        CheckKind::Jsonpath { resource, path, equals, namespace } => {
            format!("{} = \"{equals}\" in {}{}", template(path), which(resource), inside(namespace))
        }
        CheckKind::Nodes { count: 1 } => "every node ready".to_owned(),
        CheckKind::Nodes { count } => format!("{count} nodes, every one ready"),
        CheckKind::Endpoints { service, namespace, count } => {
            let addresses = if *count == 1 { "an address".to_owned() } else { format!("{count} addresses") };
            format!("{addresses} behind the service {service}{}", inside(namespace))
        }
        CheckKind::Webhook { resource } => format!("webhooks of {resource}"),
        CheckKind::Admits { object } => {
            let part = |part: &Value| part.as_str().unwrap_or_default().to_owned();
            let namespace = object["metadata"]["namespace"].as_str().map(str::to_owned);
            format!(
                "admission of a {} {}{}",
                part(&object["kind"]),
                part(&object["metadata"]["name"]),
                inside(&namespace)
            )
        }
        CheckKind::Policy { resource, namespace } => {
            format!("readiness of {}{}", which(resource), inside(namespace))
        }
        CheckKind::Http { url, status, .. } => format!("status {status} from {url}"),
        CheckKind::Command { command } => format!("success of: {command}"),
    })
}

/// Whether a resource is a kind alone, and so stands for every object of that kind.
fn is_kind(resource: &str) -> bool {
    !resource.contains('/')
}

/// A JSONPath template: the path itself where it has braces, else the path in braces.
fn template(path: &str) -> String {
    if path.contains('{') {
        path.to_owned()
    } else if path.starts_with(['.', '[', '$', '@']) {
        format!("{{{path}}}")
    } else {
        format!("{{.{path}}}")
    }
}

/// One word of the shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\0', "").replace('\'', r"'\''"))
}

/// The text with line ends and other control characters written as escapes.
fn one_line(text: &str) -> String {
    let shown = |character: char| {
        if character.is_control() { character.escape_default().to_string() } else { character.to_string() }
    };
    text.chars().map(shown).collect()
}
