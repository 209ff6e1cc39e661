//! Charts: from what a spec names to the chart's own files, by digest.

use std::collections::BTreeMap;
use std::fs;

use futures::StreamExt as _;
use kic_base::{Digest, ImageReference, Source, Span, Spanned};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::{ContentFacts, Origin};
use kic_manifest::Yaml;
use kic_oci::model::{Document, Manifest};
use kic_spec::{Chart, ChartKey, ChartPin, ChartSource, Spec, unreadable};

use super::pins::Pins;
use super::{chart_version, renders};
use crate::context::Context;
use crate::documents::{ATTEMPTS, Documents};
use crate::event::Event;
use crate::fault;
use crate::render::ChartFiles;

/// A chart's name and what it stands for.
pub(super) type Pinned = (ChartKey, ChartPin);

/// The largest archive of a chart, in bytes.
const ARCHIVE_LIMIT: u64 = 64 << 20;
/// The largest index of a repository, in bytes.
const INDEX_LIMIT: u64 = 64 << 20;

/// The media type of a chart's archive in a registry.
const CHART_LAYER: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// The files of a chart, how messages call it, and its pin where it is not on this machine.
pub(super) async fn files(
    chart: &Chart,
    spec: &Spec,
    fetches: &BTreeMap<String, ContentFacts>,
    pins: &Pins,
    context: &Context,
) -> Result<(ChartFiles, String, Option<Pinned>), Diagnostics> {
    let span = &chart.source.span;
    let (archive, name, pin) = match &chart.source.value {
        ChartSource::Path(path) => {
            let path = spec.locate_from(path, span);
            let name = path.display().to_string();
            context.sources.note_use(&path);
            let metadata = fs::metadata(&path).map_err(|error| unreadable(&path, span, &error))?;
            if metadata.is_dir() {
                let inside = renders::folder(&path, span, context)?;
                let files = ChartFiles::of_folder(inside).map_err(|why| no_chart(&name, &why, span))?;
                return Ok((files, name, None));
            }
            if !metadata.is_file() || metadata.len() > ARCHIVE_LIMIT {
                return Err(no_chart(&name, "it is no file of a chart's size", span).into());
            }
            (fs::read(&path).map_err(|error| unreadable(&path, span, &error))?, name, None)
        }
        ChartSource::Url(fetch) => {
            let Some(content) = fetches.get(&fetch.url.value) else {
                // Why it was not fetched is reported already.
                return Err(Diagnostics::new());
            };
            (stored(&content.digest, context)?, fetch.url.value.clone(), None)
        }
        ChartSource::Repository { url, name, version } => {
            let key = ChartKey { name: name.clone(), repo: Some(url.clone()), version: version.clone() };
            let pin = in_repository(&key, url, span, pins, context).await?;
            (stored(&pin.sha256, context)?, name.clone(), Some((key, pin)))
        }
        ChartSource::Registry(reference) => {
            let key = ChartKey { name: format!("oci://{reference}"), repo: None, version: None };
            let pin = in_registry(&key, reference, span, pins, context).await?;
            (stored(&pin.sha256, context)?, key.name.clone(), Some((key, pin)))
        }
    };
    let files = ChartFiles::of_archive(archive).map_err(|why| no_chart(&name, &why, span))?;
    Ok((files, name, pin))
}

fn no_chart(name: &str, why: &str, span: &Span) -> Diagnostic {
    Diagnostic::new(&code::INVALID_CHART, format!("`{name}` is no chart: {why}"))
        .at(span, "named here")
        .help("a chart is a folder with a `Chart.yaml`, or the archive that `helm package` makes of one")
}

fn stored(digest: &Digest, context: &Context) -> Result<Vec<u8>, Diagnostic> {
    context.store.read(digest, ARCHIVE_LIMIT).map_err(|error| fault::store(&error))
}

