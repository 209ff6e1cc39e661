//! The programs that are measured, and how each is asked to fetch the images.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::corpus::CHANGED;

/// A program to measure.
#[derive(Debug, Clone)]
pub struct Program {
    /// As it stands in the tables.
    pub name: String,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub enum Kind {
    /// This program's own floor, with so many connections and parts of so many bytes.
    Floor {
        connections: usize,
        part: u64,
    },
    /// kic, with more arguments.
    Kic {
        path: PathBuf,
        arguments: Vec<String>,
    },
    Crane {
        path: PathBuf,
    },
    Skopeo {
        path: PathBuf,
    },
}

/// What is to be had, and where it goes.
pub struct Job<'a> {
    /// `127.0.0.1:PORT`
    pub host: &'a str,
    /// `REPOSITORY:TAG`
    pub images: &'a [String],
    /// The folder of this run alone.
    pub folder: &'a Path,
}

impl Program {
    pub fn is_kic(&self) -> bool {
        matches!(self.kind, Kind::Kic { .. })
    }

    /// Whether running it again over what it has makes sense.
    pub fn is_floor(&self) -> bool {
        matches!(self.kind, Kind::Floor { .. })
    }

    /// Makes what the program reads.
    pub fn prepare(&self, job: &Job) -> Result<()> {
        if self.is_kic() { write_spec(job) } else { Ok(fs::create_dir_all(job.folder)?) }
    }

    /// The command that fetches everything.
    pub fn command(&self, job: &Job) -> Result<Command> {
        let references = job.images.iter().map(|image| format!("{}/{image}", job.host));
        Ok(match &self.kind {
            Kind::Floor { connections, part } => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["floor", "--registry", job.host, "--connections", &connections.to_string()]);
                command.args(["--part", &part.to_string(), "--into"]).arg(job.folder.join("out"));
                command.args(job.images);
                command
            }
            Kind::Kic { path, arguments } => {
                let mut command = Command::new(path);
                command.current_dir(job.folder).args([
                    "compile",
                    "cluster.kdl",
                    "-o",
                    "out",
                    "--store",
                    "store",
                ]);
                command.args(arguments);
                command
            }
            Kind::Crane { path } => {
                let mut command = Command::new(path);
                command.args(["pull", "--insecure", "--format=oci", "--platform=linux/amd64"]);
                command.args(references).arg(job.folder.join("out"));
                command
            }
            Kind::Skopeo { path } => {
                // One image a command, as skopeo has it; blobs are shared, so that a base is fetched once.
                let mut script = "set -e\n".to_owned();
                for (reference, image) in references.zip(job.images) {
                    let name = image.replace(['/', ':'], "-");
                    script.push_str(&format!(
                        "\"$0\" copy -q --src-tls-verify=false --dest-shared-blob-dir \"$1/blobs\" \
                         docker://{reference} oci:\"$1\"/{name}:v1\n"
                    ));
                }
                let mut command = Command::new("sh");
                command.arg("-c").arg(script).arg(path).arg(job.folder);
                command
            }
        })
    }
}

/// The command that has kic verify what it compiled.
pub fn verify(program: &Program, job: &Job) -> Option<Command> {
    let Kind::Kic { path, .. } = &program.kind else { return None };
    let mut command = Command::new(path);
    command.current_dir(job.folder).args(["verify", "out", "--store", "store"]);
    Some(command)
}

/// The images with one of them in its second version.
pub fn with_one_changed(images: &[String]) -> Vec<String> {
    let from = format!("bench/{CHANGED}:v1");
    images
        .iter()
        .map(|image| if *image == from { image.replace(":v1", ":v2") } else { image.clone() })
        .collect()
}

/// Changes one manifest.
pub fn change_file(job: &Job, round: usize) -> Result<()> {
    Ok(fs::write(job.folder.join("manifests/web.yaml"), deployment("web", round + 1))?)
}

