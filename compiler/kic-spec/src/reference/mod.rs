//! The reference of the language, as Markdown: the book's page, and what `kic explain` prints of one name.
//!
//! Nodes, properties, types, defaults and examples come from the declarations that specs are decoded by. The prose
//! between them is in `notes/`, one file a node, and in `chapters/`.

mod chapters;
mod notes;
mod place;
mod section;
mod tables;
mod topic;

pub use place::{Place, places, within};
pub use topic::{Topic, topic_names, topics};

use place::{control, of_cluster};
use section::section;

/// The page of the book on the language.
pub fn reference() -> String {
    let mut page = format!("{}\n", chapters::INTRODUCTION);
    for place in of_cluster() {
        page.push_str(&section(&place, true));
    }
    page.push_str(chapters::MODULES);
    for place in control(&["module", "doc", "example", "param", "use"]) {
        page.push_str(&section(&place, true));
    }
    page.push_str(&format!(
        "### Types of parameters {{#parameter-types}}\n\n{}\n",
        tables::parameter_types()
    ));
    page.push_str(chapters::VALUES);
    page.push_str(&format!("### Built-in names {{#built-in}}\n\n{}\n", tables::built_in()));
    for place in control(&["let", "when", "for", "fail"]) {
        page.push_str(&section(&place, true));
    }
    page.push_str(&format!("{}{}\n", chapters::MERGING, tables::marks()));
    page.push_str(&format!("{}\n", chapters::MERGING_EXAMPLE));
    page.push_str(&format!("{}\n", chapters::VARIANTS));
    page.push_str(&format!("## Types of values {{#types}}\n\n{}", tables::value_types()));
    page
}
