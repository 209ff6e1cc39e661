//! The front end on a spec of 10,000 nodes: `cargo bench -p kic-spec --bench front_end`. Parsing and evaluating it
//! together is to take less than 50 ms.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kic_base::Source;
use kic_syntax::{File, Node, parse};

fn main() {
    let (file, world) = (file(&spec()), world());
    let written: usize = file.nodes.iter().map(count).sum();
    let closed = kic_spec::resolve(&file, Path::new("cluster.kdl"), &world);
    assert!((10_000..10_300).contains(&written), "{written} nodes");
    assert!(closed.is_ok_and(|(spec, warnings)| spec.layers.len() > 1_000 && warnings.is_empty()));
    divan::main();
}

fn count(node: &Node) -> usize {
    1 + node.children().iter().map(count).sum::<usize>()
}

fn file(text: &str) -> File {
    let (file, errors) = parse(&Source::new("cluster.kdl", text));
    assert!(errors.is_empty());
    file
}

/// What a cluster of 435 services says: values, modules, conditions, repetitions, objects, images, checks.
fn spec() -> String {
    let service = |number: usize| {
        format!(
            r#"    let "image-{number}" ($)"${{registry}}/shop/service-{number}:v{number}"
    manifests "service-{number}" namespace="team-{team}" after="namespaces" {{
        object "apps/v1/Deployment" name="service-{number}" {{
            spec {{
                replicas ($)"${{replicas}}"
                template {{
                    metadata {{ labels app="service-{number}" tier="back" }}
                    spec {{
                        containers {{
                            - name="main" image=($)"${{image-{number}}}" {{
                                args "--listen" ($)"${{listen}}" "--verbose"
                                env {{
                                    - name="PATH_PREFIX" value="/service/{number}"
                                    - name="SHELL_TEXT" value="echo $HOME {{{{ .Values }}}}"
                                }}
                                resources {{ limits cpu="500m" memory="128Mi" }}
                            }}
                        }}
                    }}
                }}
            }}
        }}
        when "environment" is="production" {{
            file "etc/service-{number}.yaml"
        }}
    }}
    readiness "service-{number}" timeout="2m" {{
        rollout "deployment/service-{number}" namespace="team-{team}"
    }}
    files "settings-{number}" {{
        text "/etc/shop/{number}.conf" ($)"environment=${{environment}}\n" mode="0600"
    }}
"#,
            team = number % 7
        )
    };
    let services: String = (0..435).map(service).collect();
    format!(
        r#"cluster "market" version="v1" {{
    param "environment" type="enum" default="production" {{ one-of "staging" "production" }}
    let "registry" "registry.example.com"
    let "replicas" 3
    let "listen" "0.0.0.0:8080"
    base scratch
    for "team" 0 1 2 3 4 5 6 {{
        use "team.kdl" name=($)"team-${{team}}"
    }}
    registry "sea.hub:5000" {{ discover }}
{services}}}
"#
    )
}

fn world() -> BTreeMap<PathBuf, String> {
    let team = r#"module "team" {
    param "name" type="string"
    manifests "namespaces" {
        object "v1/Namespace" name=($)"${name}" { metadata { labels team=($)"${name}" } }
    }
}
"#;
    BTreeMap::from([(PathBuf::from("team.kdl"), team.to_owned())])
}

#[divan::bench]
fn parse_10_000_nodes(bencher: divan::Bencher<'_, '_>) {
    let source = Source::new("cluster.kdl", spec());
    bencher.bench(|| parse(&source));
}

#[divan::bench]
fn evaluate_10_000_nodes(bencher: divan::Bencher<'_, '_>) {
    let (file, world) = (file(&spec()), world());
    bencher.bench(|| kic_spec::resolve(&file, Path::new("cluster.kdl"), &world));
}

#[divan::bench]
fn parse_and_evaluate_10_000_nodes(bencher: divan::Bencher<'_, '_>) {
    let (text, world) = (spec(), world());
    bencher.bench(|| {
        let (file, _) = parse(&Source::new("cluster.kdl", text.as_str()));
        kic_spec::resolve(&file, Path::new("cluster.kdl"), &world)
    });
}

#[divan::bench]
fn format_10_000_nodes(bencher: divan::Bencher<'_, '_>) {
    let source = Source::new("cluster.kdl", spec());
    bencher.bench(|| kic_syntax::format(&source));
}