/// A chart of a registry: the pin, else what the tag stands for. Its archive is in the store afterwards.
async fn in_registry(
    key: &ChartKey,
    reference: &ImageReference,
    span: &Span,
    pins: &Pins,
    context: &Context,
) -> Result<ChartPin, Diagnostics> {
    let wanted = Spanned::new(key.name.clone(), span.clone());
    if let Some(pin) = pins.chart(key) {
        let at = match pin.manifest {
            Some(digest) => reference.at(digest),
            None => reference.clone(),
        };
        blob(&pin.sha256, pin.size, &at, &wanted, context).await?;
        return Ok(pin.clone());
    }
    pins.may_add(&wanted)?;
    context.go_on()?;
    let network = context.network(&wanted.value, Some(span))?;
    context.watch.event(Event::Resolving(&wanted.value));
    let at = reference.digest().map_or_else(|| reference.clone(), |digest| reference.at(*digest));
    let resolve =
        async { network.resolve(&at).await.map_err(|error| fault::registry(&error, Some(span)).into()) };
    let document = context.interruptible(resolve).await?;
    let documents = Documents { context, origin: Origin::Registry(reference.clone()), span: Some(span) };
    let parsed = Document::parse(&document.media_type, &document.bytes)
        .map_err(|error| documents.invalid(&document.digest, &error))?;
    let (digest, size) = chart_layer(&parsed)
        .ok_or_else(|| no_chart(&wanted.value, "the registry holds something else under this name", span))?;
    if size > ARCHIVE_LIMIT {
        return Err(no_chart(&wanted.value, &format!("its archive has {size} bytes"), span).into());
    }
    blob(&digest, size, &reference.at(document.digest), &wanted, context).await?;
    context.watch.event(Event::Resolved(&wanted.value));
    Ok(ChartPin { archive: None, manifest: Some(document.digest), sha256: digest, size })
}

fn chart_layer(document: &Document) -> Option<(Digest, u64)> {
    let Document::Manifest(Manifest { layers, .. }) = document else { return None };
    let layer = layers.iter().find(|layer| layer.media_type == CHART_LAYER)?;
    Some((layer.digest, layer.size))
}

/// Puts a blob of a registry into the store.
async fn blob(
    digest: &Digest,
    size: u64,
    reference: &ImageReference,
    wanted: &Spanned<String>,
    context: &Context,
) -> Result<(), Diagnostics> {
    if known(digest, context).await? {
        return Ok(());
    }
    let network = context.network(&wanted.value, Some(&wanted.span))?;
    let mut bytes = Vec::new();
    // Wrong content may be that of one mirror, or of a cache on the way.
    for attempt in 0..ATTEMPTS {
        let stream = network.blob_again(reference, digest, size, attempt);
        bytes = collect(stream, size, &wanted.span, context).await?;
        if Digest::of(&bytes) == *digest {
            break;
        }
    }
    keep(&bytes, Some(digest), wanted, context).map(|_| ())
}

/// A chart of an HTTP repository: the pin, else what the index says. Its archive is in the store afterwards.
async fn in_repository(
    key: &ChartKey,
    repo: &str,
    span: &Span,
    pins: &Pins,
    context: &Context,
) -> Result<ChartPin, Diagnostics> {
    let wanted = Spanned::new(shown(key), span.clone());
    if let Some(pin) = pins.chart(key) {
        let url = pin.archive.as_ref().map(|(_, url)| url.clone()).unwrap_or_default();
        archive(&url, Some(&pin.sha256), &wanted, context).await?;
        return Ok(pin.clone());
    }
    pins.may_add(&wanted)?;
    context.go_on()?;
    let network = context.network(&wanted.value, Some(span))?;
    context.watch.event(Event::Resolving(&wanted.value));
    let url = format!("{repo}/index.yaml");
    let bytes = collect(network.fetch(&url, None), INDEX_LIMIT, span, context).await?;
    let index = context.blocking({
        let (key, url, span) = (key.clone(), url.clone(), span.clone());
        move || choose(&key, &url, bytes, &span).map_err(Diagnostics::from)
    });
    let entry = index.await?;
    let url = resolve_url(repo, &entry.url);
    let (digest, size) = archive(&url, entry.digest.as_ref(), &wanted, context).await?;
    context.watch.event(Event::Resolved(&wanted.value));
    Ok(ChartPin { archive: Some((entry.version, url)), manifest: None, sha256: digest, size })
}

