use crate::nodes;
use crate::schema::{Children, NodeSchema};

/// A kind of node, and where it stands.
#[derive(Debug, Clone)]
pub struct Place {
    /// The names of the nodes around it, from the outermost but for `cluster`, and its own: `files/copy`.
    pub path: String,
    /// The node.
    pub schema: &'static NodeSchema,
    /// The nodes around it, outermost first, without `cluster`.
    pub(super) ancestors: Vec<&'static NodeSchema>,
    /// The nodes that it may stand in.
    pub(super) parents: Vec<&'static str>,
}

impl Place {
    fn root(schema: &'static NodeSchema) -> Self {
        Self { path: schema.name.to_owned(), schema, ancestors: Vec::new(), parents: Vec::new() }
    }

    /// What the heading of its section is called in links.
    pub(super) fn anchor(&self) -> String {
        self.path.replace('/', "-")
    }

    pub(super) fn depth(&self) -> usize {
        self.ancestors.len()
    }
}

/// Every kind of node of the language, in the order of the reference.
pub fn places() -> Vec<Place> {
    let mut all = of_cluster();
    all.extend(control(&["module", "doc", "example", "param", "use", "let", "when", "for", "fail"]));
    all
}

/// `cluster`, what stands in it, and what stands in that.
pub(super) fn of_cluster() -> Vec<Place> {
    let mut all = vec![Place::root(&nodes::CLUSTER)];
    let Children::Nodes(layers) = nodes::CLUSTER.children else { return all };
    for layer in layers {
        add(&mut all, Place { parents: vec!["cluster"], ..Place::root(layer) });
    }
    all
}

/// The control nodes of these names, and what stands in them.
pub(super) fn control(names: &[&str]) -> Vec<Place> {
    let mut all = Vec::new();
    for schema in names.iter().filter_map(|name| nodes::CONTROL.iter().find(|node| node.name == *name)) {
        add(&mut all, Place::root(schema));
    }
    all
}

/// Adds the place and those inside it. A node that stands in several others has one place, the first.
fn add(all: &mut Vec<Place>, place: Place) {
    let known = all.iter_mut().find(|known| std::ptr::eq(known.schema, place.schema));
    if let Some(known) = known {
        known.parents.extend(place.parents);
        return;
    }
    all.push(place.clone());
    let Children::Nodes(children) = place.schema.children else { return };
    for child in
        children.iter().filter(|child| !nodes::CONTROL.iter().any(|node| std::ptr::eq(*node, **child)))
    {
        let mut ancestors = place.ancestors.clone();
        ancestors.push(place.schema);
        add(
            all,
            Place {
                path: format!("{}/{}", place.path, child.name),
                schema: child,
                ancestors,
                parents: vec![place.schema.name],
            },
        );
    }
}

/// A whole spec with these nodes in it, which stand in the node of that path: `files`, `files/copy`; nothing means the
/// cluster itself. Tests of examples use it.
pub fn within(path: &str, text: &str) -> String {
    let mut text = text.to_owned();
    if let Some(place) = places().into_iter().find(|place| place.path == path) {
        for around in place.ancestors.iter().chain([&place.schema]).rev() {
            text = format!("{} {{\n{text}\n}}\n", head(around.example));
        }
    }
    let is_said = |name: &str| {
        text.lines()
            .any(|line| line.trim_start_matches("(force)").trim_start_matches("(default)").starts_with(name))
    };
    let base = if is_said("base") { "" } else { "base scratch\n" };
    // The steps of a launch name layers, which have to be there.
    let layers = if is_said("launch") && !is_said("manifests") {
        "manifests \"shop\" { object \"v1/Namespace\" name=\"shop\"; }\nreadiness \"shop\" { exists \"namespace/shop\"; }\n"
    } else {
        ""
    };
    format!("cluster \"example\" {{\n{base}{layers}{text}\n}}\n")
}

/// The first line of an example, without its brace.
fn head(example: &str) -> &str {
    example.lines().next().unwrap_or_default().trim_end_matches(" {")
}
