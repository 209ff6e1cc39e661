//! The standard library: modules written in the language, embedded in the program. They have no privilege: all that
//! one does, a user's module can do.

/// Every module: its name and text, sorted by name.
const MODULES: &[(&str, &str)] = &[("namespace", include_str!("../../../stdlib/namespace.kdl"))];

/// The text of the module of that name.
pub fn find(name: &str) -> Option<&'static str> {
    MODULES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The names of all modules, sorted.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    MODULES.iter().map(|(name, _)| *name)
}
