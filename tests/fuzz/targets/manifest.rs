//! Any text becomes objects, images and errors; every span lies in the text; what was read can be written and read, as
//! YAML and as KDL.
#![no_main]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kic_base::Source;
use kic_import::Wrapping;
use kic_manifest::{Object, emit, images, read};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|text: &str| {
    let source = Source::new("fuzz.yaml", text);
    let (objects, errors) = read(&source);
    for found in images(&objects) {
        let range = found.span.range();
        assert!(source.text().get(range.clone()).is_some(), "{range:?} is no part of the text");
    }
    let imported = kic_import::manifest(&source, Wrapping::Module("all"));
    if !errors.is_empty() {
        assert!(imported.is_err());
        return;
    }
    for object in &objects {
        let written = emit(&whole(object));
        let (again, errors) = read(&Source::new("again.yaml", written.as_str()));
        assert!(errors.is_empty(), "{written}\n{errors:?}");
        if let [again] = again.as_slice() {
            assert_eq!(whole(again), whole(object), "{written}");
        }
    }
    let Ok(kdl) = imported else { return };
    let all = Source::new("all.kdl", kdl.as_str());
    assert_eq!(kic_syntax::format(&all).as_ref(), Ok(&kdl));
    let spec = Source::new("cluster.kdl", "cluster \"x\" {\n    base scratch\n    use \"all.kdl\"\n}\n");
    let (spec, _) = kic_syntax::parse(&spec);
    let world = BTreeMap::from([(PathBuf::from("all.kdl"), kdl.clone())]);
    let resolved = kic_spec::resolve(&spec, Path::new("cluster.kdl"), &world);
    let (spec, _) = resolved.unwrap_or_else(|errors| panic!("{errors:?}\n{kdl}"));
    let items = spec.layers.iter().flat_map(|layer| match &layer.content {
        kic_spec::Content::Manifests { items, .. } => items.as_slice(),
        _ => &[],
    });
    let items: Vec<&Value> = items
        .filter_map(|item| match &item.value {
            kic_spec::ManifestItem::Object { object, .. } => Some(object),
            _ => None,
        })
        .collect();
    assert_eq!(items, objects.iter().map(whole).collect::<Vec<_>>().iter().collect::<Vec<_>>(), "{kdl}");
});

/// An object with what it may have left out in a list.
fn whole(object: &Object) -> Value {
    let mut value = object.root.to_json();
    value["apiVersion"] = json!(object.api_version);
    value["kind"] = json!(object.kind);
    value
}
