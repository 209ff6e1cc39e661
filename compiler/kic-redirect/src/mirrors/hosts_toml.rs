//! containerd's `hosts.toml`.

use kic_base::Source;

use super::toml::{self, Entry, Value};
use super::{Endpoint, Mirror, MirrorEngine, authority};
use crate::fault::Fault;
use crate::policy::Problem;

/// The mirror that the file of a host sets up.
pub(super) fn read(folder: &str, source: &Source) -> Result<Mirror, Problem> {
    let (tables, entries) = toml::read(source.text()).map_err(|error| {
        let end =
            source.text()[error.at..].find('\n').map_or(source.text().len(), |length| error.at + length);
        Problem::new(Fault::fails(error.message), "", source.span(error.at..end.max(error.at)))
    })?;
    let mut endpoints = Vec::new();
    for (table, at) in &tables {
        let [kind, url] = table.as_slice() else { continue };
        if kind != "host" {
            continue;
        }
        let span = source.span(at.clone());
        let own = |key: &str| entries.iter().find(|entry| entry.table == *table && entry.key == key);
        let Some((authority, path)) = authority(url) else {
            return Err(Problem::new(Fault::fails(format!("`{url}` is no URL of a registry")), "", span));
        };
        let overrides = matches!(own("override_path"), Some(Entry { value: Value::Bool(true), .. }));
        let capable = |capability: &str| match own("capabilities") {
            Some(Entry { value: Value::Array(items), .. }) => {
                items.iter().any(|item| matches!(item, Value::String(text) if text == capability))
            }
            _ => true,
        };
        if !capable("pull") {
            continue;
        }
        endpoints.push(Endpoint {
            authority,
            prefix: prefix(&path, overrides)
                .ok_or_else(|| {
                    let why = format!("a registry answers below `/v2/`, and `{url}` asks it elsewhere");
                    Problem::new(Fault::fails(why), "", span.clone())
                })?
                .to_owned(),
            rewrites: Vec::new(),
            resolves: capable("resolve"),
            span,
        });
    }
    // `server` is asked last, in place of the host itself; where it is a registry like the others, it is one.
    if let Some(Entry { value: Value::String(url), at, .. }) =
        entries.iter().find(|entry| entry.table.is_empty() && entry.key == "server")
        && let Some((authority, path)) = authority(url)
        && let Some(prefix) = prefix(&path, false)
        && host(folder).as_ref() != Some(&authority)
    {
        let span = source.span(at.clone());
        let prefix = prefix.to_owned();
        endpoints.push(Endpoint { authority, prefix, rewrites: Vec::new(), resolves: true, span });
    }
    Ok(Mirror { engine: MirrorEngine::Containerd, host: host(folder), endpoints })
}

/// What an endpoint's path puts before a repository. Without `override_path`, containerd asks below PATH/v2/.
fn prefix(path: &str, overrides: bool) -> Option<&str> {
    match path {
        "" if !overrides => Some(""),
        "v2" => Some(""),
        _ if overrides => path.strip_prefix("v2/"),
        _ => None,
    }
}

/// The host that a folder is for: a port may be written `_PORT_`, as some systems take no colons.
fn host(folder: &str) -> Option<String> {
    if folder == "_default" {
        return None;
    }
    if let Some((host, port)) = folder.strip_suffix('_').and_then(|rest| rest.rsplit_once('_'))
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Some(format!("{host}:{port}"));
    }
    Some(folder.to_owned())
}