/// How messages call a chart of a repository.
fn shown(key: &ChartKey) -> String {
    let version = key.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    format!("{}{version} of {}", key.name, key.repo.as_deref().unwrap_or_default())
}

/// A version of a chart in an index.
struct IndexEntry {
    version: String,
    url: String,
    digest: Option<Digest>,
}

/// The version that is asked for, else the newest release.
fn choose(key: &ChartKey, url: &str, bytes: Vec<u8>, span: &Span) -> Result<IndexEntry, Diagnostic> {
    let no_index = |why: &str| {
        Diagnostic::new(&code::CHART_REPOSITORY, format!("`{url}` is no index of a chart repository: {why}"))
            .at(span, "asked because of this")
            .help("check the address: it is that of the folder in which `index.yaml` lies")
    };
    let text = String::from_utf8(bytes).map_err(|_| no_index("it is not UTF-8 text"))?;
    let (documents, errors) = kic_manifest::documents(&Source::new(url.to_owned(), text));
    let entries = documents.first().and_then(|root| root.get("entries"));
    let Some(entries) = entries else {
        let why = errors.first().map_or("it has no `entries`", |error| error.message.as_str());
        return Err(no_index(why));
    };
    let Some(versions) = entries.get(&key.name) else {
        let names: Vec<_> = entries.entries().iter().map(|(name, _)| name.key()).collect();
        let help = match kic_base::closest(&key.name, names.iter().map(AsRef::as_ref)) {
            Some(close) => format!("did you mean `{close}`?"),
            None => format!("it has {} charts, and none of that name", names.len()),
        };
        return Err(not_found(key, span).help(help));
    };
    // A checksum of digits alone would be a number.
    let text = |entry: &Yaml, name: &str| {
        let value = entry.get(name)?;
        Some(value.as_str().unwrap_or_else(|| value.span.text()).to_owned())
    };
    let all: Vec<(String, &Yaml)> =
        versions.items().iter().filter_map(|entry| Some((text(entry, "version")?, entry))).collect();
    let chosen = match &key.version {
        Some(wanted) => all.iter().find(|(version, _)| chart_version::same(version, wanted)),
        None => all
            .iter()
            .filter(|(version, _)| chart_version::is_release(version))
            .max_by(|(left, _), (right, _)| chart_version::compare(left, right)),
    };
    let Some((version, entry)) = chosen else {
        let mut versions: Vec<&str> = all.iter().map(|(version, _)| version.as_str()).collect();
        versions.sort_by(|left, right| chart_version::compare(right, left));
        versions.truncate(5);
        let help = match &key.version {
            Some(_) if !versions.is_empty() => format!("it has {}", versions.join(", ")),
            Some(_) => "the index names no version of it".to_owned(),
            None => "it has no release: say which version is meant with `version=\"…\"`".to_owned(),
        };
        return Err(not_found(key, span).help(help));
    };
    let url = entry.get("urls").and_then(|urls| urls.items().first()?.as_str());
    let Some(url) = url else { return Err(no_index(&format!("{} {version} has no URL", key.name))) };
    let digest = text(entry, "digest").and_then(|digest| {
        let digest = digest.strip_prefix("sha256:").unwrap_or(&digest).to_lowercase();
        Digest::from_hex(&digest).ok()
    });
    Ok(IndexEntry { version: version.clone(), url: url.to_owned(), digest })
}

