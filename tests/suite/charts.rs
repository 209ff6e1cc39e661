//! Charts and kustomizations, rendered by Helm and kustomize themselves.

mod kustomizations;
mod origins;
mod rendering;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::kic::{kic, shown, stdout};

/// A folder with a spec and charts, and a store.
struct Place {
    folder: tempfile::TempDir,
    /// Folders that come first in `PATH`.
    programs: Vec<PathBuf>,
}

impl Place {
    fn new(programs: &[&Path]) -> Self {
        let programs = programs.iter().map(|program| program.parent().unwrap().to_owned()).collect();
        Self { folder: tempfile::tempdir().unwrap(), programs }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A spec whose only layer holds these nodes.
    fn spec(&self, nodes: &str) {
        self.write("cluster.kdl", &format!("cluster \"shop\" {{\nbase scratch\nmanifests \"shop\" namespace=\"front\" {{\n{nodes}\n}}\n}}\n"));
    }

    /// A stand-in for a program.
    fn stand_in(&mut self, name: &str, script: &str) {
        let path = self.path("stand-ins").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self.programs = vec![self.path("stand-ins")];
    }

    fn kic(&self, arguments: &[&str]) -> Command {
        let mut command = kic(self.folder.path(), &self.path("store"));
        let own = self.programs.iter().cloned();
        let others: Vec<PathBuf> =
            std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
        command.env("PATH", std::env::join_paths(own.chain(others)).unwrap()).args(arguments);
        command
    }

    fn compile(&self, arguments: &[&str]) -> Output {
        let output = self.path("out.oci");
        let mut all = vec!["compile", "cluster.kdl", "--format", "json", "-o", output.to_str().unwrap()];
        all.extend(arguments);
        self.kic(&all).output().unwrap()
    }

    /// Compiles, and gives the digest of the image.
    fn digest(&self, arguments: &[&str]) -> String {
        let output = self.compile(arguments);
        assert!(output.status.success(), "{}", shown(&output));
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        result["digest"].as_str().unwrap().to_owned()
    }

    /// The manifests of the image, by name, and the steps of its plan.
    fn manifests(&self) -> (BTreeMap<String, String>, Value) {
        let to = self.path("unpacked");
        drop(fs::remove_dir_all(&to));
        stdout(self.kic(&["unpack", self.path("out.oci").to_str().unwrap(), to.to_str().unwrap()]).arg("-q"));
        let files = fs::read_dir(to.join("manifests/shop")).unwrap().map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap())
        });
        let plan = fs::read(to.join("kic/plan.json")).unwrap();
        (files.collect(), serde_json::from_slice::<Value>(&plan).unwrap()["steps"].clone())
    }

    /// Compiles with errors or warnings, and gives what is said: the code, and all of its text.
    fn said(&self) -> Vec<(String, String)> {
        let output = self.compile(&[]);
        let said: Value =
            serde_json::from_slice(&output.stderr).unwrap_or_else(|_| panic!("{}", shown(&output)));
        let code = |one: &Value| (one["code"].as_str().unwrap().to_owned(), one.to_string());
        said.as_array().unwrap().iter().map(code).collect()
    }
}

/// A chart with a chart inside, definitions, hooks, and templates that show what they are told.
fn shop(place: &Place) {
    place.write("charts/shop/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.2.3\n");
    place.write("charts/shop/values.yaml", "replicas: 1\nlist: [a, b]\ngone: here\nsub: {color: blue}\n");
    place.write("charts/shop/.helmignore", "*.ignored\n");
    place.write("charts/shop/templates/broken.ignored", "{{ nonsense");
    place.write(
        "charts/shop/templates/_helpers.tpl",
        "{{ define \"shop.title\" }}{{ .Release.Name }}-{{ .Chart.Version }}{{ end }}",
    );
    place.write(
        "charts/shop/templates/told.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ include \"shop.title\" . }}\n  namespace: {{ .Release.Namespace }}\n\
         data:\n  replicas: \"{{ .Values.replicas }}\"\n  list: {{ join \",\" .Values.list | quote }}\n  gone: {{ .Values.gone | quote }}\n  \
         version: {{ .Capabilities.KubeVersion.Version | quote }}\n  monitored: \"{{ .Capabilities.APIVersions.Has \"monitoring.coreos.com/v1\" }}\"\n  \
         nodes: \"{{ len (lookup \"v1\" \"Node\" \"\" \"\") }}\"\n",
    );
    place.write("charts/shop/crds/crd.yaml", "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: shops.example.com\n");
    let hook = |name: &str, event: &str, weight: i32| {
        format!(
            "---\napiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\n  annotations:\n    helm.sh/hook: {event}\n    \
             helm.sh/hook-weight: \"{weight}\"\n"
        )
    };
    let hooks = [
        hook("second", "pre-install,pre-upgrade", 2),
        hook("first", "pre-install", -2),
        hook("late", "post-install", 0),
        hook("never", "pre-delete", 0),
        hook("check", "test", 0),
    ];
    place.write("charts/shop/templates/hooks.yaml", &hooks.concat());
    place.write("charts/shop/charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 0.1.0\n");
    place.write("charts/shop/charts/sub/values.yaml", "color: red\n");
    place.write(
        "charts/shop/charts/sub/templates/sub.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: sub}\ndata: {color: {{ .Values.color }}}\n",
    );
}

const SHOP: &str = "kube-version=\"1.29.0\" { values \"more.yaml\"; values { replicas 3; gone #null; }; api-versions \"monitoring.coreos.com/v1\"; }";

fn packaged(place: &Place, helm: &Path) -> Vec<u8> {
    let mut command = Command::new(helm);
    command
        .args(["package", "charts/shop"])
        .current_dir(place.folder.path())
        .env("HOME", place.folder.path());
    stdout(&mut command);
    fs::read(place.path("shop-1.2.3.tgz")).unwrap()
}
