//! The rules of unpacking for paths, held against a layer that is only read.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use kic_base::Digest;
use tar::EntryType;

use super::apply_layer::half;
use super::entry_name::{DEPTH_LIMIT, PATH_LIMIT, Whiteout, check_link_target, split_name, whiteout};
use super::error::{Refusal, printable};
use super::followed_links::FollowedLinks;
use crate::validate::{LayerContent, LayerEntry, LayerVisitor};

/// Bytes of links and folders that are kept of one layer. Those of real ones have a few MiB.
const TEXT_LIMIT: usize = 64 << 20;

/// An entry whose path unpacking would refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRefusal {
    /// The entry's name, made safe to print.
    pub entry: String,
    /// Why.
    pub reason: Refusal,
}

/// What the paths of one layer are, as far as it matters to what is unpacked: whether each stays below the root.
///
/// The first entry that is refused for the layer's own sake is known at its end; what depends on the layers below,
/// [`TreePaths`](super::TreePaths) tells.
#[derive(Debug, Default)]
pub struct LayerPaths {
    pub(super) refused: Option<PathRefusal>,
    /// The first entry that unpacking does not take for another reason than its path, and that does no harm.
    pub(crate) unsupported: Option<PathRefusal>,
    /// The symbolic links that it has at its end, with their targets.
    pub(super) links: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Folders that its entries lie in, where the layers below say what those are, each with the first such entry.
    pub(super) through: Vec<(Vec<u8>, Vec<u8>)>,
    /// Paths that it hides from the layers below.
    pub(super) hidden: BTreeSet<Vec<u8>>,
    /// Folders whose content it hides from the layers below.
    pub(super) emptied: BTreeSet<Vec<u8>>,
    /// The folders that were met, by half their keys; `true` for those that the layer describes itself.
    folders: BTreeMap<[u8; 16], bool>,
    before: Option<Before>,
    text: usize,
}

/// The folder of the entry before, in which the next one mostly lies, too.
#[derive(Debug)]
struct Before {
    /// As it is written, up to the name of the entry.
    written: Vec<u8>,
    /// Whether the layer has links below it.
    has_links: bool,
}

impl LayerVisitor for LayerPaths {
    fn entry(&mut self, entry: &LayerEntry<'_>, _: &mut dyn LayerContent) -> io::Result<()> {
        if self.refused.is_none()
            && !self.is_beside(entry)
            && let Err(reason) = self.take(entry)
        {
            self.refused = Some(PathRefusal { entry: printable(entry.path), reason });
        }
        if self.unsupported.is_none()
            && let Some(reason) = &entry.refusal
        {
            self.unsupported = Some(PathRefusal { entry: printable(entry.path), reason: reason.clone() });
        }
        Ok(())
    }
}

impl LayerPaths {
    /// Whether the layer itself says that this is a folder, or has put something into it.
    pub(super) fn has_folder(&self, path: &[u8]) -> bool {
        !self.folders.is_empty() && self.folders.get(&key(path)) == Some(&true)
    }

    /// Whether an entry is a plain file beside the one before, of which nothing is to be known.
    fn is_beside(&self, entry: &LayerEntry<'_>) -> bool {
        let Some(before) = self.before.as_ref().filter(|before| !before.has_links) else { return false };
        let (written, name) = split_last(entry.path);
        entry.kind.is_file()
            && before.written == written
            && entry.path.len() <= PATH_LIMIT
            && split_name(name, false).is_ok_and(|names| names == [name])
            && whiteout(&[name]) == Ok(Whiteout::None)
    }

    fn take(&mut self, entry: &LayerEntry<'_>) -> Result<(), Refusal> {
        if entry.kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let target = || entry.link.as_deref().ok_or(Refusal::LinkTarget);
        let link = if entry.kind.is_symlink() || entry.kind.is_hard_link() { Some(target()?) } else { None };
        let is_folder = entry.kind.is_dir() || entry.kind.is_file() && entry.path.ends_with(b"/");
        let components = split_name(entry.path, false)?;
        let whiteout = whiteout(&components)?;
        let Some((last, parents)) = components.split_last() else {
            return if is_folder { Ok(()) } else { Err(Refusal::Root) };
        };
        if whiteout == Whiteout::Ignored {
            return Ok(());
        }
        let parent = self.parent(parents, last, entry.path)?;
        match whiteout {
            Whiteout::Opaque => {
                self.count(parent.len())?;
                self.emptied.insert(parent);
                return Ok(());
            }
            Whiteout::Hide(hidden) => {
                self.count(parent.len() + hidden.len())?;
                self.hidden.insert(join(&parent, hidden));
                return Ok(());
            }
            Whiteout::None | Whiteout::Ignored => {}
        }
        if let Some(target) = link.filter(|_| entry.kind.is_hard_link()) {
            self.hard_link(target, entry.path)?;
        }
        let is_link = entry.kind.is_symlink();
        // Most layers have hardly a link, and most entries are none.
        if is_folder || is_link || !self.links.is_empty() {
            let path = join(&parent, last);
            if let Some(target) = link.filter(|_| is_link) {
                check_link_target(target)?;
                self.count(path.len() + target.len())?;
                self.before = None;
                self.links.insert(path, target.to_owned());
            } else {
                if self.links.remove(&path).is_some() {
                    self.before = None;
                }
                if is_folder {
                    self.folders.insert(key(&path), true);
                }
            }
        }
        Ok(())
    }

