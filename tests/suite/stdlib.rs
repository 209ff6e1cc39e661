//! The modules of the standard library, each in a case of its own: a folder of `tests/std/`, named as the module, or
//! `MODULE-VARIANT`.
//!
//! | file | what it is |
//! |---|---|
//! | `cluster.kdl` | a spec that uses the module, and needs no network but those registries |
//! | `upstream` | images that registries have, each a line: host, repository, tag |
//! | `needs` | peers, without which the case is skipped; as they decide its digest, that is not held |
//! | `closed.kdl` | what `kic eval` makes of it |
//! | `steps` | the plan of its image, a step a line |
//! | `digest` | the number of the current encoder epoch, and the digest of its image |
//!
//! `UPDATE_EXPECT=1` writes the last three. Beside a case lies `greeter-image`, that of `examples/hello`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use kic_base::Epoch;
use serde_json::Value;

use crate::support::image_layout::assert_valid;
use crate::support::kic::{kic, shown, stdout};
use crate::support::peers::peer;
use crate::support::upstream::Upstream;
use crate::support::{copy_tree, root, shared_data, updates_expectations};

/// A case in a folder of its own.
struct Case {
    name: String,
    scratch: tempfile::TempDir,
    upstream: Option<Upstream>,
    mirrors: Vec<String>,
}

impl Case {
    fn new(name: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        copy_tree(&root().join("tests/std").join(name), &scratch.path().join("case"), 0o644);
        copy_tree(&root().join("examples/hello/greeter-image"), &scratch.path().join("greeter-image"), 0o644);
        let mut case = Self { name: name.to_owned(), scratch, upstream: None, mirrors: Vec::new() };
        case.serve_upstream();
        case
    }

    /// Starts a registry that has what `upstream` lists, and stands for each of those hosts.
    fn serve_upstream(&mut self) {
        let Ok(listed) = fs::read_to_string(self.path("case/upstream")) else { return };
        let layout = self.path("greeter-image");
        let mut images = Vec::new();
        let mut hosts = BTreeSet::new();
        for line in listed.lines() {
            let [host, repository, tag] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("no image: {line}")
            };
            hosts.insert(host);
            images.push((repository, tag, layout.as_path()));
        }
        let upstream = Upstream::serve(&images, |_, reply| reply);
        for host in hosts {
            self.mirrors
                .extend(["--registry-mirror".to_owned(), format!("{host}=http://{}", upstream.host())]);
        }
        self.upstream = Some(upstream);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn needs(&self) -> Vec<String> {
        let needs = fs::read_to_string(self.path("case/needs")).unwrap_or_default();
        needs.lines().map(str::to_owned).collect()
    }

