//! `base`, in all its forms.

use std::path::PathBuf;

use kic_base::Spanned;
use kic_diag::{Diagnostic, declared as code};

use super::{Context, resolve_below};
use crate::decode::Decoded;
use crate::evaluate::{Settings, normalised};
use crate::image_source::{DiskFormat, ImageSource};
use crate::spec::Base;

/// The most specs that are bases of each other. Nobody builds so; a link that leads back does.
const DEEPEST: usize = 16;

impl Context<'_> {
    pub(super) fn base(&mut self, cluster: &Decoded) -> Option<Spanned<Base>> {
        let node = cluster.children_named("base").next()?;
        let written = node.node.arguments().next();
        // `scratch` has the form of an image's name, but it never is one.
        let scratch = written.is_some_and(|entry| entry.value_span.text().trim_matches('"') == "scratch");
        let forms: Vec<Spanned<Base>> = [
            node.image(0)
                .map(|image| image.map(|image| if scratch { Base::Scratch } else { Base::Image(image) })),
            node.path_property("oci").map(|path| {
                path.map(|path| {
                    Base::Image(ImageSource::Disk {
                        format: DiskFormat::LayoutOrArchive,
                        path,
                        reference: None,
                    })
                })
            }),
            node.path_property("spec").and_then(|path| self.base_spec(path)),
        ]
        .into_iter()
        .flatten()
        .collect();
        let written = node.node.entries.len();
        match (forms.len(), written) {
            (1, 1) => forms.into_iter().next(),
            (_, 0) => {
                self.error(
                    Diagnostic::new(&code::MISSING_FORM, "`base` says no image")
                        .at(node.span(), "")
                        .help("write an image reference, `scratch`, `spec=\"…\"` or `oci=\"…\"`"),
                );
                None
            }
            _ => {
                if forms.len() > 1 {
                    self.error(
                        Diagnostic::new(&code::CONFLICTING_FORMS, "`base` says two images")
                            .at(&forms[1].span, "here again")
                            .at(&forms[0].span, "first here")
                            .help("keep one of the two"),
                    );
                }
                None
            }
        }
    }

    pub(super) fn base_spec(&mut self, path: Spanned<PathBuf>) -> Option<Spanned<Base>> {
        let span = path.span.clone();
        let mut located = self.locate(&path);
        if located.extension().is_none_or(|extension| extension != "kdl") {
            located.push("cluster.kdl");
        }
        let located = normalised(&located);
        let here = normalised(self.path);
        if located == here || self.below.iter().any(|(outer, _)| *outer == located) {
            let mut diagnostic =
                Diagnostic::new(&code::SPEC_CYCLE, format!("`{}` is its own base", located.display()))
                    .at(&span, "this leads back to it")
                    .help("a base must be a spec of its own");
            for (outer, outer_span) in self.below.iter() {
                diagnostic = diagnostic.at(outer_span, format!("the base of `{}`", outer.display()));
            }
            self.error(diagnostic);
            return None;
        }
        if self.below.len() >= DEEPEST {
            self.error(
                Diagnostic::new(
                    &code::SPEC_CYCLE,
                    format!("specs are bases of each other more than {DEEPEST} deep"),
                )
                .at(&span, "this one lies too deep")
                .help("a symbolic link may make one spec its own base under another name"),
            );
            return None;
        }
        let source = self.read(&Spanned::new(located.clone(), span.clone()), &located)?;
        let (file, syntax) = kic_syntax::parse(&source);
        let broken = syntax.has_errors();
        self.diagnostics.append(syntax);
        if broken {
            return None;
        }
        self.below.push((here, span.clone()));
        let resolved = resolve_below(&file, &located, &Settings::default(), self.world, self.below);
        self.below.pop();
        match resolved {
            Ok((spec, warnings)) => {
                self.diagnostics.append(warnings);
                Some(Spanned::new(Base::Spec(Box::new(spec)), span))
            }
            Err(errors) => {
                self.diagnostics.append(errors);
                None
            }
        }
    }
}
