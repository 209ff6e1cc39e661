use std::sync::Arc;

use clap::Args;
use kic::{Change, ImageDiff, ImageDifference, Unwatched};
use kic_diag::Diagnostics;
use serde_json::json;

use crate::arguments::{Format, Global, Network};
use crate::report::{printable, short_digest};
use crate::terminal::{Terminal, print};
use crate::world::{block_on, context};

/// Tell what two images differ in: layers, cached images, objects field by field, checks, the plan, files, configuration.
/// Layers that both have are not read.
#[derive(Debug, Args)]
pub struct Diff {
    /// An OCI layout or archive, `oci:DIR:NAME`, `docker-archive:FILE`, or a reference of an image in a registry
    #[arg(value_name = "LEFT")]
    left: String,
    /// The image to compare it with
    #[arg(value_name = "RIGHT")]
    right: String,
    /// End with exit status 1 where they differ
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    network: Network,
}

impl Diff {
    /// Runs the command. The status is what the process ends with where nothing went wrong.
    pub fn run(
        &self,
        global: &Global,
        terminal: &Terminal,
        status: &mut u8,
    ) -> Result<Diagnostics, Diagnostics> {
        let context = context(global, &self.network, 1, Arc::new(Unwatched))?;
        let diff = block_on(&context, kic::diff(&self.left, &self.right, &context))?;
        match terminal.format {
            Format::Json => print(&format!("{:#}\n", json!(diff))),
            _ if terminal.quiet => {}
            _ => print(&as_text(&diff, terminal.color_out)),
        }
        *status = u8::from(self.exit_code && !diff.same);
        Ok(Diagnostics::new())
    }
}

fn as_text(diff: &ImageDiff, color: bool) -> String {
    if diff.same {
        return format!("the images are the same\n{}\n", diff.left.digest);
    }
    let mut text = format!(
        "{} {} {}\n{} {} {}\n",
        paint("-", Change::Removed, color),
        diff.left.digest.short(),
        printable(&diff.left.image),
        paint("+", Change::Added, color),
        diff.right.digest.short(),
        printable(&diff.right.image)
    );
    for difference in &diff.differences {
        text.push('\n');
        text.push_str(&line(difference, color));
        text.push('\n');
        tree(&difference.parts, "", color, &mut text);
    }
    text
}

fn tree(parts: &[ImageDifference], indent: &str, color: bool, text: &mut String) {
    for (index, part) in parts.iter().enumerate() {
        let (branch, below) =
            if index + 1 == parts.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        text.push_str(&format!("{indent}{branch}{}\n", line(part, color)));
        tree(&part.parts, &format!("{indent}{below}"), color, text);
    }
}

fn line(difference: &ImageDifference, color: bool) -> String {
    let sign = match difference.change {
        Change::Added => "+",
        Change::Removed => "-",
        Change::Changed => "~",
        Change::Moved => ">",
        Change::Same => " ",
    };
    let name = printable(&difference.name);
    let values = match (&difference.left, &difference.right) {
        (None, None) => String::new(),
        (Some(left), Some(right)) => format!("  {} → {}", short(left), short(right)),
        (Some(one), None) | (None, Some(one)) => format!("  {}", short(one)),
    };
    let line = format!("{sign} {name}");
    format!("{}{values}", paint(&line, difference.change, color)).trim_end().to_owned()
}

/// Digests within a text cut short.
fn short(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        if word.len() == 71 && word.starts_with("sha256:") { short_digest(word) } else { word.to_owned() }
    });
    printable(&words.collect::<Vec<_>>().join(" "))
}

fn paint(text: &str, change: Change, color: bool) -> String {
    let code = match change {
        Change::Added => "32",
        Change::Removed => "31",
        Change::Changed | Change::Moved => "33",
        Change::Same => "2",
    };
    if color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}
