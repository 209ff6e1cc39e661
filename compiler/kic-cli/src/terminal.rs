//! How things are drawn: colours, widths, diagnostics.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};

use kic_diag::{Diagnostic, Diagnostics, declared as code};
use miette::{GraphicalReportHandler, GraphicalTheme};
use textwrap::{WordSeparator, WordSplitter};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::arguments::{Color, Format, Global};
use crate::world::variable;

/// So many diagnostics are drawn for people: who gets more of them reads none.
const MOST_DRAWN: usize = 50;

/// What is known of where output goes.
pub struct Terminal {
    /// How results are printed.
    pub format: Format,
    /// Whether only what a script needs is printed.
    pub quiet: bool,
    /// Whether progress bars are drawn.
    pub progress: bool,
    /// Whether standard output has colours.
    pub color_out: bool,
    color_error: bool,
    unicode: bool,
    width: usize,
    /// Why standard output took no more.
    failed: OnceCell<io::Error>,
}

/// How many columns the terminal has that standard error goes to, where it says so.
fn width_of_error() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

impl Terminal {
    /// Looks at the streams and the environment, and starts tracing where it was asked for.
    pub fn new(global: &Global) -> Self {
        let color = |is_terminal: bool| match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let plain =
                    variable("NO_COLOR").is_some() || variable("TERM").is_some_and(|term| term == "dumb");
                let forced = variable("CLICOLOR_FORCE").is_some_and(|force| force != "0");
                !plain && (is_terminal || forced)
            }
        };
        let error_is_terminal = io::stderr().is_terminal();
        if global.verbose > 0 {
            let level = if global.verbose > 1 { LevelFilter::TRACE } else { LevelFilter::DEBUG };
            let told = ["kic", "kic_registry"].map(|target| (target, level));
            let lines = tracing_subscriber::fmt::layer()
                .with_writer(io::stderr)
                .with_ansi(color(error_is_terminal))
                .with_filter(Targets::new().with_targets(told));
            // A subscriber that is set already stays.
            drop(tracing_subscriber::registry().with(lines).try_init());
        }
        let locale =
            ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| variable(name)).unwrap_or_default();
        let columns = variable("COLUMNS").and_then(|columns| columns.parse().ok());
        let columns = columns.or_else(|| error_is_terminal.then(width_of_error).flatten());
        Self {
            format: global.format,
            quiet: global.quiet,
            progress: !global.quiet && global.format == Format::Human && global.verbose == 0,
            color_out: color(io::stdout().is_terminal()),
            color_error: color(error_is_terminal),
            unicode: locale.to_lowercase().replace('-', "").contains("utf8") || !error_is_terminal,
            width: columns.unwrap_or(100).clamp(40, 140),
            failed: OnceCell::new(),
        }
    }

    /// Prints a result on standard output. What goes wrong with that is kept for [`Self::unprinted`], so that it hides nothing
    /// else that a command has to tell.
    pub fn print(&self, text: &str) {
        self.print_bytes(text.as_bytes());
    }

    /// Prints lines for scripts, byte for byte: a path need not be UTF-8.
    pub fn print_lines<L: AsRef<OsStr>>(&self, lines: impl IntoIterator<Item = L>) {
        let mut bytes = Vec::new();
        for line in lines {
            bytes.extend_from_slice(line.as_ref().as_encoded_bytes());
            bytes.push(b'\n');
        }
        self.print_bytes(&bytes);
    }

    fn print_bytes(&self, bytes: &[u8]) {
        if self.failed.get().is_some() {
            return;
        }
        let mut out = io::stdout().lock();
        if let Err(error) = out.write_all(bytes).and_then(|()| out.flush()) {
            // It is the first one: nothing is printed after it.
            drop(self.failed.set(error));
        }
    }

    /// What to tell where a result was not printed, or not all of it. A reader that has gone, such as `head`, has what it wanted.
    pub fn unprinted(&self) -> Option<Diagnostic> {
        let error = self.failed.get().filter(|error| error.kind() != io::ErrorKind::BrokenPipe)?;
        let message = format!("standard output cannot be written: {error}");
        Some(Diagnostic::new(&code::OUTPUT_UNWRITABLE, message).help(
            "what was printed is cut short: send it elsewhere, and run again; what was done stays done",
        ))
    }

    /// Draws diagnostics on standard error, or prints them there as JSON.
    pub fn diagnostics(&self, diagnostics: &Diagnostics) {
        if diagnostics.is_empty() {
            return;
        }
        let text = match self.format {
            Format::Json => format!("{}\n", kic_diag::json(diagnostics)),
            _ => {
                let theme = match (self.color_error, self.unicode) {
                    (true, true) => GraphicalTheme::unicode(),
                    (true, false) => {
                        GraphicalTheme { styles: miette::ThemeStyles::ansi(), ..GraphicalTheme::ascii() }
                    }
                    (false, true) => GraphicalTheme::unicode_nocolor(),
                    (false, false) => GraphicalTheme::none(),
                };
                // Names, digests and paths stay in one piece, however long: they are copied from here.
                let handler = GraphicalReportHandler::new_themed(theme)
                    .with_width(self.width)
                    .with_word_separator(WordSeparator::AsciiSpace)
                    .with_word_splitter(WordSplitter::NoHyphenation)
                    .with_break_words(false)
                    .with_links(false);
                let first = diagnostics.iter().take(MOST_DRAWN).cloned().collect();
                format!("{}\n{}", kic_diag::draw(&first, &handler), where_to_learn_more(diagnostics))
            }
        };
        // Nobody is left to tell that standard error is closed.
        drop(io::stderr().write_all(text.as_bytes()));
    }
}

/// Names the command that tells more, with each code once.
fn where_to_learn_more(diagnostics: &Diagnostics) -> String {
    let mut names: Vec<&str> = diagnostics.iter().map(|one| one.code.name).collect();
    names.sort_unstable();
    names.dedup();
    let more = match diagnostics.iter().count().saturating_sub(MOST_DRAWN) + diagnostics.omitted() {
        0 => String::new(),
        // Whoever found so many may have stopped looking.
        omitted if diagnostics.are_full() => format!("at least {omitted} more are not shown\n"),
        omitted => format!("{omitted} more are not shown\n"),
    };
    match names.as_slice() {
        [name] => format!("{more}To learn more: kic explain {name}\n"),
        names => format!("{more}To learn more: kic explain CODE, with CODE one of {}\n", names.join(", ")),
    }
}
