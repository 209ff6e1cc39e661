//! Charts, by `helm template`.

use std::collections::BTreeMap;

use kic_base::{Source, Span};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::ChartPart;
use kic_oci::{PackedLimits, packed_files};
use kic_spec::Chart;

use super::program::{Program, find_program};
use super::rendered::{Job, Rendered, rendered};
use super::split::split;
use super::tree;
use crate::context::Context;

const HOW_TO_GET: &str =
    "install Helm 3 (https://helm.sh/docs/intro/install), or put the folder that holds it on your `PATH`";

/// A chart's own files.
#[derive(Debug, Clone)]
pub(crate) struct ChartFiles {
    /// What `helm` is given: the archive `chart.tgz`, or everything below `chart/`.
    pub given: BTreeMap<String, Vec<u8>>,
    /// The files, by their paths below the chart's folder.
    pub inside: BTreeMap<String, Vec<u8>>,
}

/// The name of the archive that `helm` is given.
const ARCHIVE: &str = "chart.tgz";
/// The name of the folder that `helm` is given.
const FOLDER: &str = "chart";

/// What an archive may hold.
pub(super) const LIMITS: PackedLimits = PackedLimits { bytes: tree::BYTES, files: tree::FILES };

impl ChartFiles {
    /// Those of a folder.
    pub fn of_folder(inside: BTreeMap<String, Vec<u8>>) -> Result<Self, String> {
        if !inside.contains_key("Chart.yaml") {
            return Err("it holds no `Chart.yaml`".to_owned());
        }
        let given = inside.iter().map(|(path, bytes)| (format!("{FOLDER}/{path}"), bytes.clone()));
        Ok(Self { given: given.collect(), inside })
    }

    /// Those of an archive, which holds one folder.
    pub fn of_archive(archive: Vec<u8>) -> Result<Self, String> {
        let packed = packed_files(archive.as_slice(), LIMITS).map_err(|error| error.to_string())?;
        let inside: BTreeMap<String, Vec<u8>> = packed
            .into_iter()
            .filter_map(|(path, bytes)| Some((path.split_once('/')?.1.to_owned(), bytes)))
            .collect();
        if !inside.contains_key("Chart.yaml") {
            return Err("it holds no folder with a `Chart.yaml`".to_owned());
        }
        Ok(Self { given: BTreeMap::from([(ARCHIVE.to_owned(), archive)]), inside })
    }
}

/// A chart with all that it needs.
pub(crate) struct Helm<'a> {
    pub chart: &'a Chart,
    pub files: ChartFiles,
    /// The texts of its values, in order.
    pub values: Vec<Vec<u8>>,
    /// How messages call it.
    pub name: String,
}

/// The `helm` of the user's.
pub(crate) fn find_helm(span: &Span, context: &Context) -> Result<Program, Diagnostic> {
    find_program(&[("helm", &["version", "--template", "{{.Version}}"])], HOW_TO_GET, span, context)
}

/// Renders a chart.
pub(crate) fn render_chart(
    helm: &Helm,
    program: &Program,
    context: &Context,
) -> Result<Rendered, Diagnostics> {
    let chart = helm.chart;
    let span = &chart.source.span;
    let mut files = helm.files.given.clone();
    let given = if files.contains_key(ARCHIVE) { ARCHIVE } else { FOLDER };
    let mut arguments: Vec<String> = Vec::new();
    for argument in ["template", &chart.release, given, "--namespace", &chart.namespace] {
        arguments.push(argument.to_owned());
    }
    if chart.include_crds {
        arguments.push("--include-crds".to_owned());
    }
    if let Some(version) = &chart.kube_version {
        arguments.extend(["--kube-version".to_owned(), version.clone()]);
    }
    for version in &chart.api_versions {
        arguments.extend(["--api-versions".to_owned(), version.clone()]);
    }
    for (index, values) in helm.values.iter().enumerate() {
        let path = format!("values-{index}.yaml");
        arguments.extend(["--values".to_owned(), path.clone()]);
        files.insert(path, values.clone());
    }
    let job = Job {
        program,
        arguments,
        files: &files,
        name: format!("the chart `{}`", helm.name),
        span,
        reads_clock: reads_clock(&helm.files.inside, 0),
        split: &|text| {
            let split = split(text, chart.hooks);
            let name = |(part, text): (ChartPart, String)| (part.file_name(&chart.release), text);
            Rendered { files: split.parts.into_iter().map(name).collect(), dropped: split.dropped }
        },
        explain: &|said| explain(helm, said, span),
    };
    rendered(&job, context)
}