    /// kic in the folder of the case, with the peers on its path.
    fn command(&self) -> Command {
        let mut command = kic(&self.path("case"), &self.path("store"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(root().join("target/peers/bin")).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(folders).unwrap());
        command
    }

    fn kic(&self, arguments: &[&str]) -> String {
        stdout(self.command().args(arguments))
    }

    /// Compiles it; the digest.
    fn compile(&self) -> String {
        let mut compile = self.command();
        compile.args(["compile", "--quiet", "-o", "../image"]).args(&self.mirrors);
        if self.upstream.is_none() {
            compile.arg("--offline");
        }
        stdout(&mut compile).trim().to_owned()
    }

    /// The root file system of its image.
    fn unpacked(&self) -> PathBuf {
        let root = self.path("root");
        if !root.exists() {
            self.compile();
            self.kic(&["unpack", "--quiet", "../image", "../root"]);
        }
        root
    }

    fn expect(&self, file: &str, found: &str) {
        let path = root().join("tests/std").join(&self.name).join(file);
        if updates_expectations() {
            fs::write(&path, found).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert!(expected == found, "{} differs; now:\n{found}", path.display());
    }
}

/// The cases whose peers are here.
fn cases() -> impl Iterator<Item = Case> {
    names()
        .into_iter()
        .map(|name| Case::new(&name))
        .filter(|case| case.needs().iter().all(|name| peer(name).is_some()))
}

fn names() -> Vec<String> {
    let entries = fs::read_dir(root().join("tests/std")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The steps of a plan, one a line.
fn steps(root: &Path) -> String {
    let plan: Value = serde_json::from_slice(&fs::read(root.join("kic/plan.json")).unwrap()).unwrap();
    let step = |step: &Value| {
        let text = |key: &str| step[key].as_str();
        match (text("apply"), text("wait"), text("run")) {
            (Some(name), ..) => format!("apply {} {name}\n", text("kind").unwrap()),
            (_, Some(name), _) => format!("wait {name}\n"),
            (.., Some(command)) => format!("run {command}\n"),
            _ => panic!("{step} is no step"),
        }
    };
    plan["steps"].as_array().unwrap().iter().map(step).collect()
}

#[test]
fn every_module_has_a_case() {
    let cases = names();
    for module in kic_spec::standard_modules() {
        assert!(cases.iter().any(|case| case == module), "tests/std has no {module}");
    }
}

#[test]
fn modules_evaluate_and_compile_to_what_is_expected() {
    for case in cases() {
        case.expect("closed.kdl", &case.kic(&["eval"]));
        let digest = case.compile();
        assert_valid(&case.path("image"));
        if case.needs().is_empty() {
            case.expect("digest", &format!("{} {digest}\n", Epoch::CURRENT.number()));
        }
        case.expect("steps", &steps(&case.unpacked()));
        // What is closed says the same by itself.
        fs::write(case.path("case/cluster.kdl"), case.kic(&["eval"])).unwrap();
        assert_eq!(case.compile(), digest, "{}: closed", case.name);
    }
}

#[test]
fn copies_of_the_modules_do_what_the_modules_do() {
    for case in cases() {
        let digest = case.compile();
        let folder = case.path("case/modules");
        fs::create_dir(&folder).unwrap();
        let mut copied = 0;
        let mut local = |text: &str, folder: &str| {
            let mut text = text.to_owned();
            for module in kic_spec::standard_modules() {
                copied += text.matches(&format!("use \"std:{module}\"")).count();
                text =
                    text.replace(&format!("use \"std:{module}\""), &format!("use \"{folder}{module}.kdl\""));
            }
            text
        };
        for module in kic_spec::standard_modules() {
            let text = fs::read_to_string(root().join("stdlib").join(format!("{module}.kdl"))).unwrap();
            fs::write(folder.join(format!("{module}.kdl")), local(&text, "")).unwrap();
        }
        let spec = fs::read_to_string(case.path("case/cluster.kdl")).unwrap();
        fs::write(case.path("case/cluster.kdl"), local(&spec, "modules/")).unwrap();
        assert!(copied > 0, "{} uses no module", case.name);
        assert_eq!(case.compile(), digest, "{}", case.name);
    }
}

/// Every shell script of an image, whoever wrote it.
fn scripts(folder: &Path) -> Vec<PathBuf> {
    let mut scripts = files(folder);
    scripts.retain(|file| fs::read(file).unwrap_or_default().starts_with(b"#!/bin/sh"));
    scripts.sort();
    scripts
}

#[test]
fn scripts_of_the_modules_are_clean_and_every_shell_reads_them() {
    let (Some(shellcheck), Some(dash), Some(busybox)) = (peer("shellcheck"), peer("dash"), peer("busybox"))
    else {
        return;
    };
    let mut seen = BTreeSet::new();
    for case in cases() {
        for script in scripts(&case.unpacked()) {
            stdout(Command::new(&shellcheck).arg("--shell=sh").arg(&script));
            stdout(Command::new(&dash).arg("-n").arg(&script));
            stdout(Command::new(&busybox).args(["sh", "-n"]).arg(&script));
            seen.insert(format!("{}: {}", case.name, script.file_name().unwrap().display()));
        }
    }
    for script in ["kyverno: wait-kyverno.sh", "registry: registry.sh", "kubernetes: kubernetes.sh"] {
        assert!(seen.contains(script), "{seen:?}");
    }
}

/// What kubectl says of a cluster in which all is ready, to every question that a script of checks asks.
const READY: &str = r#"#!/bin/sh
case $* in
    *webhooks*) echo 'a||engine|engine|Q0E=' ;;
    *subsets*) echo 10.0.0.1 ;;
    *conditionStatus*) echo 'policy|true||True|Ready' ;;
    *type==*nodes*) printf 'a|True\nb|True\nc|True\n' ;;
    *) echo answer ;;
