//! `registry`, and lists of images.

use kic_base::Spanned;
use kic_diag::{Diagnostic, declared as code};

use super::Context;
use crate::decode::Decoded;
use crate::image_source::ImageSource;
use crate::spec::{CachedImage, Registry};
use crate::value::invalid_image;

impl Context<'_> {
    pub(super) fn registries(&mut self, cluster: &Decoded) -> Vec<Registry> {
        let mut registries: Vec<Registry> = Vec::new();
        for node in cluster.children_named("registry") {
            let Some(host) = node.text(0) else { continue };
            if let Some(first) = registries.iter().find(|first| first.host.value == host.value) {
                self.error(
                    Diagnostic::new(
                        &code::DUPLICATE_LAYER,
                        format!("two registries answer as `{}`", host.value),
                    )
                    .at(&host.span, "here again")
                    .at(&first.host.span, "first here")
                    .help("put all images into one"),
                );
                continue;
            }
            let with_referrers = node.bool_property("with-referrers").unwrap_or(false);
            let mut images = Vec::new();
            for child in &node.children {
                match child.schema.name {
                    "image" => images.extend(image(child, with_referrers)),
                    "image-list" => {
                        let listed = self.image_list(child).into_iter();
                        images.extend(listed.map(|image| CachedImage { with_referrers, ..image }));
                    }
                    _ => {}
                }
            }
            registries.push(Registry {
                host,
                discover: node.children_named("discover").next().map(|node| node.span().clone()),
                images,
                exclude: node.children_named("exclude").flat_map(|node| node.references(0)).collect(),
                accept: node.children_named("accept").flat_map(|node| node.texts(0)).collect(),
                with_referrers,
            });
        }
        registries
    }

    pub(super) fn image_list(&mut self, node: &Decoded) -> Vec<CachedImage> {
        let Some(path) = node.path(0) else { return Vec::new() };
        let located = self.locate(&path);
        let Some(source) = self.read(&path, &located) else { return Vec::new() };
        self.lists.entry(source.name().to_owned()).or_default().push(node.span().clone());
        let mut images = Vec::new();
        let mut offset = 0;
        for line in source.text().split_inclusive('\n') {
            let text = line.split('#').next().unwrap_or_default();
            let trimmed = text.trim();
            if !trimmed.is_empty() {
                let start = offset + (text.len() - text.trim_start().len());
                let span = source.span(start..start + trimmed.len());
                match ImageSource::parse(trimmed) {
                    Ok(image) => {
                        images.push(CachedImage {
                            from: Spanned::new(image, span),
                            name: None,
                            short_names: true,
                            with_referrers: false,
                        });
                    }
                    Err(reason) => self.error(invalid_image(trimmed, &reason, &span)),
                }
            }
            offset += line.len();
        }
        images
    }
}

/// An image, in a registry that says of all of them whether what refers to them comes along.
fn image(node: &Decoded, with_referrers: bool) -> Option<CachedImage> {
    Some(CachedImage {
        from: node.image(0)?,
        name: node.reference_property("as"),
        short_names: node.bool_property("short-names")?,
        with_referrers: node.bool_property("with-referrers").unwrap_or(with_referrers),
    })
}
