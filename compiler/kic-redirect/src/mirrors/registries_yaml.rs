//! The `registries.yaml` of k3s and RKE2.

use kic_base::Source;
use kic_manifest::{Yaml, documents};

use super::{Endpoint, Mirror, MirrorEngine, authority};
use crate::fault::Fault;
use crate::policy::Problem;

/// The mirrors that the file sets up.
pub(super) fn read(source: &Source) -> Result<Vec<Mirror>, Problem> {
    let (documents, errors) = documents(source);
    if let Some(error) = errors.into_iter().next() {
        return Err(Problem::new(Fault::fails(error.message), "", error.span));
    }
    let mut mirrors = Vec::new();
    for (host, mirror) in
        documents.first().and_then(|root| root.get("mirrors")).map(Yaml::entries).unwrap_or_default()
    {
        let rewrites: Vec<(String, String)> = mirror
            .get("rewrite")
            .map(Yaml::entries)
            .unwrap_or_default()
            .iter()
            .map(|(pattern, replacement)| {
                (pattern.key().into_owned(), replacement.as_str().unwrap_or_default().to_owned())
            })
            .collect();
        let mut endpoints = Vec::new();
        for endpoint in mirror.get("endpoint").map(Yaml::items).unwrap_or_default() {
            let url = endpoint.as_str().unwrap_or_default();
            let wrong = || {
                Problem::new(
                    Fault::fails(format!("`{url}` is no URL of a registry")),
                    "",
                    endpoint.span.clone(),
                )
            };
            let (authority, path) = authority(url).ok_or_else(wrong)?;
            let prefix = match path.as_str() {
                "" | "v2" => "",
                _ => path.strip_prefix("v2/").ok_or_else(wrong)?,
            };
            endpoints.push(Endpoint {
                authority,
                prefix: prefix.to_owned(),
                rewrites: rewrites.clone(),
                resolves: true,
                span: endpoint.span.clone(),
            });
        }
        let host = host.key();
        let host = (host != "*").then(|| host.into_owned());
        mirrors.push(Mirror { engine: MirrorEngine::K3s, host, endpoints });
    }
    Ok(mirrors)
}