esac
"#;

#[test]
fn the_checks_of_the_modules_end_as_the_plan_says() {
    let mut count = 0;
    for case in cases() {
        let root = case.unpacked();
        let Ok(folder) = fs::read_dir(root.join("readiness")) else { continue };
        for entry in folder {
            let path = entry.unwrap().path();
            let plan: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let checks = plan["checks"].as_array().unwrap();
            let script = root.join(format!("scripts/wait-{}.sh", plan["name"].as_str().unwrap()));
            // Other time limits, and nothing of the network.
            let text = fs::read_to_string(&script).unwrap();
            let limit = |seconds: &Value| format!("    await {seconds} ");
            let short = checks
                .iter()
                .fold(text, |text, check| text.replace(&limit(&check["timeout_seconds"]), "    await 1 "));
            let (short_script, bin) = (case.path("short.sh"), case.path("bin"));
            fs::write(&short_script, short).unwrap();
            let run = |kubectl: Option<&str>, script: &Path| {
                let _ = fs::remove_dir_all(&bin);
                fs::create_dir(&bin).unwrap();
                for (program, body) in [("kubectl", kubectl), ("curl", Some("#!/bin/sh\nprintf 200\n"))] {
                    let Some(body) = body else { continue };
                    fs::write(bin.join(program), body).unwrap();
                    fs::set_permissions(bin.join(program), fs::Permissions::from_mode(0o755)).unwrap();
                }
                let mut shell = Command::new("/bin/sh");
                shell.arg(script).env_clear().env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
                let output = shell.env("KUBECTL", bin.join("kubectl")).output().unwrap();
                (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
            };
            let (status, said) = run(Some(READY), &script);
            assert_eq!(status, Some(0), "{}: {said}", case.name);
            assert_eq!(said.matches(": ready after ").count(), checks.len(), "{}: {said}", case.name);
            if checks.iter().all(|check| check["kind"] == "http") {
                continue;
            }
            count += 1;
            let (status, said) = run(Some("#!/bin/sh\necho 'Error: not so' >&2\nexit 1\n"), &short_script);
            assert_eq!(status, Some(1), "{}: {said}", case.name);
            assert!(said.ends_with("    Error: not so\n"), "{}: {said}", case.name);
            let (status, said) = run(None, &script);
            assert_eq!(status, Some(2), "{}: {said}", case.name);
            assert!(said.contains("there is no "), "{}: {said}", case.name);
        }
    }
    assert!(count >= 8, "{count}");
}

/// Kyverno's own install manifests, whose images another one plays: none is missed, and none is invented.
#[test]
fn kyverno_is_right_for_the_manifests_that_its_project_published() {
    let Some(data) = shared_data() else { return };
    let four =
        ["admission", "background", "cleanup", "reports"].map(|name| format!("kyverno-{name}-controller"));
    let releases = [
        ("v1.5.8", vec!["kyverno:v1.5.8", "kyvernopre:v1.5.8"], vec!["kyverno".to_owned()]),
        (
            "v1.13.0",
            vec![
                "kyvernopre:latest",
                "kyverno:latest",
                "background-controller:latest",
                "cleanup-controller:latest",
                "reports-controller:latest",
            ],
            four.to_vec(),
        ),
    ];
    for (version, images, deployments) in releases {
        let case = Case::new("kyverno");
        let install = fs::read_to_string(data.join(format!("kyverno/install-{version}.yaml"))).unwrap();
        fs::write(case.path("case/install.yaml"), &install).unwrap();
        let spec = |images: &[&str]| {
            let image =
                |name: &&str| format!("image \"oci:../greeter-image\" as=\"ghcr.io/kyverno/{name}\"\n");
            format!(
                "cluster \"engine\" {{\nbase scratch\nuse \"std:kyverno\" version=\"{version}\" manifest=\"install.yaml\"\nregistry \"sea.hub:5000\" {{\n{}}}\n}}\n",
                images.iter().map(image).collect::<String>()
            )
        };
        fs::write(case.path("case/cluster.kdl"), spec(&images)).unwrap();
        let root = case.unpacked();
        let script = fs::read_to_string(root.join("scripts/wait-kyverno.sh")).unwrap();
        for name in &deployments {
            assert!(install.contains(&format!("\n  name: {name}\n")), "{version} has no {name}");
            assert!(script.contains(&format!("'deployment/{name}'")), "{version} does not wait for {name}");
        }
        assert_eq!(script.matches("'rollout of ").count(), 2 * deployments.len(), "{version}");
        assert_eq!(install.matches("kind: Deployment\n").count(), deployments.len(), "{version}");
        for crd in ["clusterpolicies.kyverno.io", "policies.kyverno.io"] {
            assert!(install.contains(&format!("\n  name: {crd}\n")), "{version} has no {crd}");
        }
        assert_eq!(steps(&root), "apply manifests kyverno\nwait kyverno\n");
        // Without one of its images, there is no compile.
        fs::write(case.path("case/cluster.kdl"), spec(&images[1..])).unwrap();
        let mut compile = kic(&case.path("case"), &case.path("store"));
        let output = compile.args(["compile", "--offline", "-o", "../less"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains(&format!("ghcr.io/kyverno/{}", images[0])),
            "{said}"
        );
    }
}

/// What the API server itself would say of every object of the cases: those that are applied, and those of dry runs.
/// Kyverno's are held against the definitions that its project published.
#[test]
fn objects_of_the_modules_pass_the_schemas_of_the_api() {
    let (Some(validate), Some(data)) = (peer("kubectl-validate"), shared_data()) else { return };
    // kubectl-validate does not know these APIs: `policy_schemas.rs` holds what these two emit against the APIs.
    let without_schema = ["redirect-admission-policy", "redirect-mutating-policy"];
    let mut count = 0;
    for case in cases().filter(|case| !without_schema.contains(&case.name.as_str())) {
        let root = case.unpacked();
        let (crds, objects) = (case.path("crds"), case.path("objects"));
        fs::create_dir(&crds).unwrap();
        fs::create_dir(&objects).unwrap();
        let mut documents = Vec::new();
        for folder in ["manifests", "policies"] {
            for file in files(&root.join(folder)) {
                let text = fs::read_to_string(file).unwrap();
                documents.extend(text.split("\n---\n").map(str::to_owned));
            }
        }
        for file in files(&root.join("readiness")) {
            let checks: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
            let tried = checks["checks"].as_array().unwrap().iter().map(|check| &check["object"]);
            documents.extend(tried.filter(|object| object.is_object()).map(Value::to_string));
        }
        let is_definition = |text: &str| text.contains("\nkind: CustomResourceDefinition\n");
        let (mut definitions, documents): (Vec<String>, Vec<String>) =
            documents.into_iter().partition(|text| is_definition(text));
        if case.name.starts_with("kyverno") || case.name.starts_with("redirect") {
            let version = if case.name.contains("1.5") || case.name == "kyverno-redirect" {
                "v1.5.8"
            } else {
                "v1.13.0"
            };
            let published = fs::read_to_string(data.join(format!("kyverno/install-{version}.yaml"))).unwrap();
            let all = published.split("\n---\n").map(|text| format!("\n{text}"));
            definitions = all.filter(|text| is_definition(text)).collect();
        }
        fs::write(crds.join("definitions.yaml"), definitions.join("\n---\n")).unwrap();
        if documents.is_empty() {
            continue;
        }
        for (index, text) in documents.iter().enumerate() {
            count += 1;
            fs::write(objects.join(format!("{index}.yaml")), text).unwrap();
        }
        let mut command = Command::new(&validate);
        let output = command.arg("--local-crds").arg(&crds).arg(&objects).output().unwrap();
        assert!(output.status.success(), "{}: {}", case.name, shown(&output));
    }
    assert!(count > 30, "{count}");
    // It is no test that cannot fail.
    let scratch = tempfile::tempdir().unwrap();
    let wrong = scratch.path().join("wrong.yaml");
    fs::write(&wrong, "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: 7\n").unwrap();
    assert!(!Command::new(&validate).arg(&wrong).output().unwrap().status.success());
}

/// The files of a folder, and of those in it; none where there is none.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files
}
