use std::collections::{BTreeMap, BTreeSet};

use kic_base::Digest;
use kic_diag::{Code, Diagnostic, Diagnostics, declared as code};
use kic_oci::validate::{Finding, Problem, Severity};

use super::listed;

/// What is wrong with an image, each finding once however many of its platforms have it.
#[derive(Default)]
pub(super) struct Findings {
    seen: BTreeSet<(&'static str, String)>,
    diagnostics: Diagnostics,
    /// Blobs that could not be had, for another reason than that the image lacks them.
    unfetched: BTreeSet<Digest>,
    /// What to call the blobs of the images.
    names: BTreeMap<Digest, String>,
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

    /// What the blobs of the images are called in notes.
    pub fn name_blobs(&mut self, names: BTreeMap<Digest, String>) {
        self.names = names;
    }

    /// What the validation found: of an OCI layout in a folder, or of an image that lies elsewhere.
    pub fn layouts(&mut self, findings: &[Finding], is_folder: bool) {
        let unreferenced = |finding: &&Finding| finding.problem == Problem::Unreferenced;
        for finding in findings.iter().filter(|finding| !unreferenced(finding)) {
            self.layout(finding, is_folder);
        }
        let blobs = findings.iter().filter(unreferenced);
        let blobs: Vec<&str> = blobs.map(|finding| finding.document.as_str()).collect();
        let message = match blobs.as_slice() {
            [] => return,
            [one] => format!("{one}: no document names it"),
            several => format!("no document names {} blobs: {}", several.len(), listed(several)),
        };
        self.add(&code::UNUSUAL_LAYOUT, message, "most tools leave them; copy the image to be rid of them");
    }

    fn layout(&mut self, finding: &Finding, is_folder: bool) {
        let blob = blob_of(finding);
        if blob.is_some_and(|blob| self.unfetched.contains(&blob)) {
            return;
        }
        let (code, help): (&'static Code, &str) = match (&finding.problem, finding.problem.severity()) {
            (Problem::NotUnpacked { .. }, _) => (
                &code::UNUSUAL_LAYOUT,
                "the image is whole, and other tools may unpack it; for kic, build it without this entry",
            ),
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
        let help = if is_folder && is_beyond_repair(finding) {
            "remove the folder, then compile or copy the image again: nothing is written into a layout that is damaged so"
        } else {
            help
        };
        let diagnostic = Diagnostic::new(code, finding.to_string()).help(help);
        let name = blob.and_then(|blob| self.names.get(&blob));
        self.push(match name {
            Some(name) => diagnostic.note(format!("it is {name}")),
            None => diagnostic,
        });
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

    /// Blobs that could not be fetched. Where it was the image that lacked one, that is found when it is looked at; what could
    /// not be looked at is not damaged, and why is told once.
    pub fn unfetched(&mut self, failed: Vec<(Digest, Diagnostics)>) {
        let is_lacking = |errors: &Diagnostics| errors.iter().all(|one| one.code == &code::IMAGE_NOT_FOUND);
        let failed: Vec<_> = failed.into_iter().filter(|(_, errors)| !is_lacking(errors)).collect();
        let mut told = BTreeSet::new();
        for error in failed.iter().flat_map(|(_, errors)| errors.iter()) {
            if told.insert(error.code.name) {
                let what =
                    if failed.len() == 1 { "a blob".to_owned() } else { format!("{} blobs", failed.len()) };
                self.push(error.clone().note(format!("{what} of the image could not be looked at")));
            }
        }
        self.unfetched.extend(failed.into_iter().map(|(digest, _)| digest));
    }

    pub fn into_diagnostics(self) -> Diagnostics {
        self.diagnostics
    }

    fn add(&mut self, code: &'static Code, message: String, help: &str) {
        self.push(Diagnostic::new(code, message).help(help));
    }

    fn push(&mut self, diagnostic: Diagnostic) {
        if self.seen.insert((diagnostic.code.name, diagnostic.message.clone())) {
            self.diagnostics.push(diagnostic);
        }
    }
}

/// Whether a compile would refuse to write into a layout with that. An `index.json` that is missing it makes, and entries it replaces.
fn is_beyond_repair(finding: &Finding) -> bool {
    let is_of_head = match finding.document.as_str() {
        "index.json" => finding.problem != Problem::Missing && !finding.member.starts_with("manifests["),
        "oci-layout" => true,
        _ => false,
    };
    is_of_head && finding.problem.severity() == Severity::Error
}

/// The blob that something is wrong with.
fn blob_of(finding: &Finding) -> Option<Digest> {
    match finding.problem {
        Problem::MissingBlob(digest) => Some(digest),
        _ => Digest::from_hex(finding.document.strip_prefix("blobs/sha256/")?).ok(),
    }
}
