//! The code blocks of Markdown pages.

use std::path::{Path, PathBuf};

use super::root;

/// A page of the book, or the README.
pub struct Page {
    /// Its path from the root, such as `book/src/errors/unknown-node.md`.
    pub path: PathBuf,
    /// Its whole text.
    pub text: String,
    /// Its code blocks, in order.
    pub blocks: Vec<Block>,
}

/// A fenced code block.
pub struct Block {
    /// What stands behind the fence, at the commas: the language, then tags.
    pub tags: Vec<String>,
    /// The line of its fence.
    pub line: usize,
    /// Its text.
    pub text: String,
}

impl Block {
    /// The language.
    pub fn language(&self) -> &str {
        self.tags.first().map_or("", String::as_str)
    }

    /// Whether it has a tag.
    pub fn has(&self, tag: &str) -> bool {
        self.tags.iter().skip(1).any(|own| own == tag)
    }

    /// What follows a tag's beginning, as `NAME` in `file=NAME`.
    pub fn tag(&self, beginning: &str) -> Option<&str> {
        self.tags.iter().skip(1).find_map(|tag| tag.strip_prefix(beginning))
    }
}

/// Reads a page, by its path from the root.
pub fn page(path: &Path) -> Page {
    let text = std::fs::read_to_string(root().join(path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    for (index, line) in text.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), is_open) {
            (Some(info), false) => {
                let tags = info.split(',').map(|tag| tag.trim().to_owned()).collect();
                blocks.push(Block { tags, line: index + 1, text: String::new() });
                is_open = true;
            }
            (Some(_), true) => is_open = false,
            (None, true) => {
                if let Some(block) = blocks.last_mut() {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
            }
            (None, false) => {}
        }
    }
    assert!(!is_open, "{}: a code block is never closed", path.display());
    Page { path: path.to_owned(), text, blocks }
}

/// Every page of the book, sorted by path.
pub fn book() -> Vec<Page> {
    fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, paths);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    let mut paths = Vec::new();
    collect(&root().join("book/src"), &mut paths);
    paths.sort();
    paths.iter().map(|path| page(path)).collect()
}
