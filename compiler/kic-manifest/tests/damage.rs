//! Damaged manifests: the corpus with bytes taken out, doubled, swapped and put in. Nothing panics, every span
//! lies in the text, and every plain scalar of one line is the text under its span.

use std::path::{Path, PathBuf};

use kic_base::Source;
use kic_manifest::{Style, Yaml, images, images_of_text, read, rewrite};

/// A small generator of numbers, the same ones on every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % u64::try_from(bound.max(1)).unwrap_or(1)).unwrap_or(0)
    }
}

const PIECES: &[&str] = &[
    "{{ x }}",
    "---\n",
    "...\n",
    "\t",
    "\n",
    "\r\n",
    "  ",
    "- ",
    ": ",
    "&a ",
    "*a",
    "<<: *a\n",
    "!!int ",
    "|\n",
    ">-\n",
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    "#",
    "\u{feff}",
    "é",
    "\u{1F980}",
    "? ",
    ",",
    "%YAML 1.2\n",
    "\\",
    "@",
    "\u{85}",
    "\u{2028}",
    "|2+\n",
    "image: a/b:1\n",
];

fn damaged(text: &str, numbers: &mut Numbers) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(characters.len() + 1);
        match numbers.below(5) {
            0 => {
                let end = (at + numbers.below(8)).min(characters.len());
                characters.drain(at..end);
            }
            1 => {
                let end = (at + numbers.below(40)).min(characters.len());
                let copy: Vec<char> = characters[at..end].to_vec();
                let to = numbers.below(characters.len() + 1);
                characters.splice(to..to, copy);
            }
            2 => characters.truncate(at),
            _ => {
                characters.splice(at..at, PIECES[numbers.below(PIECES.len())].chars());
            }
        }
    }
    characters.into_iter().collect()
}

fn check(node: &Yaml) {
    let range = node.span.range();
    assert!(range.start <= range.end && range.end <= node.span.source().text().len());
    if let Some(text) = node.as_str() {
        let raw = node.span.text();
        match node.style {
            Style::Plain if !raw.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']) => {
                assert_eq!(raw, text, "{raw:?}")
            }
            Style::SingleQuoted => assert!(raw.starts_with('\'') && raw.ends_with('\''), "{raw:?}"),
            Style::DoubleQuoted => assert!(raw.starts_with('"') && raw.ends_with('"'), "{raw:?}"),
            _ => {}
        }
    }
    for item in node.items() {
        check(item);
    }
    for (key, value) in node.entries() {
        check(key);
        check(value);
    }
}

#[test]
fn damage_gives_errors_and_never_more() {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/discovery");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut numbers = Numbers(7);
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        for _ in 0..ROUNDS {
            let text = damaged(&text, &mut numbers);
            let source = Source::new("damaged", text);
            let (objects, _) = read(&source);
            for object in &objects {
                check(&object.root);
            }
            for found in images(&objects) {
                assert!(found.span.range().end <= source.text().len());
            }
            images_of_text(&source);
            assert_eq!(rewrite(&source, &|_| None).text, source.text());
            let rewritten = rewrite(&source, &|_| Some("new.example.com:5000/x/y:z".to_owned())).text;
            let (again, _) = read(&Source::new("rewritten", rewritten));
            assert_eq!(again.len(), objects.len());
        }
    }
}

const ROUNDS: usize = 40;
