use clap::{Args, ValueEnum};
use kic::{GatherOptions, LockMode};
use kic_diag::Diagnostics;

use crate::arguments::{Building, Global};
use crate::terminal::{Terminal, print};
use crate::watcher::watcher;
use crate::world::{Disk, block_on, building_context, source_date_epoch};

/// Draw the graph of layers on standard output.
#[derive(Debug, Args)]
pub struct Graph {
    #[command(flatten)]
    building: Building,
    /// The form of the drawing
    #[arg(short, long, value_enum, default_value_t = As::Dot, value_name = "FORM")]
    r#as: As,
}

/// The form of a drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum As {
    /// Graphviz.
    Dot,
    /// Mermaid, which many Markdown readers draw.
    Mermaid,
    /// A picture.
    Svg,
}

impl Graph {
    /// Runs the command.
    pub fn run(&self, global: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let watch = watcher(terminal);
        let context = building_context(global, &self.building, watch.clone())?;
        let gather = GatherOptions { lock: LockMode::Add, source_date_epoch: source_date_epoch()? };
        let request = self.building.request(gather);
        let prepared = block_on(&context, kic::prepare(&request, &Disk, &context));
        drop(watch);
        let prepared = prepared?;
        let drawing = match self.r#as {
            As::Dot => kic_graph::draw_dot(&prepared.graph),
            As::Mermaid => kic_graph::draw_mermaid(&prepared.graph),
            As::Svg => kic_graph::draw_svg(&prepared.graph),
        };
        print(&drawing);
        Ok(prepared.warnings)
    }
}
