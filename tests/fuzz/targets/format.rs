//! What is formatted means the same, keeps its comments, and is left as it is by formatting it again.
#![no_main]

use kic_base::Source;
use kic_syntax::{Plain, format, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let source = Source::new("fuzz.kdl", text);
    let Ok(formatted) = format(&source) else { return };
    let again = Source::new("again.kdl", formatted.as_str());
    let (before, said) = parse(&source);
    let (after, errors) = parse(&again);
    assert!(!said.has_errors() && !errors.has_errors(), "{formatted}");
    let meaning = |file: &kic_syntax::File| file.nodes.iter().map(Plain::from).collect::<Vec<_>>();
    // Compared as text: NaN is not itself.
    assert_eq!(format!("{:?}", meaning(&before)), format!("{:?}", meaning(&after)), "{formatted}");
    assert_eq!(format(&again).as_deref(), Ok(formatted.as_str()));
});