fn not_found(key: &ChartKey, span: &Span) -> Diagnostic {
    let version = key.version.as_ref().map(|version| format!(" in version {version}")).unwrap_or_default();
    let repo = key.repo.as_deref().unwrap_or_default();
    Diagnostic::new(&code::CHART_NOT_FOUND, format!("`{repo}` has no chart `{}`{version}", key.name))
        .at(span, "named here")
}

/// The address of an archive, which may be relative to that of the repository.
fn resolve_url(repo: &str, url: &str) -> String {
    if url.contains("://") {
        return url.to_owned();
    }
    match url.strip_prefix('/') {
        // From the root of the host.
        Some(path) => {
            let host = repo.find("://").and_then(|at| repo[at + 3..].find('/').map(|end| at + 3 + end));
            format!("{}/{path}", &repo[..host.unwrap_or(repo.len())])
        }
        None => format!("{repo}/{url}"),
    }
}

/// Puts an archive into the store, and says what it is.
async fn archive(
    url: &str,
    digest: Option<&Digest>,
    wanted: &Spanned<String>,
    context: &Context,
) -> Result<(Digest, u64), Diagnostics> {
    if let Some(digest) = digest
        && known(digest, context).await?
        && let Some(size) = context.store.size(digest).map_err(|error| fault::store(&error))?
    {
        return Ok((*digest, size));
    }
    let network = context.network(&wanted.value, Some(&wanted.span))?;
    let mut bytes = Vec::new();
    // What arrives wrong once may arrive right.
    for _ in 0..ATTEMPTS {
        bytes = collect(network.fetch(url, None), ARCHIVE_LIMIT, &wanted.span, context).await?;
        if digest.is_none_or(|digest| Digest::of(&bytes) == *digest) {
            break;
        }
    }
    let digest = keep(&bytes, digest, wanted, context)?;
    Ok((digest, bytes.len() as u64))
}

/// Whether the store has the bytes; those of the substituter are taken over.
async fn known(digest: &Digest, context: &Context) -> Result<bool, Diagnostics> {
    if context.store.contains(digest) {
        return Ok(true);
    }
    match context.substituter.as_ref().filter(|store| store.contains(digest)) {
        Some(store) => super::pins::take_over(store, &context.store, digest, context).await.map(|()| true),
        None => Ok(false),
    }
}

async fn collect(
    stream: impl futures::Stream<Item = Result<bytes::Bytes, kic_registry::RegistryError>> + Unpin,
    limit: u64,
    span: &Span,
    context: &Context,
) -> Result<Vec<u8>, Diagnostics> {
    let mut stream = stream;
    let mut bytes = Vec::new();
    loop {
        let next = context.interruptible(async { Ok(stream.next().await) }).await?;
        match next {
            None => return Ok(bytes),
            Some(Err(error)) => return Err(fault::registry(&error, Some(span)).into()),
            Some(Ok(piece)) => bytes.extend_from_slice(&piece),
        }
        if bytes.len() as u64 > limit {
            return Err(Diagnostic::new(
                &code::BODY_TOO_LARGE,
                format!("the server sends more than {} MiB for a chart", limit >> 20),
            )
            .at(span, "needed here")
            .help("check the address: no chart, and no index, has that size")
            .into());
        }
    }
}

fn keep(
    bytes: &[u8],
    expected: Option<&Digest>,
    wanted: &Spanned<String>,
    context: &Context,
) -> Result<Digest, Diagnostics> {
    let found = Digest::of(bytes);
    if let Some(expected) = expected.filter(|expected| **expected != found) {
        return Err(Diagnostic::new(
            &code::DIGEST_MISMATCH,
            format!(
                "the archive of `{}` has the checksum {}, not {}",
                wanted.value,
                found.hex(),
                expected.hex()
            ),
        )
        .at(&wanted.span, "fetched because of this")
        .help(
            "upstream changed it, or it was changed on its way: look at it before you take the new checksum",
        )
        .into());
    }
    context.store.put(bytes).map_err(|error| fault::store(&error).into())
}
