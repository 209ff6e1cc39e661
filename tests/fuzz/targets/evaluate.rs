//! Any spec and module become a value or errors. `// file: NAME` begins the text of another file, as in tests/language.
#![no_main]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kic_base::Source;
use kic_spec::Settings;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut parts = text.split("// file: ");
    let spec = parts.next().unwrap_or_default();
    let mut world: BTreeMap<PathBuf, String> = BTreeMap::new();
    for part in parts {
        let (name, text) = part.split_once('\n').unwrap_or((part, ""));
        world.insert(PathBuf::from(name.trim()), text.to_owned());
    }
    let (file, said) = kic_syntax::parse(&Source::new("cluster.kdl", spec));
    if said.has_errors() {
        return;
    }
    let settings = Settings { set: vec![("environment".into(), "production".into())] };
    for settings in [Settings::default(), settings] {
        let resolved = kic_spec::resolve_with(&file, Path::new("cluster.kdl"), &settings, &world);
        if let Err(errors) = &resolved {
            assert!(errors.has_errors());
            // Drawing an error looks at the text around it.
            kic_diag::json(errors);
        }
        let platform = "linux/arm64".parse().expect("a platform");
        let closed = kic_spec::evaluate_cluster(&file, &platform, &settings, &world);
        // What is well formed can be closed, and is a spec of its own then.
        if let (Ok((spec, _)), Ok((closed, _, _))) = (resolved, closed) {
            assert_eq!(closed.name.value, "cluster");
            assert!(!spec.platforms.is_empty());
        }
    }
});
