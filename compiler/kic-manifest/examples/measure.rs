//! Times the reading and the discovery of a manifest: `cargo run --release -p kic-manifest --example measure FILE`.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a program for people, not a library")]

use std::time::Instant;

use kic_base::Source;
use kic_manifest::{images, read};

fn main() {
    let path = std::env::args().nth(1).expect("the path of a manifest");
    let source = Source::new(path.clone(), std::fs::read_to_string(&path).expect("a readable file"));
    for round in 0..5 {
        let start = Instant::now();
        let (objects, errors) = read(&source);
        let parsed = start.elapsed();
        let found = images(&objects);
        println!(
            "round {round}: read {parsed:?}, discovered {:?}; {} objects, {} errors, {} images",
            start.elapsed() - parsed,
            objects.len(),
            errors.len(),
            found.len()
        );
        if round == 4 {
            for found in found {
                println!(
                    "{:?} {} at {} in {}: {} ({})",
                    found.confidence, found.written, found.span, found.object, found.path, found.reason
                );
            }
            for error in errors {
                println!("{error}");
            }
        }
    }
}