    /// The folder that an entry lies in, which is noted.
    fn parent(&mut self, parents: &[&[u8]], last: &[u8], entry: &[u8]) -> Result<Vec<u8>, Refusal> {
        let folder = self.enter(parents, entry)?;
        let (written, name) = split_last(entry);
        if name == last {
            let below = join(&folder, b"");
            let next = self.links.range(below.clone()..).next();
            let has_links = next.is_some_and(|(path, _)| path.starts_with(&below));
            self.before = Some(Before { written: written.to_owned(), has_links });
        }
        Ok(folder)
    }

    /// Goes to a folder through the layer's own links, and notes it where the layers below have a say in what it is.
    fn enter(&mut self, parents: &[&[u8]], entry: &[u8]) -> Result<Vec<u8>, Refusal> {
        let folder = resolve(parents, &self.links)?;
        if folder.is_empty() || self.folders.contains_key(&key(&folder)) {
            return Ok(folder);
        }
        self.folders.insert(key(&folder), false);
        let is_hidden = |path: &[u8]| self.hidden.contains(path) || self.emptied.contains(parent_of(path));
        if !prefixes(&folder).any(is_hidden) {
            self.count(folder.len() + entry.len())?;
            self.through.push((folder.clone(), entry.to_owned()));
        }
        Ok(folder)
    }

    fn hard_link(&mut self, target: &[u8], entry: &[u8]) -> Result<(), Refusal> {
        let refuse = |reason| Refusal::HardLinkTarget { target: printable(target), reason: Box::new(reason) };
        let components = split_name(target, false).map_err(refuse)?;
        if let Some((_, parents)) = components.split_last() {
            self.enter(parents, entry).map_err(refuse)?;
            return Ok(());
        }
        Err(Refusal::HardLinkFolder { target: printable(target) })
    }

    fn count(&mut self, text: usize) -> Result<(), Refusal> {
        self.text += text + size_of::<Vec<u8>>();
        if self.text > TEXT_LIMIT { Err(Refusal::TooManyPaths) } else { Ok(()) }
    }
}

/// The folder that `parents` lead to from the root, where symbolic links are as `links` say.
pub(super) fn resolve(parents: &[&[u8]], links: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Vec<u8>, Refusal> {
    if links.is_empty() {
        return Ok(parents.join(&b'/'));
    }
    let mut pending: Vec<&[u8]> = parents.iter().rev().copied().collect();
    let (mut at, mut depth, mut followed) = (Vec::new(), 0_usize, FollowedLinks::default());
    while let Some(name) = pending.pop() {
        if name == b".." {
            let Some(up) = depth.checked_sub(1) else { return Err(followed.leave_root()) };
            depth = up;
            at.truncate(parent_of(&at).len());
            continue;
        }
        let length = at.len();
        at = join(&at, name);
        if let Some(target) = links.get(&at) {
            pending.extend(followed.follow(printable(&at), target)?);
            at.truncate(length);
            continue;
        }
        if depth == DEPTH_LIMIT {
            return Err(Refusal::Deep);
        }
        depth += 1;
    }
    Ok(at)
}

/// The path of a name in a folder; that of the root is empty.
pub(super) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, name].join(&b'/') }
}

/// The folder that a path lies in.
pub(super) fn parent_of(path: &[u8]) -> &[u8] {
    &path[..path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)]
}

/// An entry's name, and what is written before it.
fn split_last(path: &[u8]) -> (&[u8], &[u8]) {
    path.split_at(path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1))
}

/// A path and the folders around it but the root, from the inside to the outside.
fn prefixes(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(path), |path| Some(parent_of(path))).take_while(|path| !path.is_empty())
}

fn key(path: &[u8]) -> [u8; 16] {
    half(&Digest::of(path))
}
