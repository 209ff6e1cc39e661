use std::collections::BTreeMap;

use super::error::printable;
use super::layer_paths::{LayerPaths, PathRefusal, join, parent_of, resolve};

/// The symbolic links of a tree to which layers are applied that are only read.
#[derive(Debug, Default)]
pub struct TreePaths {
    links: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl TreePaths {
    /// Applies the next layer.
    ///
    /// A link of this layer that is reached through a link of a lower one is not followed in the same layer; it is in
    /// those above.
    ///
    /// # Errors
    /// The first entry that unpacking would refuse.
    pub fn apply(&mut self, layer: &LayerPaths) -> Result<(), PathRefusal> {
        if let Some(refused) = &layer.refused {
            return Err(refused.clone());
        }
        for (folder, entry) in &layer.through {
            self.resolve(folder).map_err(|reason| PathRefusal { entry: printable(entry), reason })?;
        }
        for hidden in &layer.hidden {
            self.links.remove(hidden);
            self.empty(hidden);
        }
        for emptied in &layer.emptied {
            self.empty(emptied);
        }
        self.links.retain(|path, _| !layer.has_folder(path));
        for (path, target) in &layer.links {
            let parent = parent_of(path);
            // Those of a folder that cannot be gone to were refused above.
            let Ok(folder) = self.resolve(parent) else { continue };
            let name = &path[parent.len() + usize::from(!parent.is_empty())..];
            self.links.insert(join(&folder, name), target.clone());
        }
        Ok(())
    }

    fn resolve(&self, folder: &[u8]) -> Result<Vec<u8>, super::Refusal> {
        let names: Vec<&[u8]> = folder.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        resolve(&names, &self.links)
    }

    /// Forgets the links in a folder.
    fn empty(&mut self, folder: &[u8]) {
        let below = if folder.is_empty() { Vec::new() } else { join(folder, b"") };
        let range = self.links.range(below.clone()..);
        let inside: Vec<Vec<u8>> =
            range.map(|(path, _)| path).take_while(|path| path.starts_with(&below)).cloned().collect();
        for path in inside {
            self.links.remove(&path);
        }
    }
}
