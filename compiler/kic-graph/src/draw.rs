//! Pictures of a graph: its layers, what they wait for, and the image that they become. The blobs that go into one
//! layer are drawn as one box.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use petgraph::Direction;
use petgraph::graph::NodeIndex;

use crate::derivation::Derivation;
use crate::graph::{Graph, Kind};

/// What is drawn.
struct Picture {
    boxes: Vec<Drawn>,
    /// From a box to one that waits for it, by index.
    edges: BTreeSet<(usize, usize)>,
}

struct Drawn {
    title: String,
    text: String,
    color: &'static str,
}

fn color(kind: Kind) -> &'static str {
    match kind {
        Kind::Base => "#d9d9d9",
        Kind::Files => "#cfe2f3",
        Kind::Manifests => "#d9ead3",
        Kind::Policies => "#fce5cd",
        Kind::Readiness => "#fff2cc",
        Kind::RegistryCache | Kind::RegistryCatalogue => "#d9d2e9",
        Kind::Launch => "#f4cccc",
        Kind::Blob => "#eeeeee",
    }
}

fn picture(graph: &Graph) -> Picture {
    let mut picture = Picture { boxes: Vec::new(), edges: BTreeSet::new() };
    let mut box_of: BTreeMap<NodeIndex, usize> = BTreeMap::new();
    for platform in graph.image.platforms.values() {
        for layer in &platform.layers {
            box_of.entry(layer.node).or_insert_with(|| {
                let node = &graph.nodes[layer.node];
                let text = match (&node.derivation, layer.name.strip_prefix("sha256:")) {
                    (Derivation::CachedBlob { .. }, Some(_)) => node.name.clone(),
                    _ => layer.name.clone(),
                };
                let (title, color) = (layer.kind.name().to_owned(), color(layer.kind));
                picture.boxes.push(Drawn { title, text, color });
                picture.boxes.len() - 1
            });
        }
    }
    for (index, own) in box_of.clone() {
        let mut blobs = 0;
        for input in graph.nodes.neighbors_directed(index, Direction::Incoming) {
            match box_of.get(&input) {
                Some(input) => {
                    picture.edges.insert((*input, own));
                }
                None => blobs += 1,
            }
        }
        if blobs > 0 {
            let text = if blobs == 1 { "1 download".to_owned() } else { format!("{blobs} downloads") };
            picture.boxes.push(Drawn { title: "blobs".to_owned(), text, color: color(Kind::Blob) });
            picture.edges.insert((picture.boxes.len() - 1, own));
        }
    }
    for (platform, image) in &graph.image.platforms {
        let text = format!("{}:{} {platform}", graph.image.name, graph.image.tag);
        picture.boxes.push(Drawn { title: "image".to_owned(), text, color: "#ffffff" });
        let own = picture.boxes.len() - 1;
        picture.edges.extend(image.layers.iter().filter_map(|layer| Some((*box_of.get(&layer.node)?, own))));
    }
    picture
}

/// The graph for Graphviz.
pub fn draw_dot(graph: &Graph) -> String {
    let picture = picture(graph);
    let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let mut out = String::from(
        "digraph kic {\n    rankdir=LR;\n    node [shape=box, style=\"filled,rounded\", fontname=\"sans-serif\"];\n",
    );
    for (index, drawn) in picture.boxes.iter().enumerate() {
        let (title, text) = (quote(&drawn.title), quote(&drawn.text));
        // Writing to a text does not fail.
        let _ = writeln!(out, "    n{index} [label=\"{title}\\n{text}\", fillcolor=\"{}\"];", drawn.color);
    }
    for (from, to) in &picture.edges {
        let _ = writeln!(out, "    n{from} -> n{to};");
    }
    out.push_str("}\n");
    out
}

/// The graph as a Mermaid flowchart.
pub fn draw_mermaid(graph: &Graph) -> String {
    let picture = picture(graph);
    let mut out = String::from("flowchart LR\n");
    for (index, drawn) in picture.boxes.iter().enumerate() {
        let _ = writeln!(out, "    n{index}[\"{}<br/>{}\"]", markup(&drawn.title), markup(&drawn.text));
        let _ = writeln!(out, "    style n{index} fill:{}", drawn.color);
    }
    for (from, to) in &picture.edges {
        let _ = writeln!(out, "    n{from} --> n{to}");
    }
    out
}

fn markup(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const WIDTH: usize = 260;
const HEIGHT: usize = 44;
const GAP_ACROSS: usize = 90;
const GAP_DOWN: usize = 16;
const MARGIN: usize = 16;

/// The graph as a picture: columns from left to right, each box right of all that it waits for.
pub fn draw_svg(graph: &Graph) -> String {
    let picture = picture(graph);
    let columns = columns(&picture);
    let mut place: Vec<(usize, usize)> = vec![(0, 0); picture.boxes.len()];
    let tallest = columns.iter().map(Vec::len).max().unwrap_or(0);
    for (column, boxes) in columns.iter().enumerate() {
        let top = MARGIN + (tallest - boxes.len()) * (HEIGHT + GAP_DOWN) / 2;
        for (row, index) in boxes.iter().enumerate() {
            place[*index] = (MARGIN + column * (WIDTH + GAP_ACROSS), top + row * (HEIGHT + GAP_DOWN));
        }
    }
    let width =
        2 * MARGIN + columns.len() * (WIDTH + GAP_ACROSS) - GAP_ACROSS.min(columns.len() * GAP_ACROSS);
    let height = 2 * MARGIN + tallest * (HEIGHT + GAP_DOWN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <g fill=\"none\" stroke=\"#999999\">\n"
    );
    for (from, to) in &picture.edges {
        let ((x, y), (to_x, to_y)) = (place[*from], place[*to]);
        let (x, y, to_y) = (x + WIDTH, y + HEIGHT / 2, to_y + HEIGHT / 2);
        let middle = usize::midpoint(x, to_x);
        let _ = writeln!(out, "<path d=\"M{x} {y} C{middle} {y} {middle} {to_y} {to_x} {to_y}\"/>");
    }
    out.push_str("</g>\n");
    for (drawn, (x, y)) in picture.boxes.iter().zip(&place) {
        let (text_x, title_y, text_y) = (x + 10, y + 18, y + 34);
        let text = if drawn.text.chars().count() > 40 {
            let short: String = drawn.text.chars().take(39).collect();
            format!("{short}…")
        } else {
            drawn.text.clone()
        };
        let _ = writeln!(
            out,
            "<g><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\" fill=\"{}\" \
             stroke=\"#666666\"/><text x=\"{text_x}\" y=\"{title_y}\" font-weight=\"bold\">{}</text>\
             <text x=\"{text_x}\" y=\"{text_y}\">{}</text></g>",
            markup(&drawn.text),
            drawn.color,
            markup(&drawn.title),
            markup(&text)
        );
    }
    out.push_str("</svg>\n");
    out
}

/// The boxes by column: each in the one after the last of those that it waits for.
fn columns(picture: &Picture) -> Vec<Vec<usize>> {
    let mut column = vec![0; picture.boxes.len()];
    // A way has at most as many steps as there are boxes, and the graph has no circles.
    for _ in 0..picture.boxes.len() {
        let mut moved = false;
        for (from, to) in &picture.edges {
            if column[*to] <= column[*from] {
                column[*to] = column[*from] + 1;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    let mut columns = vec![Vec::new(); column.iter().max().map_or(0, |last| last + 1)];
    for (index, column) in column.into_iter().enumerate() {
        columns[column].push(index);
    }
    columns
}
