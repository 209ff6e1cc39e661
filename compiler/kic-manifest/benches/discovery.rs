//! Discovery: `cargo bench -p kic-manifest --bench discovery`.
#![allow(missing_docs, reason = "a benchmark")]

use std::fmt::Write as _;

use divan::counter::{BytesCount, ItemsCount};
use kic_base::Source;

const OBJECTS: usize = 500;

fn main() {
    let (found, errors) = kic_manifest::images_of_text(&source());
    assert!(errors.is_empty() && found.len() >= 2 * OBJECTS, "{} images", found.len());
    divan::main();
}

/// Deployments as charts print them: most of the text is none of our business.
fn source() -> Source {
    let mut text = String::new();
    for number in 0..OBJECTS {
        let _ = write!(
            text,
            "---\n# Source: shop/templates/service-{number}.yaml\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  \
             name: service-{number}\n  namespace: shop\n  labels:\n    app.kubernetes.io/name: service-{number}\n    \
             app.kubernetes.io/version: \"1.{number}\"\nspec:\n  replicas: 2\n  selector:\n    matchLabels:\n      \
             app.kubernetes.io/name: service-{number}\n  template:\n    metadata:\n      labels:\n        \
             app.kubernetes.io/name: service-{number}\n    spec:\n      initContainers:\n        - name: migrate\n          \
             image: \"registry.example.com:5000/shop/migrate:{number}\"\n          command: [migrate, up]\n      \
             containers:\n        - name: main\n          image: shop/service-{number}:1.{number}\n          args:\n            \
             - --listen=0.0.0.0:8080\n            - --config=/etc/service/config.yaml\n          env:\n            - name: \
             MODE\n              value: production\n          resources:\n            limits:\n              cpu: 500m\n              \
             memory: 128Mi\n          livenessProbe:\n            httpGet:\n              path: /healthz\n              port: 8080\n"
        );
    }
    Source::new("shop.yaml", text)
}

#[divan::bench]
fn read_500_deployments(bencher: divan::Bencher<'_, '_>) {
    let source = source();
    bencher.counter(BytesCount::of_str(source.text())).bench(|| kic_manifest::documents(&source));
}

#[divan::bench]
fn images_of_500_deployments(bencher: divan::Bencher<'_, '_>) {
    let source = source();
    bencher.counter(ItemsCount::new(OBJECTS)).bench(|| kic_manifest::images_of_text(&source));
}
