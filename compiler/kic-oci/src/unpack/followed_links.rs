use super::error::Refusal;

/// How many symbolic links may stand in the way to one entry, as in Linux.
const LINK_LIMIT: usize = 40;

/// The symbolic links in the way to one entry, each with its target, made safe to print.
#[derive(Default)]
pub(super) struct FollowedLinks(Vec<(String, String)>);

impl FollowedLinks {
    /// Follows the link `parent`, where it may be followed: the names that come in its place, last first.
    pub(super) fn follow<'t>(
        &mut self,
        parent: String,
        target: &'t [u8],
    ) -> Result<impl Iterator<Item = &'t [u8]> + use<'t>, Refusal> {
        let text = super::printable(target);
        if target.first() == Some(&b'/') {
            return Err(Refusal::AbsoluteLink { parent, target: text });
        }
        if self.0.len() == LINK_LIMIT {
            return Err(Refusal::LinkLoop);
        }
        self.0.push((parent, text));
        Ok(target.split(|byte| *byte == b'/').rev().filter(|name| !matches!(*name, b"" | b".")))
    }

    /// Why the way does not go over the root. Only links have `..`; entries with it were refused.
    pub(super) fn leave_root(self) -> Refusal {
        match self.0.into_iter().next_back() {
            Some((parent, target)) => Refusal::EscapingLink { parent, target },
            None => Refusal::ParentName,
        }
    }
}
