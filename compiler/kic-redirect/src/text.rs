//! Patterns in texts.

use regex::{Regex, RegexBuilder};

use crate::fault::Fault;

/// A regular expression. Go's syntax and the one here agree where policies of image names go.
pub(crate) fn regex(pattern: &str) -> Result<Regex, Fault> {
    RegexBuilder::new(pattern).size_limit(1 << 20).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => Fault::unknown(format!("the pattern `{pattern}` is too large")),
        _ => Fault::fails(format!("`{pattern}` is no regular expression")),
    })
}

/// Whether a text matches a pattern in which `*` stands for any text, and `?` for one character.
pub(crate) fn wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut in_text) = (0, 0);
    // Where the last `*` stands, and what of the text it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while in_text < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_text));
                at += 1;
            }
            Some(letter) if *letter == '?' || *letter == text[in_text] => {
                at += 1;
                in_text += 1;
            }
            _ => match star {
                Some((after, taken)) => {
                    star = Some((after, taken + 1));
                    at = after + 1;
                    in_text = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_shells_do() {
        for (pattern, text, matches) in [
            ("*", "", true),
            ("", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("?b*", "abx", true),
            ("?", "", false),
            ("*a*a*b", "aaaaaaaac", false),
            ("docker.io/*", "docker.io/library/nginx", true),
            ("kube-*", "kube", false),
        ] {
            assert_eq!(wildcard(pattern, text), matches, "{pattern} {text}");
        }
    }
}
