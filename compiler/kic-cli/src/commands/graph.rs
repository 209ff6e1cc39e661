use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Arg, Args, ValueEnum};
use kic::LockMode;
use kic_diag::Diagnostics;
use kic_graph::NodeIndex;
use serde_json::json;

use crate::arguments::{Building, Format, Global};
use crate::terminal::Terminal;
use crate::watcher::watcher;
use crate::world::{Disk, block_on, building_context};

/// Draw the graph of layers on standard output: `--format dot` (for Graphviz, the default), `mermaid`, `svg` or `json`.
#[derive(Debug, Args)]
#[command(mut_args(with_drawings))]
pub struct Graph {
    #[command(flatten)]
    building: Building,
}

impl Graph {
    /// Runs the command.
    pub fn run(&self, global: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let watch = watcher(terminal);
        let context = building_context(global, &self.building, watch.clone())?;
        let request = self.building.request(LockMode::Add)?;
        let prepared = block_on(&context, kic::prepare(&request, &Disk, &context));
        drop(watch);
        let prepared = prepared?;
        let drawing = match terminal.format {
            Format::Human | Format::Dot => kic_graph::draw_dot(&prepared.graph),
            Format::Mermaid => kic_graph::draw_mermaid(&prepared.graph),
            Format::Svg => kic_graph::draw_svg(&prepared.graph),
            Format::Json => format!("{}\n", as_json(&prepared.graph)),
        };
        terminal.print(&drawing);
        Ok(prepared.warnings)
    }
}

/// The option of the format, with those that this command alone has.
fn with_drawings(option: Arg) -> Arg {
    if option.get_id() != "format" {
        return option;
    }
    let formats = Format::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    let shown = PossibleValuesParser::new(formats.map(|format| format.hide(false)));
    option
        .value_parser(shown.try_map(|format| Format::from_str(&format, false)))
        .help("Draw for Graphviz, for Mermaid or as a picture, or print JSON for machines; `human` is `dot`")
}

/// Every node with what it waits for, by derivation.
fn as_json(graph: &kic_graph::Graph) -> serde_json::Value {
    let node = |index: NodeIndex| {
        let node = &graph.nodes[index];
        let inputs = graph.nodes.neighbors_directed(index, petgraph::Direction::Incoming);
        let mut inputs: Vec<_> = inputs.map(|input| graph.nodes[input].digest).collect();
        inputs.sort();
        json!({ "derivation": node.digest, "kind": node.kind.name(), "name": node.name, "inputs": inputs })
    };
    json!(graph.nodes.node_indices().map(node).collect::<Vec<_>>())
}
