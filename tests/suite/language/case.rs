//! Reads the files of cases.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One case.
pub struct Case {
    /// The file that it stands in, such as `base.kdl`.
    pub file: String,
    /// The line where it begins.
    pub line: usize,
    /// What it is called.
    pub name: String,
    /// Its files.
    pub texts: BTreeMap<PathBuf, String>,
    /// What `--set` gives.
    pub set: Vec<(String, String)>,
    /// The closed spec for each of these platforms.
    pub closed: BTreeMap<String, String>,
    /// What it must give.
    pub expected: Vec<Expectation>,
}

/// A diagnostic, or a further label of one, that a case must give.
pub struct Expectation {
    /// The file of the case.
    pub source: String,
    /// The line in that file.
    pub line: usize,
    /// `error`, `warning` or `also`.
    pub severity: String,
    /// The code; empty for `also`.
    pub code: String,
    /// What the first label covers.
    pub span: Option<String>,
    /// What is said somewhere, in quotes with `\"` for a quote.
    pub said: Vec<String>,
    /// Where the expectation stands in the file of cases.
    pub written_at: usize,
}

/// The cases of a file.
pub fn read(path: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(path).unwrap();
    let file = path.file_name().unwrap().to_string_lossy().into_owned();
    let mut cases: Vec<Case> = Vec::new();
    let mut source = "cluster.kdl".to_owned();
    let mut closed: Option<String> = None;
    for (index, line) in text.lines().enumerate() {
        let written_at = index + 1;
        if let Some(name) = line.strip_prefix("// --- ") {
            source = "cluster.kdl".to_owned();
            let texts = BTreeMap::from([(PathBuf::from(&source), String::new())]);
            cases.push(Case {
                file: file.clone(),
                line: written_at,
                name: name.to_owned(),
                texts,
                set: Vec::new(),
                closed: BTreeMap::new(),
                expected: Vec::new(),
            });
            closed = None;
            continue;
        }
        let Some(case) = cases.last_mut() else {
            assert!(
                line.is_empty() || line.starts_with("//"),
                "{file}:{written_at}: text before the first case"
            );
            continue;
        };
        if let Some(platform) = line.strip_prefix("// closed: ") {
            closed = Some(platform.trim().to_owned());
            case.closed.insert(platform.trim().to_owned(), String::new());
            continue;
        }
        if let Some(path) = line.strip_prefix("// file: ") {
            closed = None;
            source = path.trim().to_owned();
            assert!(
                case.texts.insert(PathBuf::from(&source), String::new()).is_none(),
                "{file}:{written_at}: twice"
            );
            continue;
        }
        let (kept, expectations) = match line.find("//~") {
            Some(at) => line.split_at(at),
            None => (line, ""),
        };
        if let Some(set) = kept.strip_prefix("// set: ") {
            let (name, value) = set.split_once('=').unwrap();
            let value = if expectations.is_empty() { value } else { value.trim_end() };
            case.set.push((name.to_owned(), value.to_owned()));
            for expectation in expectations.split("//~").skip(1) {
                let place = format!("{file}:{written_at}");
                case.expected.push(parse(expectation, "--set", 1, &place, written_at));
            }
            continue;
        }
        if let Some(platform) = &closed {
            // A blank line ends it.
            if line.is_empty() {
                closed = None;
            } else {
                let text = case.closed.get_mut(platform).unwrap();
                text.push_str(line);
                text.push('\n');
            }
            continue;
        }
        let text = case.texts.get_mut(Path::new(&source)).unwrap();
        let here = text.lines().count() + 1;
        text.push_str(if expectations.is_empty() { kept } else { kept.trim_end() });
        text.push('\n');
        for expectation in expectations.split("//~").skip(1) {
            case.expected.push(parse(
                expectation,
                &source,
                here,
                &format!("{file}:{written_at}"),
                written_at,
            ));
        }
    }
    cases
}

fn parse(text: &str, source: &str, here: usize, place: &str, written_at: usize) -> Expectation {
    let up = text.bytes().take_while(|byte| *byte == b'^').count();
    let mut rest = text[up..].trim();
    let mut word = || {
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = after.trim_start();
        word.to_owned()
    };
    let severity = word();
    let code = if severity == "also" { String::new() } else { word() };
    assert!(["error", "warning", "also"].contains(&severity.as_str()), "{place}: `{severity}`");
    assert!(severity == "also" || kic_diag::by_name(&code).is_some(), "{place}: there is no code `{code}`");
    let (mut span, mut said) = (None, Vec::new());
    while let Some(quote @ ('"' | '`')) = rest.chars().next() {
        let mut characters = rest[1..].char_indices();
        let (mut quoted, mut end) = (String::new(), None);
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' if quote == '"' => quoted.extend(characters.next().map(|(_, escaped)| escaped)),
                character if character == quote => {
                    end = Some(at + 2);
                    break;
                }
                character => quoted.push(character),
            }
        }
        rest = rest[end.unwrap_or_else(|| panic!("{place}: a quote is open"))..].trim_start();
        if quote == '`' { span = Some(quoted) } else { said.push(quoted) }
    }
    assert!(rest.is_empty(), "{place}: `{rest}`");
    Expectation { source: source.to_owned(), line: here - up, severity, code, span, said, written_at }
}
