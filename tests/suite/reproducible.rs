//! The same spec gives the same bytes, whatever is different around it.
//!
//! Two specs that use everything are compiled by the real program along every axis: each time the digest is the golden one,
//! and every file of the output has the same bytes.

mod golden;
mod outputs;
mod surroundings;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tempfile::TempDir;

use crate::support::contents::files;
use crate::support::image_layout::{assert_valid, root_digest};
use crate::support::kic::{kic, program, shown};
use crate::support::peers::peer;
use crate::support::rich_spec::{self, Making};
use crate::support::wide_spec;
use golden::assert_golden;

/// A spec, and the image that it gives in the plainest surroundings.
struct Reference {
    folder: TempDir,
    layout: PathBuf,
    make: fn(&Path, Making),
    /// The folders of the programs that it needs.
    programs: Vec<PathBuf>,
}

/// The rich spec, and where the programs that render are here the wide one. Made by the first test that needs them, removed by
/// the last.
fn references() -> Vec<Arc<Reference>> {
    static WIDE: Mutex<Weak<Reference>> = Mutex::new(Weak::new());
    let mut references = vec![reference()];
    if let (Some(helm), Some(kustomize)) = (peer("helm"), peer("kustomize")) {
        let programs = [helm, kustomize].map(|program| program.parent().unwrap().to_owned()).into();
        references.push(shared(&WIDE, || Reference::new("wide", wide_spec::make, programs)));
    }
    references
}

/// The rich spec.
fn reference() -> Arc<Reference> {
    static RICH: Mutex<Weak<Reference>> = Mutex::new(Weak::new());
    shared(&RICH, || Reference::new("zstd", rich_spec::make, Vec::new()))
}

fn shared(place: &Mutex<Weak<Reference>>, make: impl FnOnce() -> Reference) -> Arc<Reference> {
    let mut shared = place.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let reference = Arc::new(make());
        *shared = Arc::downgrade(&reference);
        reference
    })
}

impl Reference {
    fn new(golden: &str, make: fn(&Path, Making), programs: Vec<PathBuf>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layout = folder.path().join("reference.oci");
        let reference = Self { folder, layout, make, programs };
        make(&reference.spec(), Making::default());
        let digest = reference.build().output(&reference.layout).run();
        assert_valid(&reference.layout);
        assert_golden(golden, &digest);
        reference
    }

    /// The folder with the spec.
    fn spec(&self) -> PathBuf {
        self.folder.path().join("spec")
    }

    /// A run on the spec.
    fn build(&self) -> Build {
        self.build_in(&self.spec())
    }

    /// A run on the spec as it was made in another folder.
    fn build_in(&self, folder: &Path) -> Build {
        let mut folders = self.programs.clone();
        folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let path = std::env::join_paths(folders).unwrap();
        Build::new(folder).variable("PATH", path.to_str().unwrap())
    }

    /// What is tried of an axis: all of it on the rich spec, and the last on the wide one, whose runs take longer.
    fn some<'a, T>(&self, values: &'a [T]) -> &'a [T] {
        if self.programs.is_empty() { values } else { values.split_at(values.len() - 1).1 }
    }

    /// The digest of the reference, and the bytes of all its files.
    fn assert_same(&self, layout: &Path, axis: &str) {
        assert_eq!(root_digest(layout), root_digest(&self.layout), "{axis}: another image");
        assert_eq!(files(layout), files(&self.layout), "{axis}: other files");
    }
}

/// One run of the program. What is not said is as plain as can be: a new store, a new output.
struct Build {
    scratch: TempDir,
    folder: PathBuf,
    spec: PathBuf,
    store: PathBuf,
    output: PathBuf,
    arguments: Vec<String>,
    program: PathBuf,
    wrapper: Vec<OsString>,
    environment: Vec<(String, Option<String>)>,
}

impl Build {
    fn new(folder: &Path) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        Self {
            folder: folder.to_owned(),
            spec: "cluster.kdl".into(),
            store: scratch.path().join("store"),
            output: scratch.path().join("output.oci"),
            arguments: Vec::new(),
            program: program().to_owned(),
            wrapper: Vec::new(),
            environment: Vec::new(),
            scratch,
        }
    }

    fn spec(mut self, spec: impl Into<PathBuf>) -> Self {
        self.spec = spec.into();
        self
    }

    fn store(mut self, store: &Path) -> Self {
        self.store = store.to_owned();
        self
    }

    fn output(mut self, output: &Path) -> Self {
        self.output = output.to_owned();
        self
    }

    fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Runs the program through others, such as `faketime`.
    fn wrapper(mut self, words: &[&str]) -> Self {
        self.wrapper.extend(words.iter().map(OsString::from));
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), Some(value.to_owned())));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.environment.push((name.to_owned(), None));
        self
    }

    /// The digest that the program prints.
    fn run(&self) -> String {
        let plain = kic(&self.folder, &self.store);
        let mut words = self.wrapper.clone();
        words.push(self.program.clone().into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["compile", "--quiet"]).arg(&self.spec).arg("-o").arg(&self.output);
        command.args(&self.arguments).current_dir(&self.folder).env_clear();
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        assert!(output.status.success(), "{command:?}: {}", shown(&output));
        let digest = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        assert!(digest.starts_with("sha256:"), "{digest}");
        digest
    }

    fn run_and_compare(&self, reference: &Reference, axis: &str) {
        let digest = self.run();
        assert_eq!(digest, root_digest(&self.output), "{axis}: what is printed is not what is written");
        reference.assert_same(&self.output, axis);
    }
}
