//! How fast a large spec is read and formatted, beside kdl-rs: `cargo run --release -p kic-syntax --example measure`.
#![allow(clippy::print_stdout, reason = "a measure prints")]

use std::time::Instant;

use kic_base::Source;
use kic_syntax::{format, parse};

/// A spec of so many nodes, about 60 bytes each.
fn spec(nodes: usize) -> String {
    let seven = |number: usize| {
        format!(
            r##"manifests "shop-{number}" namespace="shop-namespace-{number}" after="some-other-layer" {{
    // a comment about the file, which says something about it
    file "etc/shop/{number}/deployment-and-service.yaml" mode=0o644 // trailing
    object "v1/ConfigMap" name="greeting-{number}" replicas=3 {{
        data {{ text "hello world, this is a longer string"; more #true }}
    }}
    text #"kubectl run nginx --image=nginx:latest "quoted" and more"#
}}

"##
        )
    };
    (0..nodes / 7).map(seven).collect()
}

fn main() {
    let source = Source::new("large.kdl", spec(10_000));
    for _ in 0..5 {
        let start = Instant::now();
        let (file, errors) = parse(&source);
        let parsed = start.elapsed();
        assert!(errors.is_empty() && file.nodes.len() == 1428);
        let start = Instant::now();
        let formatted = format(&source);
        let laid_out = start.elapsed();
        assert!(formatted.is_ok_and(|text| text.len() > 500_000));
        println!("{} bytes: parsed in {parsed:?}, formatted in {laid_out:?}", source.text().len());
    }
    let start = Instant::now();
    assert!(source.text().parse::<kdl::KdlDocument>().is_ok());
    println!("kdl-rs: {:?}", start.elapsed());
}
