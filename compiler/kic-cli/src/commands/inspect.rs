use clap::Args;
use kic::{InspectedImage, Inspection};
use kic_diag::Diagnostics;
use serde_json::Value as Json;

use crate::arguments::{Format, Global, Network};
use crate::report::{printable, short_digest, size, table};
use crate::terminal::Terminal;
use crate::watcher::watcher;
use crate::world::{block_on, looking_context};

/// Tell what is in an image: its layers, the cached images, the launch plan, the labels. Reads no layer but the
/// small one with the plan.
#[derive(Debug, Args)]
pub struct Inspect {
    /// An OCI layout or archive, `oci:DIR:NAME`, `docker-archive:FILE`, or a reference of an image in a registry
    #[arg(value_name = "IMAGE")]
    image: String,
    #[command(flatten)]
    network: Network,
}

impl Inspect {
    /// Runs the command.
    pub fn run(&self, global: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let context = looking_context(&[&self.image], global, &self.network, 1, watcher(terminal))?;
        let inspection = block_on(&context, kic::inspect(&self.image, &context));
        // What it shows on the screen goes with it.
        drop(context);
        let inspection = inspection?;
        match terminal.format {
            Format::Json => {
                let json = serde_json::to_string_pretty(&inspection);
                let json = json.map_err(|error| kic_exec::fault::internal(error.to_string()))?;
                terminal.print(&format!("{json}\n"));
            }
            _ if terminal.quiet => terminal.print(&format!("{}\n", inspection.digest)),
            _ => terminal.print(&as_text(&inspection, terminal)),
        }
        Ok(Diagnostics::new())
    }
}

fn as_text(inspection: &Inspection, terminal: &Terminal) -> String {
    let mut text = format!("{}\n{}\n{}\n", inspection.image, inspection.digest, inspection.media_type);
    for image in &inspection.platforms {
        text.push_str(&format!("\n{} {} {}\n\n", image.platform, image.digest.short(), size(image.size)));
        text.push_str(&layers(image, terminal));
        if let Some(plan) = &image.plan {
            text.push_str(&cached(plan, terminal));
            text.push_str(&steps(plan));
        }
        if !image.labels.is_empty() {
            text.push_str("\nLabels\n");
            for (name, value) in &image.labels {
                text.push_str(&format!("  {} = {}\n", printable(name), printable(value)));
            }
        }
    }
    text
}

fn layers(image: &InspectedImage, terminal: &Terminal) -> String {
    let rows: Vec<Vec<String>> = image
        .layers
        .iter()
        .map(|layer| {
            let name = short_digest(&layer.name);
            vec![layer.kind.clone(), size(layer.size), layer.digest.short(), name]
        })
        .collect();
    table(&["KIND", "SIZE", "DIGEST", "NAME"], &rows, &[1], terminal.color_out)
}

fn texts<'a>(value: &'a Json, key: &str) -> Vec<&'a str> {
    value.get(key).and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect()
}

fn cached(plan: &Json, terminal: &Terminal) -> String {
    let images = plan.get("images").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    if images.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = images
        .iter()
        .map(|image| {
            let text = |key: &str| image.get(key).and_then(Json::as_str).unwrap_or_default();
            let bytes = image.get("size").and_then(Json::as_u64).unwrap_or(0);
            vec![
                text("reference").to_owned(),
                short_digest(text("digest")),
                size(bytes),
                texts(image, "platforms").join(" "),
            ]
        })
        .collect();
    let hosts = texts(plan, "registries").join(", ");
    let table = table(&["IMAGE", "DIGEST", "SIZE", "PLATFORMS"], &rows, &[2], terminal.color_out);
    format!("\nCached images, for {}\n\n{table}", printable(&hosts))
}

fn steps(plan: &Json) -> String {
    let steps = plan.get("steps").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    if steps.is_empty() {
        return String::new();
    }
    let mut text = "\nLaunch\n".to_owned();
    for (index, step) in steps.iter().enumerate() {
        let said = |key: &str| step.get(key).and_then(Json::as_str);
        let line = if let Some(name) = said("apply") {
            format!("apply {} {name} ({})", said("kind").unwrap_or_default(), texts(step, "files").join(", "))
        } else if let Some(name) = said("wait") {
            format!("wait {name}")
        } else {
            format!("run {}", said("run").unwrap_or_default())
        };
        text.push_str(&format!("{:>3}. {}\n", index + 1, printable(&line)));
    }
    text
}
