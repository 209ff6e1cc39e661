//! Patterns in texts.

use regex_lite::{Regex, RegexBuilder};

use crate::fault::Fault;

/// A regular expression. Go's syntax and the one here agree where policies of image names go: `\d`, `\w` and `\s` are of ASCII in
/// both. What Go knows of Unicode's classes and of its upper and lower case is not known here.
pub(crate) fn regex(pattern: &str) -> Result<Regex, Fault> {
    let unknown = |why: &str| Fault::unknown(format!("the pattern `{pattern}` {why}"));
    let has_class = [r"\p", r"\P"].iter().any(|class| pattern.contains(class));
    if has_class || !pattern.is_ascii() && pattern.contains("(?") {
        return Err(unknown("asks for what Unicode says of letters"));
    }
    RegexBuilder::new(pattern).size_limit(1 << 20).build().map_err(|error| {
        // It has no kinds, only texts.
        if error.to_string().contains("size limit") {
            return unknown("is too large");
        }
        Fault::fails(format!("`{pattern}` is no regular expression"))
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
    fn patterns_are_gos_and_what_is_not_known_of_them_is_said() {
        let matches = |pattern: &str, text: &str| regex(pattern).unwrap().is_match(text);
        assert!(matches(r"^(\w+)/(?:[a-z0-9._-]+)(:\d{1,3})?$", "library/nginx:127"));
        assert!(matches("(?i)^DOCKER", "docker.io"));
        assert!(matches("^ü.$", "üä"));
        assert!(!matches(r"^\d$", "\u{663}"), "a digit that is none of ASCII");
        for (pattern, fault) in [
            (r"\p{L}", Fault::unknown(r"the pattern `\p{L}` asks for what Unicode says of letters")),
            ("(?i)ü", Fault::unknown("the pattern `(?i)ü` asks for what Unicode says of letters")),
            ("(a{1000}){1000}", Fault::unknown("the pattern `(a{1000}){1000}` is too large")),
            ("(a", Fault::fails("`(a` is no regular expression")),
            ("(?=a)", Fault::fails("`(?=a)` is no regular expression")),
        ] {
            assert_eq!(regex(pattern).map(|_| ()), Err(fault));
        }
    }

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