/// A spec with the images in its registry, a manifest for each, and some files.
fn write_spec(job: &Job) -> Result<()> {
    let mut spec = "cluster \"bench\" version=\"v1\" {\n    base scratch\n    files \"configuration\" {\n        \
         copy \"etc\" to=\"/etc\"\n    }\n    manifests \"applications\" {\n        file \"manifests\"\n    }\n    \
         registry \"sea.hub:5000\" {\n"
        .to_owned();
    fs::create_dir_all(job.folder.join("manifests"))?;
    fs::create_dir_all(job.folder.join("etc/bench"))?;
    for image in job.images {
        spec.push_str(&format!("        image \"{}/{image}\"\n", job.host));
        let name = image.trim_start_matches("bench/").split(':').next().unwrap_or_default();
        fs::write(job.folder.join(format!("manifests/{name}.yaml")), deployment(name, 1))?;
        fs::write(job.folder.join(format!("etc/bench/{name}.conf")), format!("name = {name}\n").repeat(100))?;
    }
    spec.push_str("    }\n}\n");
    Ok(fs::write(job.folder.join("cluster.kdl"), spec)?)
}

/// Points the spec to other images, and leaves everything else.
pub fn change_images(job: &Job) -> Result<()> {
    let path = job.folder.join("cluster.kdl");
    let mut spec = fs::read_to_string(&path)?;
    for image in job.images {
        let name = image.split(':').next().unwrap_or_default();
        spec = spec
            .lines()
            .map(|line| {
                let other = line.contains(&format!("/{name}:"));
                if other { format!("        image \"{}/{image}\"\n", job.host) } else { format!("{line}\n") }
            })
            .collect();
    }
    Ok(fs::write(path, spec)?)
}

/// What manifests ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// No image.
    Nothing,
    /// One of the images each; a policy sends their pulls to the registry.
    Redirected,
}

/// A spec with the images in its registry, and so many manifests.
pub fn write_manifests(job: &Job, count: usize, asking: Asking) -> Result<()> {
    let redirect = match asking {
        Asking::Nothing => "",
        Asking::Redirected => "    use \"std:redirect\" to=\"sea.hub:5000\" engine=\"kyverno\"\n",
    };
    let mut spec = format!(
        "cluster \"bench\" version=\"v1\" {{\n    base scratch\n{redirect}    manifests \"applications\" {{\n        \
         file \"manifests\"\n    }}\n    registry \"sea.hub:5000\" {{\n"
    );
    for image in job.images {
        spec.push_str(&format!("        image \"{}/{image}\"\n", job.host));
    }
    spec.push_str("    }\n}\n");
    fs::create_dir_all(job.folder.join("manifests"))?;
    for number in 0..count {
        write_manifest(job, number, 1, asking)?;
    }
    Ok(fs::write(job.folder.join("cluster.kdl"), spec)?)
}

/// Writes the manifest of that number.
pub fn write_manifest(job: &Job, number: usize, replicas: usize, asking: Asking) -> Result<()> {
    let name = format!("app-{number}");
    let text = match asking {
        Asking::Nothing => deployment(&name, replicas),
        Asking::Redirected => {
            let image = &job.images[number % job.images.len()];
            application(&name, replicas, &format!("{}/{image}", job.host))
        }
    };
    Ok(fs::write(job.folder.join(format!("manifests/app-{number:03}.yaml")), text)?)
}

/// A deployment as people have them, with an image, and its service.
fn application(name: &str, replicas: usize, image: &str) -> String {
    let settings: String = ["LOG_LEVEL", "DATABASE_URL", "CACHE_URL", "QUEUE_URL", "REGION", "TRACING"]
        .map(|variable| {
            let value = format!("{}-of-{name}", variable.to_lowercase());
            format!("            - name: {variable}\n              value: \"{value}\"\n")
        })
        .concat();
    let deployment = deployment(name, replicas).replace(
        "containers: []\n",
        &format!(
            "containers:\n        - name: main\n          image: {image}\n          ports:\n            - containerPort: 8080\n          \
             env:\n{settings}"
        ),
    );
    format!(
        "{deployment}---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: default\nspec:\n  selector:\n    \
         app: {name}\n  ports:\n    - port: 80\n      targetPort: 8080\n"
    )
}

/// A manifest that asks for no image.
pub fn deployment(name: &str, replicas: usize) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  namespace: default\nspec:\n  \
         replicas: {replicas}\n  selector:\n    matchLabels:\n      app: {name}\n  template:\n    metadata:\n      \
         labels:\n        app: {name}\n    spec:\n      containers: []\n"
    )
}
