//! What is known only when every instruction has been read: lists of images, manifests that nothing applies, and what of a
//! folder is copied beside the layers that hold some of its files.

use kic_base::Span;
use kic_syntax::Value;

use super::super::copied::{Kind, name};
use super::{Conversion, Layer, layer_name, stem};

impl Conversion<'_> {
    /// sealer's own lists: images of `manifests/imageList`, and of manifests that nothing applies.
    pub(super) fn lists_and_manifests(&mut self) {
        for index in 0..self.parts.copies.len() {
            let copied = self.parts.copies[index].clone();
            let Some(from) = copied.from.known().map(str::to_owned) else { continue };
            if copied.target().split('/').next() != Some("manifests") {
                continue;
            }
            let files = match copied.kind {
                Some(Kind::Folder) => self.folder.files(&from),
                _ => vec![from],
            };
            for file in files {
                let is_manifest = [".yaml", ".yml"].iter().any(|end| file.ends_with(end));
                let is_list = name(&file).eq_ignore_ascii_case("imageList");
                if is_list {
                    self.parts.lists.push(format!("image-list {}", Value::from(file.as_str())));
                    self.use_source(&file);
                } else if is_manifest && !self.is_used(&file) {
                    self.unapplied(&copied.span, &file);
                }
            }
        }
    }

    /// A manifest that no command applies. sealer caches its images, and so does a layer that the launch leaves out.
    fn unapplied(&mut self, span: &Span, file: &str) {
        let name = layer_name(stem(file));
        if self.parts.steps.is_empty() {
            self.note(
                span,
                &format!("sealer caches the images of `{file}`, and nothing applies it"),
                &format!("`manifests \"{name}\" {{ file \"{file}\"; }}`, and a `launch` that leaves it out"),
            );
            return;
        }
        let (name, item) = (self.free_name(name), format!("file {}", Value::from(file)));
        let is_policy = self.is_policy(file);
        self.parts.layers.push(Layer { is_policy, name, namespace: None, items: vec![item] });
    }

    /// Settles what of a folder is copied beside the layers that hold some of its files.
    pub(super) fn leave_out_what_is_used(&mut self) {
        for copied in &mut self.parts.copies {
            let Some(from) = copied.from.known().filter(|_| copied.kind == Some(Kind::Folder)) else {
                continue;
            };
            let files = self.folder.files(from);
            let below = |file: &str| {
                if from == "." {
                    file.to_owned()
                } else {
                    file[from.len()..].trim_start_matches('/').to_owned()
                }
            };
            if !copied.used.is_empty() && files.iter().all(|file| copied.used.contains(&below(file))) {
                copied.used = vec![String::new()];
                continue;
            }
            // A glob without `/` is about every folder: a file with a namesake stays.
            copied.used.retain(|used| {
                used.is_empty()
                    || used.contains('/')
                    || files.iter().filter(|file| name(file) == used).count() == 1
            });
            copied.used.sort();
            copied.used.dedup();
        }
    }

    fn is_used(&self, source: &str) -> bool {
        self.parts
            .layers
            .iter()
            .any(|layer| layer.items.iter().any(|item| item.contains(&format!("{}", Value::from(source)))))
    }
}