/// Whether a template, also of a chart inside, has the word `now`, which stands for the time of day.
fn reads_clock(files: &BTreeMap<String, Vec<u8>>, depth: usize) -> bool {
    let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let has_word = |bytes: &[u8]| {
        bytes.windows(3).enumerate().filter(|(_, three)| *three == b"now").any(|(at, _)| {
            !is_word(at.checked_sub(1).and_then(|at| bytes.get(at))) && !is_word(bytes.get(at + 3))
        })
    };
    files.iter().any(|(path, bytes)| {
        if path.ends_with(".tgz") {
            // One that is deeper, or cannot be read, may.
            return depth > 4
                || packed_files(bytes.as_slice(), LIMITS)
                    .map_or(true, |inside| reads_clock(&inside, depth + 1));
        }
        path.split('/').any(|part| part == "templates") && has_word(bytes)
    })
}

/// The error of `helm`, with the place in the chart that it names.
fn explain(helm: &Helm, said: &str, span: &Span) -> Diagnostic {
    let begin = said.lines().position(|line| line.starts_with("Error: ")).unwrap_or(0);
    let lines: Vec<&str> = said
        .lines()
        .skip(begin)
        .filter(|line| !line.trim().is_empty() && !line.starts_with("Use --debug flag"))
        .take(30)
        .collect();
    let text = lines.join("\n");
    let text = text.strip_prefix("Error: ").unwrap_or(&text);
    let mut diagnostic =
        Diagnostic::new(&code::CHART_FAILED, format!("`helm` cannot render the chart `{}`", helm.name))
            .at(span, "this chart")
            .note(format!("helm: {text}"));
    if let Some(place) = place(text, &helm.files.inside) {
        diagnostic = diagnostic.at(&place, "in this template");
    }
    diagnostic.help(if text.contains("missing in charts/ directory") {
        "fetch what it depends on: run `helm dependency build` in its folder, and keep `charts/` with it"
    } else if text.contains("chart requires kubeVersion") {
        "say which version the cluster has: `kube-version=\"1.30.0\"`"
    } else {
        "give the values that it asks for with `values`; `helm template` with the same files says the same"
    })
}

/// The place that a message names as `CHART/templates/FILE:LINE:COLUMN`, in the chart's own file.
fn place(text: &str, files: &BTreeMap<String, Vec<u8>>) -> Option<Span> {
    let is_end = |character: char| character.is_whitespace() || "()\"'".contains(character);
    text.split(is_end).find_map(|word| {
        let mut parts = word.trim_end_matches([':', ',']).split(':');
        let (_, path) = parts.next()?.split_once('/')?;
        let content = String::from_utf8(files.get(path)?.clone()).ok()?;
        let line = parts.next().and_then(|line| line.parse::<usize>().ok()).unwrap_or(1);
        let begin = content.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        let length = content[begin..].lines().next().map_or(0, str::len);
        Some(Source::new(format!("chart: {path}"), content).span(begin..begin + length))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_that_helm_names_is_found() {
        let files = BTreeMap::from([("templates/a.yaml".to_owned(), b"one\ntwo\nthree".to_vec())]);
        let said =
            "template: shop/templates/a.yaml:2:3: executing \"shop/templates/a.yaml\" at <.x>: nil pointer";
        assert_eq!(place(said, &files).map(|span| span.text().to_owned()).as_deref(), Some("two"));
        let said = "execution error at (shop/templates/a.yaml:3:1): no";
        assert_eq!(place(said, &files).map(|span| span.text().to_owned()).as_deref(), Some("three"));
        let said = "YAML parse error on shop/templates/a.yaml: error converting YAML to JSON";
        assert_eq!(place(said, &files).map(|span| span.text().to_owned()).as_deref(), Some("one"));
        assert_eq!(place("template: shop/templates/b.yaml:2:3: x", &files), None);
        assert_eq!(
            place("template: shop/templates/a.yaml:99:3: x", &files).map(|span| span.range()),
            Some(13..13)
        );
    }

    #[test]
    fn the_word_now_is_told_from_others() {
        let reads = |text: &str| {
            reads_clock(&BTreeMap::from([("templates/a.yaml".to_owned(), text.as_bytes().to_vec())]), 0)
        };
        assert!(reads("{{ now | date \"2006\" }}"));
        assert!(reads("{{now}}"));
        assert!(!reads("{{ .Values.known }} nowhere"));
    }
}
