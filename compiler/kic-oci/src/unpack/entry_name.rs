use super::error::Refusal;

/// The longest name of one file that Linux takes, in bytes.
const COMPONENT_LIMIT: usize = 255;
/// The longest path that Linux takes, in bytes.
pub(super) const PATH_LIMIT: usize = 4096;
/// How deep a tree may be: each level costs an open folder.
pub(crate) const DEPTH_LIMIT: usize = 256;

/// Splits the name of an entry into the names from the root down; the root itself has none.
///
/// # Errors
/// What no entry may be named.
pub fn split_name(name: &[u8], strip_leading_slashes: bool) -> Result<Vec<&[u8]>, Refusal> {
    if name.is_empty() {
        return Err(Refusal::EmptyName);
    }
    if name.contains(&0) {
        return Err(Refusal::Nul);
    }
    if name.len() > PATH_LIMIT {
        return Err(Refusal::LongName);
    }
    if name[0] == b'/' && !strip_leading_slashes {
        return Err(Refusal::AbsoluteName);
    }
    let mut components = Vec::new();
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(Refusal::ParentName),
            _ if component.len() > COMPONENT_LIMIT => return Err(Refusal::LongName),
            _ => components.push(component),
        }
    }
    if components.len() > DEPTH_LIMIT {
        return Err(Refusal::Deep);
    }
    Ok(components)
}

/// Checks the target of a symbolic link, which may point anywhere: it is only kept.
pub(super) fn check_link_target(target: &[u8]) -> Result<(), Refusal> {
    if target.contains(&0) {
        return Err(Refusal::Nul);
    }
    if target.is_empty() || target.len() >= PATH_LIMIT {
        return Err(Refusal::LinkTarget);
    }
    Ok(())
}

/// What the name of an entry says about whiteouts
/// (OCI image specification 1.1, "Whiteouts"; the other reserved names are aufs's own).
#[derive(Debug, PartialEq, Eq)]
pub enum Whiteout<'a> {
    /// An ordinary entry.
    None,
    /// Hides what lower layers have under this name in the same folder.
    Hide(&'a [u8]),
    /// Hides all that lower layers have in the same folder.
    Opaque,
    /// Bookkeeping of aufs, which means nothing here.
    Ignored,
}

/// What the names of an entry, from the root down, say about whiteouts.
///
/// # Errors
/// A whiteout that names no file.
pub fn whiteout<'a>(components: &[&'a [u8]]) -> Result<Whiteout<'a>, Refusal> {
    let Some((last, parents)) = components.split_last() else { return Ok(Whiteout::None) };
    if parents.iter().any(|parent| parent.starts_with(b".wh..wh.")) {
        return Ok(Whiteout::Ignored);
    }
    if parents.iter().any(|parent| parent.starts_with(b".wh.")) {
        return Err(Refusal::Whiteout);
    }
    if *last == b".wh..wh..opq" {
        return Ok(Whiteout::Opaque);
    }
    if last.starts_with(b".wh..wh.") {
        return Ok(Whiteout::Ignored);
    }
    match last.strip_prefix(b".wh.") {
        None => Ok(Whiteout::None),
        Some(b"" | b"." | b"..") => Err(Refusal::Whiteout),
        Some(hidden) => Ok(Whiteout::Hide(hidden)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_and_hostile_ones_refused() {
        fn split(name: &str) -> Result<Vec<&[u8]>, Refusal> {
            split_name(name.as_bytes(), false)
        }
        assert_eq!(split("./a//b/./c/").unwrap(), [b"a", b"b", b"c"]);
        assert_eq!(split("./").unwrap(), [b""; 0]);
        assert_eq!(split("a/..b/c..").unwrap().len(), 3);
        assert_eq!(split(""), Err(Refusal::EmptyName));
        assert_eq!(split("a\0b"), Err(Refusal::Nul));
        assert_eq!(split("/a"), Err(Refusal::AbsoluteName));
        assert_eq!(split("a/../b"), Err(Refusal::ParentName));
        assert_eq!(split(".."), Err(Refusal::ParentName));
        assert_eq!(split(&"x".repeat(256)), Err(Refusal::LongName));
        assert!(split(&"x".repeat(255)).is_ok());
        assert_eq!(split(&"x/".repeat(2049)), Err(Refusal::LongName));
        assert_eq!(split(&"x/".repeat(257)), Err(Refusal::Deep));
        assert_eq!(split_name(b"//a/b", true).unwrap(), [b"a", b"b"]);
        assert_eq!(split_name(b"/../b", true), Err(Refusal::ParentName));
    }

    #[test]
    fn whiteouts_are_told_from_names_and_never_name_a_parent() {
        let whiteout = |name: &'static str| whiteout(&split_name(name.as_bytes(), false).unwrap());
        assert_eq!(whiteout("a/.wh.b"), Ok(Whiteout::Hide(b"b")));
        assert_eq!(whiteout("a/.wh..b"), Ok(Whiteout::Hide(b".b")));
        assert_eq!(whiteout("a/.wh..wh..opq"), Ok(Whiteout::Opaque));
        assert_eq!(whiteout(".wh..wh.plnk"), Ok(Whiteout::Ignored));
        assert_eq!(whiteout(".wh..wh.plnk/1.2"), Ok(Whiteout::Ignored));
        assert_eq!(whiteout("a/wh.b"), Ok(Whiteout::None));
        for name in [".wh.", ".wh..", ".wh...", ".wh.a/b"] {
            assert_eq!(whiteout(name), Err(Refusal::Whiteout), "{name}");
        }
    }
}
