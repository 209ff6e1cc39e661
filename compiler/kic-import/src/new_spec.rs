//! A first spec, from a few answers.

use kic_base::Source;
use kic_diag::Diagnostics;
use kic_syntax::Value;

/// What is known of a cluster that has no spec yet.
#[derive(Debug, Clone, Default)]
pub struct NewSpec {
    /// The name of the cluster image.
    pub name: String,
    /// Its version.
    pub version: Option<String>,
    /// The base image; `scratch` where there is none yet.
    pub base: String,
    /// The platforms, where they are not the usual one.
    pub platforms: Vec<String>,
    /// The host of the registry in the cluster.
    pub registry: String,
    /// Files with the objects that it starts, and the layer of each.
    pub manifests: Vec<(String, String)>,
}

/// The spec, formatted.
///
/// # Errors
/// None for answers that are texts.
pub fn new_spec(spec: &NewSpec) -> Result<String, Diagnostics> {
    let version =
        spec.version.as_ref().map_or_else(String::new, |version| format!(" version={}", shown(version)));
    let mut out = format!("cluster {}{version} {{\n", shown(&spec.name));
    if spec.base == "scratch" {
        out.push_str("// The image that installs Kubernetes: `base \"registry.example.com/kubernetes:v1.30.0\"`.\nbase scratch\n");
    } else {
        out.push_str(&format!("base {}\n", shown(&spec.base)));
    }
    if !spec.platforms.is_empty() {
        let platforms: Vec<String> = spec.platforms.iter().map(|platform| shown(platform)).collect();
        out.push_str(&format!("platform {}\n", platforms.join(" ")));
    }
    out.push_str(&format!(
        "\n// The images that the cluster must find without the outside world, and the host that nodes ask for them.\nregistry {} {{\ndiscover // every image that the layers below name\n}}\n",
        shown(&spec.registry)
    ));
    if spec.manifests.is_empty() {
        out.push_str("\n// What it starts: `manifests \"shop\" { file \"etc/shop.yaml\" }`, and the checks that say when it runs: `readiness`.\n");
    }
    for (layer, file) in &spec.manifests {
        out.push_str(&format!("\nmanifests {} {{\nfile {}\n}}\n", shown(layer), shown(file)));
    }
    out.push_str("}\n");
    kic_syntax::format(&Source::new("cluster.kdl", out))
}

fn shown(text: &str) -> String {
    Value::from(text).to_string()
}
