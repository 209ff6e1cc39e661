//! What charts and kustomizations become.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use kic_base::{Digest, Spanned};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::{ContentFacts, RenderFacts, render_key};
use kic_spec::{Chart, ChartValues, Content, Kustomization, ManifestItem, Spec, unreadable};

use super::charts;
use super::pins::Pins;
use crate::context::Context;
use crate::render::{
    Helm, Rendered, find_helm, find_kustomize, gather_kustomization, refused, render_chart,
    render_kustomization,
};

/// What a chart or kustomization became, and what else of it names images.
#[derive(Debug, Default)]
pub(super) struct Render {
    pub facts: RenderFacts,
    /// Hooks that an installation does not run.
    pub dropped: String,
    /// The chart's own description.
    pub description: Option<(String, String)>,
}

/// The largest file of values, in bytes.
const VALUES_LIMIT: u64 = 16 << 20;

/// Renders every chart and kustomization of the spec, several at one time.
pub(super) async fn gather(
    spec: &Spec,
    fetches: &BTreeMap<String, ContentFacts>,
    pins: &mut Pins,
    context: &Context,
) -> Result<BTreeMap<Digest, Render>, Diagnostics> {
    let mut wanted: BTreeMap<Digest, &Spanned<ManifestItem>> = BTreeMap::new();
    let mut order = Vec::new();
    for item in items(spec) {
        let Some(key) = render_key(spec, &item.value) else { continue };
        if wanted.insert(key, item).is_none() {
            order.push((key, item));
        }
    }
    let shared: &Pins = pins;
    let results: Vec<_> = stream::iter(order)
        .map(|(key, item)| async move {
            let result = match &item.value {
                ManifestItem::Chart(chart) => self::chart(chart, spec, fetches, shared, context).await,
                ManifestItem::Kustomize(kustomization) => {
                    self::kustomization(kustomization, spec, context).await.map(|render| (render, None))
                }
                _ => Ok((Render::default(), None)),
            };
            (key, result)
        })
        .buffered(context.jobs.clamp(1, 8))
        .collect()
        .await;
    let mut diagnostics = Diagnostics::new();
    let mut renders = BTreeMap::new();
    for (key, result) in results {
        match result {
            Ok((render, pin)) => {
                pins.used.charts.extend(pin);
                renders.insert(key, render);
            }
            Err(errors) => diagnostics.append(errors),
        }
    }
    diagnostics.or(renders).map(|(renders, _)| renders)
}

fn items(spec: &Spec) -> impl Iterator<Item = &Spanned<ManifestItem>> {
    spec.layers.iter().flat_map(|layer| match &layer.content {
        Content::Manifests { items, .. } | Content::Policies { items, .. } => items.as_slice(),
        _ => &[],
    })
}

async fn chart(
    chart: &Chart,
    spec: &Spec,
    fetches: &BTreeMap<String, ContentFacts>,
    pins: &Pins,
    context: &Context,
) -> Result<(Render, Option<charts::Pinned>), Diagnostics> {
    let mut diagnostics = Diagnostics::new();
    let mut values = Vec::new();
    for one in &chart.values {
        match &one.value {
            ChartValues::Inline(map) => values.push(map.to_string().into_bytes()),
            ChartValues::File(path) => {
                let path = spec.locate_from(path, &one.span);
                context.sources.note_use(&path);
                match read_values(&path) {
                    Ok(bytes) => values.push(bytes),
                    Err(error) => diagnostics.push(unreadable(&path, &one.span, &error)),
                }
            }
        }
    }
    let files = charts::files(chart, spec, fetches, pins, context).await;
    let files = super::keep(files, &mut diagnostics);
    let (Some((files, name, pin)), false) = (files, diagnostics.has_errors()) else {
        return Err(diagnostics);
    };
    let program = find_helm(&chart.source.span, context)?;
    let description = files.inside.get("Chart.yaml").and_then(|bytes| String::from_utf8(bytes.clone()).ok());
    let description = description.map(|text| (format!("Chart.yaml of {name}"), text));
    let (chart, on_the_pool) = (chart.clone(), context.clone());
    let rendered = context
        .blocking(move || {
            let helm = Helm { chart: &chart, files, values, name };
            render_chart(&helm, &program, &on_the_pool)
        })
        .await?;
    let mut render = render(rendered);
    render.description = description;
    Ok((render, pin))
}

fn read_values(path: &std::path::Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    file.take(VALUES_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > VALUES_LIMIT {
        return Err(std::io::Error::other("it is larger than 16 MiB"));
    }
    Ok(bytes)
}

async fn kustomization(
    kustomization: &Kustomization,
    spec: &Spec,
    context: &Context,
) -> Result<Render, Diagnostics> {
    let span = kustomization.folder.span.clone();
    let folder = spec.locate(&kustomization.folder);
    let file_name = kustomization.file_name.clone();
    let on_the_pool = context.clone();
    let rendered = context
        .blocking(move || {
            let shown = folder.display().to_string();
            let kustomize = gather_kustomization(&folder, &shown, &span, &on_the_pool.sources)?;
            let program = find_kustomize(&span, &on_the_pool)?;
            render_kustomization(&kustomize, &file_name, &shown, &span, &program, &on_the_pool)
        })
        .await?;
    if rendered.files.iter().all(|(_, text)| text.trim().is_empty()) {
        return Err(Diagnostic::new(&code::KUSTOMIZE_FAILED, "the kustomization has no objects")
            .at(&kustomization.folder.span, "it becomes nothing")
            .help("name what it is made of under `resources`")
            .into());
    }
    Ok(render(rendered))
}

fn render(rendered: Rendered) -> Render {
    let files = rendered.files.into_iter().map(|(name, text)| (name, text.into())).collect();
    Render { facts: RenderFacts { files }, dropped: rendered.dropped, description: None }
}

/// The files of a chart's folder.
pub(super) fn folder(
    path: &std::path::Path,
    span: &kic_base::Span,
    context: &Context,
) -> Result<BTreeMap<String, Vec<u8>>, Diagnostic> {
    crate::render::folder_files(path, &context.sources).map_err(|error| refused(error, span))
}
