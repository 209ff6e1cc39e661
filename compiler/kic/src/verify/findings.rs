use std::collections::BTreeSet;

use kic_diag::{Code, Diagnostic, Diagnostics, declared as code};
use kic_oci::validate::{Finding, Problem, Severity};

/// What is wrong with an image, each finding once however many of its platforms have it.
#[derive(Default)]
pub(super) struct Findings {
    seen: BTreeSet<(&'static str, String)>,
    diagnostics: Diagnostics,
}

impl Findings {
    /// The registry tree does not hold together.
    pub fn tree(&mut self, message: String) {
        self.add(
            &code::BROKEN_REGISTRY_TREE,
            message,
            "a registry on this tree would answer wrongly: compile the image again",
        );
    }

    /// An image that the cluster will ask for is not there.
    pub fn closure(&mut self, message: String) {
        self.add(
            &code::BROKEN_CLOSURE,
            message,
            "the cluster would not get that image: compile the image again",
        );
    }

    /// The plan or an annotation says something else than the image is.
    pub fn plan(&mut self, message: String) {
        self.add(&code::BROKEN_PLAN, message, "the image would not start as it says: compile it again");
    }

    /// What the validation of layouts found.
    pub fn layout(&mut self, finding: &Finding) {
        let (code, help): (&'static Code, &str) = match (&finding.problem, finding.problem.severity()) {
            (_, Severity::Warning) => (
                &code::UNUSUAL_LAYOUT,
                "most tools take it as it is; compile or copy the image again to be sure",
            ),
            (Problem::Refused { .. }, _) => {
                (&code::UNPACK_REFUSED, "the image is hostile or damaged: `kic unpack` refuses it, too")
            }
            (
                Problem::Missing
                | Problem::MissingBlob(_)
                | Problem::Unreadable(_)
                | Problem::Size { .. }
                | Problem::Digest { .. }
                | Problem::DiffId { .. }
                | Problem::Undecodable(_)
                | Problem::NotATar(_),
                _,
            ) => (
                &code::DAMAGED_IMAGE,
                "copy the image again, or compile it with `--check`, which replaces what is damaged; and check the disk",
            ),
            _ => (&code::INVALID_LAYOUT, "write the image again with a current tool"),
        };
        self.add(code, finding.to_string(), help);
    }

    /// Nothing is there that could be an image; where something else is wrong, that is why.
    pub fn no_image(&mut self, image: &str) {
        if !self.diagnostics.has_errors() {
            self.add(
                &code::NOT_AN_IMAGE,
                format!("{image} holds no image"),
                "compile or copy an image into it, or remove it",
            );
        }
    }

    /// Something that went wrong in another way.
    pub fn others(&mut self, diagnostics: Diagnostics) {
        self.diagnostics.append(diagnostics);
    }

    pub fn into_diagnostics(self) -> Diagnostics {
        self.diagnostics
    }

    fn add(&mut self, code: &'static Code, message: String, help: &str) {
        if self.seen.insert((code.name, message.clone())) {
            self.diagnostics.push(Diagnostic::new(code, message).help(help));
        }
    }
}
