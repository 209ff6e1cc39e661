//! The parts of a spec as text.

use kic_syntax::Value;

use super::KubefileOptions;
use super::convert::{Layer, Parts};
use super::copied::{Copied, Kind, is_url};

/// The longest line of a comment.
const WIDTH: usize = 100;

/// The spec, to be formatted.
pub(super) fn write(parts: &Parts, options: &KubefileOptions<'_>) -> String {
    let version =
        options.version.map_or_else(String::new, |version| format!(" version={}", Value::from(version)));
    let mut out = format!("cluster {}{version} {{\n", Value::from(options.name));
    let block = |out: &mut String, lines: &[String]| {
        if !lines.is_empty() {
            out.push_str(&format!("{}\n\n", lines.join("\n")));
        }
    };
    block(&mut out, &parts.parameters);
    let head: Vec<String> = parts.platform.iter().chain(&parts.base).chain(&parts.labels).cloned().collect();
    block(&mut out, &head);
    block(&mut out, &registry(parts, options));
    let copies: Vec<String> = parts.copies.iter().filter_map(copy).collect();
    if !copies.is_empty() {
        out.push_str(&format!("files \"rootfs\" {{\n{}\n}}\n\n", copies.join("\n")));
    }
    for layer in &parts.layers {
        out.push_str(&manifests(layer));
    }
    if !parts.steps.is_empty() {
        out.push_str(&format!("launch {{\n{}\n}}\n\n", parts.steps.join("\n")));
    }
    if !parts.notes.is_empty() {
        out.push_str("// What the Kubefile says beyond this:\n");
    }
    for (_, note) in &parts.notes {
        out.push_str(&comment(note));
    }
    out.push_str("}\n");
    out
}

fn registry(parts: &Parts, options: &KubefileOptions<'_>) -> Vec<String> {
    let mut inside = Vec::new();
    if !parts.layers.is_empty() || !parts.steps.is_empty() {
        inside.push("discover".to_owned());
    }
    inside.extend(parts.lists.iter().cloned());
    if inside.is_empty() {
        return Vec::new();
    }
    vec![format!("registry {} {{\n{}\n}}", Value::from(options.registry), inside.join("\n"))]
}

/// `None` where all of it is in other layers.
fn copy(copied: &Copied) -> Option<String> {
    if copied.used.iter().any(String::is_empty) {
        return None;
    }
    let to = match (copied.to.as_str(), copied.is_into || copied.kind == Some(Kind::Folder)) {
        ("", _) => "/".to_owned(),
        (to, true) => format!("/{to}/"),
        (to, false) => format!("/{to}"),
    };
    let mode =
        copied.mode.as_ref().map_or_else(String::new, |mode| format!(" mode={}", Value::from(mode.as_str())));
    let to = Value::String(to);
    if copied.from.known().is_some_and(is_url) {
        return Some(format!("fetch {} to={to}{mode}", copied.from.kdl()));
    }
    let is_all = copied.from.known() == Some(".");
    let own = if is_all { ["cluster.kdl", "kic.lock"].as_slice() } else { &[] };
    let mut exclude: Vec<String> =
        copied.used.iter().map(|used| Value::String(glob(used)).to_string()).collect();
    exclude.extend(own.iter().map(|own| Value::from(*own).to_string()));
    let exclude =
        if exclude.is_empty() { String::new() } else { format!(" {{\nexclude {}\n}}", exclude.join(" ")) };
    Some(format!("copy {} to={to}{mode}{exclude}", copied.from.kdl()))
}

/// A glob that stands for one path below a folder.
fn glob(path: &str) -> String {
    path.chars().flat_map(|c| if "*?[]{}\\!".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}

fn manifests(layer: &Layer) -> String {
    let node = if layer.is_policy { "policies" } else { "manifests" };
    let namespace = layer
        .namespace
        .as_ref()
        .map_or_else(String::new, |name| format!(" namespace={}", Value::from(name.as_str())));
    format!("{node} {}{namespace} {{\n{}\n}}\n\n", Value::from(layer.name.as_str()), layer.items.join("\n"))
}

/// A comment, its lines broken at spaces.
fn comment(text: &str) -> String {
    let mut out = String::from("//");
    let mut width = 2;
    let mark = "\n//   ";
    for word in text.split_whitespace() {
        if width + word.chars().count() > WIDTH {
            out.push_str(mark);
            width = mark.len();
        } else {
            out.push(' ');
            width += 1;
        }
        // What would end or direct a line is shown as something else.
        out.extend(word.chars().map(|c| if c.is_control() { '␣' } else { c }));
        width += word.chars().count();
    }
    out.push('\n');
    out
}
