//! The lines of a Kubefile: the syntax that it has from Dockerfiles.

use std::collections::VecDeque;

use kic_base::{Source, Span};
use kic_diag::{Diagnostic, Diagnostics, declared as code};

/// One instruction: `COPY --chown=0 a b`.
#[derive(Debug, Clone)]
pub(super) struct Instruction {
    /// Its name, in upper case.
    pub name: String,
    /// The options before the rest, without their dashes.
    pub options: Vec<String>,
    /// What follows, with lines that continue it joined.
    pub rest: String,
    /// Whether texts stand behind it, as in `RUN <<EOF`.
    pub has_texts: bool,
    /// All of it.
    pub span: Span,
}

/// The instructions that sealer knows.
const KNOWN: [&str; 18] = [
    "ADD",
    "APP",
    "APPCMDS",
    "APPENV",
    "ARG",
    "CMD",
    "CMDS",
    "CNI",
    "COPY",
    "CSI",
    "ENV",
    "FROM",
    "KUBEVERSION",
    "LABEL",
    "LAUNCH",
    "MAINTAINER",
    "RUN",
    "WORKDIR",
];

/// What Dockerfiles have beyond these, about the process that a container runs. A cluster image runs none.
pub(super) const OF_CONTAINERS: [&str; 8] =
    ["ENTRYPOINT", "EXPOSE", "HEALTHCHECK", "ONBUILD", "SHELL", "STOPSIGNAL", "USER", "VOLUME"];

/// Reads the instructions. A `\` at the end of a line joins it with the next; comments and empty lines are left out,
/// also between joined ones. Lines of a text behind an instruction (`<<EOF`) belong to it.
pub(super) fn instructions(source: &Source, diagnostics: &mut Diagnostics) -> Vec<Instruction> {
    let mut all = Vec::new();
    // The text so far of an instruction that goes on, and where it begins.
    let mut open: Option<(usize, String)> = None;
    // The instruction whose texts are being read, where it begins, and the words that end them.
    let mut before_texts: Option<(usize, String, VecDeque<String>)> = None;
    let mut start = 0;
    let mut last_end = 0;
    for whole in source.text().split_inclusive('\n') {
        let begin = start;
        start += whole.len();
        let line = whole.trim_end_matches(['\n', '\r']);
        let trimmed = line.trim();
        if let Some((begin, text, mut ends)) = before_texts.take() {
            last_end = start - (whole.len() - line.trim_end().len());
            if ends.front().is_some_and(|end| end == trimmed) {
                ends.pop_front();
            }
            if ends.is_empty() {
                all.extend(instruction(&text, source.span(begin..last_end), diagnostics));
            } else {
                before_texts = Some((begin, text, ends));
            }
            continue;
        }
        if trimmed.starts_with('#') || trimmed.is_empty() {
            continue;
        }
        let (begin, mut text) =
            open.take().unwrap_or((begin + line.len() - line.trim_start().len(), String::new()));
        last_end = start - (whole.len() - line.trim_end().len());
        let end = line.trim_end();
        match end.strip_suffix('\\') {
            Some(part) => {
                text.push_str(part);
                text.push(' ');
                open = Some((begin, text));
            }
            None => {
                text.push_str(line);
                let ends: VecDeque<String> = text_ends(&text).collect();
                if ends.is_empty() {
                    all.extend(instruction(&text, source.span(begin..last_end), diagnostics));
                } else {
                    before_texts = Some((begin, text, ends));
                }
            }
        }
    }
    if let Some((begin, text, ends)) = before_texts {
        let end = ends.front().map_or("", String::as_str);
        let first = begin + text.len().min(source.text().len() - begin);
        diagnostics.push(
            Diagnostic::new(&code::INVALID_KUBEFILE, format!("the text that `{end}` ends does not end"))
                .at(&source.span(begin..first), "it begins here")
                .help(format!("write `{end}` on a line of its own behind it")),
        );
    }
    if let Some((begin, text)) = open {
        all.extend(instruction(&text, source.span(begin..last_end), diagnostics));
    }
    all
}

/// The words that end the texts behind an instruction: `EOF` of `RUN <<EOF`.
fn text_ends(text: &str) -> impl Iterator<Item = String> {
    let name = text.split_whitespace().next().unwrap_or_default();
    let has_texts = ["RUN", "COPY", "ADD"].iter().any(|known| name.eq_ignore_ascii_case(known));
    text.split_whitespace().filter(move |_| has_texts).filter_map(|word| {
        let end = word.strip_prefix("<<")?;
        let end = end.strip_prefix('-').unwrap_or(end).trim_matches(['"', '\'']);
        let is_word = !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_word.then(|| end.to_owned())
    })
}

