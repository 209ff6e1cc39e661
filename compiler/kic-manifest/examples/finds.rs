//! What discovery finds in files, one line a find, for holding it against lists that were made otherwise:
//! `cargo run --release -p kic-manifest --example finds FILE…`.
//!
//! `FILE<tab>LINE<tab>CONFIDENCE<tab>REFERENCE<tab>PATH<tab>REASON`. A file without objects is read as a text of any
//! kind, as `kic` reads the values of a chart.
#![expect(clippy::print_stdout, reason = "a program for people, not a library")]

use kic_base::Source;
use kic_manifest::{images, images_of_text, read};

fn main() {
    for path in std::env::args().skip(1) {
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("{path}\t0\tunreadable\t\t\t");
            continue;
        };
        let source = Source::new(path.clone(), text);
        let (objects, mut errors) = read(&source);
        let mut found = images(&objects);
        if objects.is_empty() {
            (found, errors) = images_of_text(&source);
        }
        for error in errors {
            let one_line = error.to_string().replace('\n', " ");
            println!("{path}\t0\terror\t\t\t{one_line}");
        }
        for find in found {
            let line = find.span.source().line_column(find.span.range().start).0;
            println!(
                "{path}\t{line}\t{}\t{}\t{}: {}\t{}",
                find.confidence.name(),
                find.written,
                find.object,
                find.path,
                find.reason
            );
        }
    }
}
