/// How much a diagnostic matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing comes out of a compile that has one.
    Error,
    /// Worth a look; the compile goes on.
    Warning,
    /// Worth knowing; nothing has to be done.
    Note,
}

/// Whose turn it is to act, which is also the exit status of a run that ends with such an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// What the user wrote: exit status 1.
    Input,
    /// The network, a disk, a registry, a cluster: exit status 2.
    Environment,
    /// kic itself is wrong: exit status 3.
    Bug,
    /// The user ended it: exit status 130, as the shell expects of a run that SIGINT ended.
    Interrupted,
}

impl Class {
    /// The exit status of a run that ends with an error of this class.
    pub const fn exit_status(self) -> u8 {
        match self {
            Self::Input => 1,
            Self::Environment => 2,
            Self::Bug => 3,
            Self::Interrupted => 130,
        }
    }
}

/// A kind of diagnostic: declared once, in [`crate::declared`], and documented on its own page of the book.
#[derive(Debug)]
pub struct Code {
    /// The name in kebab-case, such as `unknown-node`.
    pub name: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// Whose turn it is.
    pub class: Class,
    /// One sentence on what it says.
    pub summary: &'static str,
    /// The page `book/src/errors/NAME.md`, as Markdown: what it means, an example that fails, its cure.
    pub page: &'static str,
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Code {}
