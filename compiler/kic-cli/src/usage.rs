//! What the command line is answered with where it names nothing to run: help, the version, or what is wrong with it.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use kic_base::without_login;
use kic_diag::{Diagnostic, Diagnostics, declared as code};

use crate::arguments::{Color, Format, Global};
use crate::terminal::Terminal;

/// Prints the answer to these words, and gives the exit status.
pub fn answer(mut error: clap::Error, words: &[OsString]) -> u8 {
    hide_logins(&mut error);
    suggest_one(&mut error);
    let error = &error;
    let format = format_of(words);
    let global = Global { format, quiet: false, verbose: 0, color: Color::Auto, store: None };
    let terminal = Terminal::new(&global);
    let mut diagnostics = Diagnostics::new();
    if !error.use_stderr() {
        let text = error.render();
        terminal.print(&if terminal.color_out { text.ansi().to_string() } else { text.to_string() });
        diagnostics.extend(terminal.unprinted());
    } else if format == Format::Json {
        diagnostics.push(as_diagnostic(error));
    } else {
        // Clap's own text is the better one for people. Nobody is left to tell that standard error is closed.
        drop(error.print());
        return 1;
    }
    terminal.diagnostics(&diagnostics);
    diagnostics.exit_status()
}

/// Takes passwords out of what is repeated of the command line.
fn hide_logins(error: &mut clap::Error) {
    let repeated: Vec<(ContextKind, String)> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(text) => Some((kind, without_login(text))),
            _ => None,
        })
        .collect();
    for (kind, text) in repeated {
        error.insert(kind, ContextValue::String(text));
    }
}

/// Of several commands that clap finds similar, leaves the closest one, where one is close.
fn suggest_one(error: &mut clap::Error) {
    let (Some(ContextValue::String(written)), Some(ContextValue::Strings(similar))) =
        (error.get(ContextKind::InvalidSubcommand), error.get(ContextKind::SuggestedSubcommand))
    else {
        return;
    };
    if let Some(one) = kic_base::closest(written, similar.iter().map(String::as_str)) {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![one.to_owned()]));
    }
}

/// The words with `kic help COMMAND` written as `kic COMMAND --help`.
pub fn as_options(mut words: Vec<OsString>) -> Vec<OsString> {
    if words.get(1).is_some_and(|word| word == "help") {
        words.remove(1);
        words.push("--help".into());
    }
    words
}

/// The format that the words ask for, as far as that can be told before they are read.
pub fn format_of(words: &[OsString]) -> Format {
    if asks_for_json(words) { Format::Json } else { Format::Human }
}

/// Whether the words ask for JSON, as far as that can be told of those that make no command line.
fn asks_for_json(words: &[OsString]) -> bool {
    let mut words =
        words.iter().map(|word| word.to_str().unwrap_or_default()).take_while(|word| *word != "--");
    let mut asks = false;
    while let Some(word) = words.next() {
        let value = match word.strip_prefix("--format") {
            Some("") => words.next(),
            Some(rest) => rest.strip_prefix('='),
            None => None,
        };
        asks = value.map_or(asks, |value| value == "json");
    }
    asks
}

/// The paragraphs of clap's text, each as the part of a diagnostic that it is.
fn as_diagnostic(error: &clap::Error) -> Diagnostic {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Diagnostic::new(&code::INVALID_ARGUMENT, "a command is missing")
            .help("`--help` lists the commands");
    }
    let text = error.render().to_string();
    let mut paragraphs = text
        .split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|paragraph| !paragraph.is_empty());
    let message = paragraphs.next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    let mut diagnostic =
        Diagnostic::new(&code::INVALID_ARGUMENT, message).help("`--help` lists what the command takes");
    for paragraph in paragraphs {
        if let Some(tip) = paragraph.strip_prefix("tip: ") {
            diagnostic = diagnostic.help(tip);
        } else if !paragraph.starts_with("For more information") {
            diagnostic = diagnostic.note(paragraph);
        }
    }
    diagnostic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_asked_for_by_the_last_word_on_it_before_the_end_of_options() {
        for (line, asks) in [
            ("kic store path --format json", true),
            ("kic --format=json compile --bogus", true),
            ("kic --format json --format human x", false),
            ("kic compile -- --format json", false),
            ("kic compile --formats json", false),
            ("kic --format", false),
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(asks_for_json(&words), asks, "{line}");
        }
    }
}