fn instruction(text: &str, span: Span, diagnostics: &mut Diagnostics) -> Option<Instruction> {
    let text = text.trim();
    let (name, mut rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let name = name.to_uppercase();
    if !KNOWN.contains(&name.as_str()) && !OF_CONTAINERS.contains(&name.as_str()) {
        let close = kic_base::closest(&name, KNOWN);
        diagnostics.push(
            Diagnostic::new(&code::INVALID_KUBEFILE, format!("a Kubefile has no instruction `{name}`"))
                .at(&span, "unknown instruction")
                .help(match close {
                    Some(close) => format!("did you mean `{close}`?"),
                    None => format!("it has {}", KNOWN.join(", ")),
                }),
        );
        return None;
    }
    let mut options = Vec::new();
    if !matches!(name.as_str(), "CMD" | "RUN") {
        while let Some(option) = rest.trim_start().strip_prefix("--") {
            let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
            options.push(option.to_owned());
            rest = after;
        }
    }
    if rest.trim().is_empty() {
        diagnostics.push(
            Diagnostic::new(&code::INVALID_KUBEFILE, format!("`{name}` says nothing"))
                .at(&span, "there is nothing behind it")
                .help("complete the line, or take it out"),
        );
        return None;
    }
    let has_texts = text_ends(text).next().is_some();
    Some(Instruction { name, options, rest: rest.trim().to_owned(), has_texts, span })
}

/// The items of a list in JSON, `["a", "b"]`; `None` where it is none.
pub(super) fn json_list(text: &str) -> Option<Vec<String>> {
    if text.starts_with('[') { serde_json::from_str(text).ok() } else { None }
}

/// The words of a line: a list in JSON, or parts at the spaces, in which quotes and `\` are taken away.
pub(super) fn words(text: &str) -> Vec<String> {
    if let Some(list) = json_list(text) {
        return list;
    }
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(characters.next()),
            (character, Some(open)) if character == open => quote = None,
            (character, Some(_)) => word.get_or_insert_default().push(character),
            ('"' | '\'', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (character, None) if character.is_whitespace() => words.extend(word.take()),
            (character, None) => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

/// The pairs of `A=1 B="2 3"`, or the one of `A 1 2`.
pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    let words = words(text);
    let is_pairs = words.first().is_some_and(|word| word.contains('='));
    if is_pairs {
        return words
            .iter()
            .filter_map(|word| word.split_once('='))
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
    }
    match text.split_once(char::is_whitespace) {
        Some((name, value)) => vec![(name.to_owned(), value.trim().trim_matches('"').to_owned())],
        None => vec![(text.to_owned(), String::new())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_comments_left_out() {
        let text = "# a comment\nFROM  scratch\n\nrun a && \\\n  # between\n\n  b \\\n  c\nCOPY --chown=0:0 \"a b\" c\nCMD [\"x\"]\nLABEL a \\";
        let mut diagnostics = Diagnostics::new();
        let all = instructions(&Source::new("Kubefile", text), &mut diagnostics);
        assert!(diagnostics.is_empty());
        let shown: Vec<(&str, String)> = all
            .iter()
            .map(|one| (one.name.as_str(), one.rest.split_whitespace().collect::<Vec<_>>().join(" ")))
            .collect();
        let wanted = [
            ("FROM", "scratch"),
            ("RUN", "a && b c"),
            ("COPY", "\"a b\" c"),
            ("CMD", "[\"x\"]"),
            ("LABEL", "a"),
        ];
        assert_eq!(shown, wanted.map(|(name, rest)| (name, rest.to_owned())));
        assert_eq!(all[2].options, ["chown=0:0"]);
        assert_eq!(all[1].span.text().lines().count(), 5);
    }

    #[test]
    fn words_and_pairs_lose_their_quotes() {
        assert_eq!(words(r#"a "b c" 'd e' f\ g "" h"i"j"#), ["a", "b c", "d e", "f g", "", "hij"]);
        assert_eq!(words(r#"["a b", "c"]"#), ["a b", "c"]);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs(r#"a=1 b="2 3""#), [pair("a", "1"), pair("b", "2 3")]);
        assert_eq!(pairs("a 1 2"), [pair("a", "1 2")]);
    }
}
