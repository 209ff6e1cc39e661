//! How Kyverno's policies and settings name kinds of objects.

use crate::text::wildcard;

/// `Pod`, `v1/Pod`, `Pod/status`, `apps/v1/Deployment.scale` and the like. Each part may hold wildcards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KindSelector<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
}

impl<'a> KindSelector<'a> {
    /// `None` where it has too many parts.
    pub fn read(text: &'a str) -> Option<Self> {
        let (before, last) = match text.rsplit_once('/') {
            Some((before, last)) => (Some(before), last),
            None => (None, text),
        };
        // A group may hold dots. Behind the last `/`, a dot stands before the subresource.
        let parts: Vec<&str> =
            before.into_iter().flat_map(|before| before.split('/')).chain(last.split('.')).collect();
        let (group, version, kind, subresource) = match parts.as_slice() {
            [kind] => ("*", "*", *kind, ""),
            ["*", "*"] => ("*", "*", "*", "*"),
            ["*", sub] if sub.to_lowercase() == **sub => ("*", "*", "*", *sub),
            [version, kind] if is_version(version) => ("*", *version, *kind, ""),
            [kind, sub] => ("*", "*", *kind, *sub),
            [version, kind, sub] if is_version(version) => ("*", *version, *kind, *sub),
            [group, version, kind] => (*group, *version, *kind, ""),
            [group, version, kind, sub] => (*group, *version, *kind, *sub),
            _ => return None,
        };
        Some(Self { group, version, kind, subresource })
    }

    /// Whether it takes pods, or that subresource of theirs.
    pub fn takes_pod(self, subresource: &str) -> bool {
        wildcard(self.group, "")
            && wildcard(self.version, "v1")
            && wildcard(self.kind, "Pod")
            && wildcard(self.subresource, subresource)
    }
}

/// `v1`, `v1beta1` and the like, with one digit each, or `*`.
fn is_version(part: &str) -> bool {
    let digit = |text: &str| text.len() == 1 && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(rest) = part.strip_prefix('v') else { return part == "*" };
    let numbers = rest.split_once("alpha").or_else(|| rest.split_once("beta"));
    numbers.map_or_else(|| digit(rest), |(major, minor)| digit(major) && digit(minor))
}
