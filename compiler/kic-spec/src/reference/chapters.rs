//! The prose between the sections on nodes.

pub(super) const INTRODUCTION: &str = include_str!("chapters/introduction.md");
pub(super) const MODULES: &str = include_str!("chapters/modules.md");
pub(super) const VALUES: &str = include_str!("chapters/values.md");
pub(super) const MERGING: &str = include_str!("chapters/merging.md");
pub(super) const MERGING_EXAMPLE: &str = include_str!("chapters/merging-example.md");
pub(super) const VARIANTS: &str = include_str!("chapters/variants.md");
