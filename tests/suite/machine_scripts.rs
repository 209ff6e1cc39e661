//! The scripts by which the modules of the standard library start machines, run in a root file system of their own
//! with stand-ins for what would change this machine, under every shell that is here.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::copy_tree;
use crate::support::kic::{kic, shown, stdout};
use crate::support::peers::peer;
use crate::support::root;
use crate::support::upstream::Upstream;

const KUBERNETES: &str =
    "use \"std:kubernetes\" version=\"v1.31.4\" registry=\"sea.hub:5000\" programs=\".\"";

/// The images of that control plane, which another one plays.
const CONTROL_PLANE: [(&str, &str); 7] = [
    ("kube-apiserver", "v1.31.4"),
    ("kube-controller-manager", "v1.31.4"),
    ("kube-scheduler", "v1.31.4"),
    ("kube-proxy", "v1.31.4"),
    ("etcd", "3.5.15-0"),
    ("coredns/coredns", "v1.11.3"),
    ("pause", "3.10"),
];

/// A machine: an unpacked image, and stand-ins that leave a line in `calls` each time that they run.
struct Machine {
    scratch: tempfile::TempDir,
    shell: Vec<PathBuf>,
}

/// Does `what` with a machine for each shell. `uses` are the nodes of a spec beside a cached image.
fn on_every_machine(uses: &str, what: impl Fn(&Machine)) {
    let mut shells = vec![vec![PathBuf::from("/bin/sh")]];
    shells.extend(peer("dash").map(|dash| vec![dash]));
    shells.extend(peer("busybox").map(|busybox| vec![busybox, "sh".into()]));
    for shell in shells {
        what(&Machine::new(uses, shell));
    }
}

impl Machine {
    fn new(uses: &str, shell: Vec<PathBuf>) -> Self {
        let machine = Self { scratch: tempfile::tempdir().unwrap(), shell };
        let case = machine.path("case");
        fs::create_dir_all(&case).unwrap();
        copy_tree(&root().join("examples/hello/greeter-image"), &case.join("greeter-image"), 0o644);
        for archive in ["containerd.tar.gz", "crictl.tar.gz", "cni-plugins.tgz"] {
            machine.archive(archive, &case.join(archive));
        }
        for program in ["kubeadm", "kubelet", "kubectl", "runc", "program"] {
            fs::write(case.join(program), "in the place of a program\n").unwrap();
        }
        fs::copy(root().join("tests/std/registry-static-pod/registry.tar"), case.join("registry.tar"))
            .unwrap();
        fs::write(case.join("cluster.kdl"), format!("cluster \"machine\" {{\nbase scratch\n{uses}\n}}\n"))
            .unwrap();
        let store = machine.path("store");
        let layout = case.join("greeter-image");
        let images = CONTROL_PLANE.map(|(repository, tag)| (repository, tag, layout.as_path()));
        let upstream = Upstream::serve(&images, |_, reply| reply);
        let mirror = format!("registry.k8s.io=http://{}", upstream.host());
        let mut compile = kic(&case, &store);
        stdout(compile.args(["compile", "--quiet", "--registry-mirror", &mirror, "-o", "../image"]));
        stdout(kic(&case, &store).args(["unpack", "--quiet", "../image", "../root"]));
        fs::create_dir(machine.path("bin")).unwrap();
        for program in ["systemctl", "ctr", "modprobe", "sysctl"] {
            machine.stand_in(program, "");
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// An archive with one program, which is named as the archive.
    fn archive(&self, name: &str, to: &Path) {
        let folder = self.path("archive");
        fs::create_dir_all(folder.join("bin")).unwrap();
        let inside =
            if name.starts_with("containerd") { "bin/containerd" } else { name.split('.').next().unwrap() };
        fs::write(folder.join(inside), name).unwrap();
        stdout(Command::new("tar").arg("-czf").arg(to).arg("-C").arg(&folder).arg(inside));
    }

    fn stand_in(&self, program: &str, body: &str) {
        let path = self.path("bin").join(program);
        let calls = self.path("calls");
        fs::write(&path, format!("#!/bin/sh\necho \"{program} $*\" >>'{}'\n{body}\n", calls.display()))
            .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.shell[0]);
        command.args(&self.shell[1..]).arg(self.path("root/usr/local/lib/kic").join(script)).args(arguments);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.path("bin").display()));
        command.env("KIC_ROOT", self.path("root")).env("HOME", "/home").stdin(Stdio::null());
        command.output().unwrap()
    }

    fn succeeds(&self, script: &str, arguments: &[&str]) {
        let output = self.run(script, arguments);
        assert!(output.status.success(), "{:?}: {}", self.shell, shown(&output));
    }

    fn fails(&self, script: &str, arguments: &[&str], said: &str) {
        let output = self.run(script, arguments);
        let found = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{:?}: {}", self.shell, shown(&output));
        assert!(found.contains(said) && found.lines().count() == 1, "{:?}: {found}", self.shell);
    }

    /// What the stand-ins were called with since the last time.
    fn calls(&self) -> String {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        let _ = fs::remove_file(self.path("calls"));
        calls.replace(self.path("root").to_str().unwrap(), "")
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path("root").join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Puts another setting in the place of one.
    fn set(&self, name: &str, value: &str) {
        let path = self.path("root/etc/kic/registry/settings");
        let settings = fs::read_to_string(&path).unwrap();
        let line = |line: &str| {
            let known = line.split('=').next() == Some(name);
            if known { format!("{name}={value}\n") } else { format!("{line}\n") }
        };
        fs::write(&path, settings.lines().map(line).collect::<String>()).unwrap();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn registry(host: &str, more: &str) -> String {
    format!(
        "use \"std:registry\" host=\"{host}\" program=\"program\" {more}\nregistry \"{host}\" {{\nimage \"oci:greeter-image\" as=\"docker.io/library/greeter:1.0\"\n}}"
    )
}

/// A process that ends with the value.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_registry_serves_the_cache_as_its_script_configures_it() {
    let (Some(program), Some(curl), Some(_)) = (peer("docker-registry"), peer("curl"), peer("openssl"))
    else {
        return;
    };
    for tls in ["generated", "none"] {
        let host = format!("sea.hub:{}", free_port());
        let machine = Machine::new(&registry(&host, &format!("tls=\"{tls}\"")), vec!["/bin/sh".into()]);
        machine.succeeds("registry.sh", &["start"]);
        let mut serve = Command::new(&program);
        serve.arg("serve").arg(machine.path("root/etc/kic/registry/config.yml"));
        serve.stdout(Stdio::null()).stderr(Stdio::null());
        let _serving = Serving(serve.spawn().unwrap());
        // As the container runtime does: by the name, and with the authority that was put beside it.
        let authority = machine.path("root/etc/containerd/certs.d").join(&host).join("ca.crt");
        let scheme = if tls == "none" { "http" } else { "https" };
        let port = host.rsplit(':').next().unwrap();
        let begin = Instant::now();
        loop {
            let mut ask = Command::new(&curl);
            ask.args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "10"]);
            ask.arg("--resolve").arg(format!("sea.hub:{port}:127.0.0.1"));
            if tls != "none" {
                ask.arg("--cacert").arg(&authority);
            }
            ask.args(["--header", "Accept: application/vnd.oci.image.manifest.v1+json"]);
            let output =
                ask.arg(format!("{scheme}://{host}/v2/library/greeter/manifests/1.0")).output().unwrap();
            if output.status.success() {
                assert!(
                    String::from_utf8_lossy(&output.stdout).contains("schemaVersion"),
                    "{}",
                    shown(&output)
                );
                break;
            }
            assert!(begin.elapsed() < Duration::from_secs(30), "{tls}: {}", shown(&output));
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn a_registry_started_twice_is_the_same_one() {
    if peer("openssl").is_none() {
        return;
    }
    on_every_machine(&registry("sea.hub:5000", ""), |machine| {
        fs::write(machine.path("root/etc/hosts"), "127.0.0.1 localhost\n10.0.0.9 sea.hub\n").unwrap();
        machine.succeeds("registry.sh", &["start"]);
        let started = "systemctl daemon-reload\nsystemctl enable kic-registry.service\nsystemctl restart kic-registry.service\n";
        assert_eq!(machine.calls(), started);
        let before = [
            "etc/kic/registry/registry.crt",
            "etc/kic/registry/registry.key",
            "etc/kic/registry/config.yml",
            "etc/hosts",
        ]
        .map(|path| machine.read(path));
        assert_eq!(before[3], "127.0.0.1 localhost\n127.0.0.1 sea.hub\n");
        let key = fs::metadata(machine.path("root/etc/kic/registry/registry.key")).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600, "nobody else reads the key");
        machine.succeeds("registry.sh", &["start"]);
        let after = [
            "etc/kic/registry/registry.crt",
            "etc/kic/registry/registry.key",
            "etc/kic/registry/config.yml",
            "etc/hosts",
        ]
        .map(|path| machine.read(path));
        assert_eq!(after, before);
        // Another machine: the certificate was copied there.
        machine.succeeds("registry.sh", &["trust", "10.0.0.7"]);
        assert_eq!(machine.read("etc/hosts"), "127.0.0.1 localhost\n10.0.0.7 sea.hub\n");
        for runtime in ["containerd", "docker"] {
            assert_eq!(machine.read(&format!("etc/{runtime}/certs.d/sea.hub:5000/ca.crt")), before[0]);
        }
        machine.calls();
        // A machine with a store of its own authorities.
        fs::create_dir_all(machine.path("root/usr/local/share/ca-certificates")).unwrap();
        machine.stand_in("update-ca-certificates", "");
        machine.succeeds("registry.sh", &["trust", "10.0.0.7"]);
        assert_eq!(machine.calls(), "update-ca-certificates \n");
        assert_eq!(machine.read("usr/local/share/ca-certificates/kic-registry.crt"), before[0]);
    });
}

#[test]
fn a_registry_of_an_address_needs_no_name() {
    let Some(openssl) = peer("openssl") else { return };
    on_every_machine(&registry("10.0.0.7:5000", ""), |machine| {
        machine.succeeds("registry.sh", &["start"]);
        let certificate = machine.path("root/etc/kic/registry/registry.crt");
        let text = stdout(Command::new(&openssl).args(["x509", "-noout", "-text", "-in"]).arg(certificate));
        assert!(text.contains("IP Address:10.0.0.7"), "{text}");
        assert!(!machine.path("root/etc/hosts").exists());
        assert!(machine.path("root/etc/containerd/certs.d/10.0.0.7:5000/ca.crt").exists());
    });
}

#[test]
fn a_registry_that_cannot_start_says_why() {
    on_every_machine(&registry("sea.hub:5000", "tls=\"given\""), |machine| {
        machine.fails("registry.sh", &[], "usage: ");
        machine.fails("registry.sh", &["stop"], "usage: ");
        machine.fails("registry.sh", &["trust", "sea.hub"], "\"sea.hub\" is no address");
        machine.fails("registry.sh", &["start"], "registry.crt is not there");
        fs::write(machine.path("root/etc/kic/registry/registry.crt"), "certificate").unwrap();
        machine.fails("registry.sh", &["start"], "registry.key is not there");
        fs::write(machine.path("root/etc/kic/registry/registry.key"), "key").unwrap();
        machine.set("data", "/nowhere");
        machine.fails("registry.sh", &["start"], "there is no cache in");
        machine.set("data", "/a \"b\"");
        machine.fails("registry.sh", &["start"], "a path in the settings has a character");
        machine.set("data", "/registry");
        machine.stand_in("systemctl", "exit 5");
        let output = machine.run("registry.sh", &["start"]);
        assert_eq!(output.status.code(), Some(5), "{}", shown(&output));
        fs::remove_file(machine.path("root/usr/local/lib/kic/registry")).unwrap();
        machine.fails("registry.sh", &["start"], "there is no program");
        fs::remove_file(machine.path("root/etc/kic/registry/settings")).unwrap();
        machine.fails("registry.sh", &["start"], "there is no ");
        assert!(!machine.path("root/etc/kubernetes").exists());
    });
}

#[test]
fn a_registry_in_a_pod_imports_its_images_first() {
    let uses = "use \"std:registry\" run-as=\"static-pod\" tls=\"none\" archive=\"registry.tar\" pause-archive=\"runc\"\nregistry \"sea.hub:5000\" {\nimage \"oci:greeter-image\" as=\"docker.io/library/greeter:1.0\"\n}";
    on_every_machine(uses, |machine| {
        machine.succeeds("registry.sh", &["start"]);
        assert_eq!(
            machine.calls(),
            "ctr --namespace=k8s.io images import /usr/local/lib/kic/registry-images/pause.tar\n\
             ctr --namespace=k8s.io images import /usr/local/lib/kic/registry-images/registry.tar\n"
        );
        let pod = machine.read("etc/kubernetes/manifests/kic-registry.yaml");
        for part in [
            "kind: Pod\n",
            "image: \"docker.io/library/registry:2.8.3\"",
            "imagePullPolicy: Never",
            "/registry\"\n",
        ] {
            assert!(pod.contains(part), "{pod}");
        }
        assert!(!pod.contains("certificate"), "{pod}");
        machine.set("tls", "given");
        for file in ["registry.crt", "registry.key"] {
            fs::write(machine.path("root/etc/kic/registry").join(file), file).unwrap();
        }
        machine.succeeds("registry.sh", &["start"]);
        let pod = machine.read("etc/kubernetes/manifests/kic-registry.yaml");
        assert_eq!(pod.matches("name: certificate\n").count(), 2, "{pod}");
        assert_eq!(pod.matches("name: key\n").count(), 2, "{pod}");
        if let Some(validate) = peer("kubectl-validate") {
            stdout(
                Command::new(validate).arg(machine.path("root/etc/kubernetes/manifests/kic-registry.yaml")),
            );
        }
        fs::remove_dir_all(machine.path("root/usr/local/lib/kic/registry-images")).unwrap();
        machine.fails("registry.sh", &["start"], "no image archive is there");
    });
}

#[test]
fn a_registry_of_the_cluster_runs_where_its_image_and_its_cache_are() {
    let Some(_) = peer("openssl") else { return };
    let uses = "use \"std:registry\" run-as=\"deployment\" archive=\"registry.tar\" node=\"first\"\nregistry \"sea.hub:5000\" {\nimage \"oci:greeter-image\" as=\"docker.io/library/greeter:1.0\"\n}";
    on_every_machine(uses, |machine| {
        let (certificate, key) = ("etc/kic/registry/registry.crt", "etc/kic/registry/registry.key");
        for secret in [certificate, key] {
            assert!(!machine.path("root").join(secret).exists(), "{secret} is in the image");
        }
        let manifest = machine.path("root/manifests/registry/deployment-kube-system-kic-registry.yaml");
        let deployment = fs::read_to_string(&manifest).unwrap();
        for part in [
            "imagePullPolicy: Never",
            "dev.kic/registry: \"true\"",
            "hostNetwork: true",
            "path: /registry\n",
            "path: /etc/kic/registry/registry.key\n",
        ] {
            assert!(deployment.contains(part), "{deployment}");
        }
        if let Some(validate) = peer("kubectl-validate") {
            stdout(Command::new(validate).arg(&manifest));
        }
        machine.stand_in("kubectl", "");
        machine.succeeds("registry.sh", &["start"]);
        assert_eq!(
            machine.calls(),
            "ctr --namespace=k8s.io images import /usr/local/lib/kic/registry-images/registry.tar\n\
             kubectl label --overwrite node first dev.kic/registry=true\n"
        );
        // What the pod mounts is there, for this machine alone, and the name is known.
        let key = fs::metadata(machine.path("root").join(key)).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600, "nobody else reads the key");
        assert!(machine.read("etc/kic/registry/config.yml").contains("/etc/kic/registry/registry.key"));
        assert_eq!(machine.read("etc/containerd/certs.d/sea.hub:5000/ca.crt"), machine.read(certificate));
        assert!(machine.read("etc/hosts").ends_with("127.0.0.1 sea.hub\n"));
        assert!(!machine.path("root/etc/kubernetes").exists());
        // Without a name, it is the machine's own.
        machine.set("node", "");
        machine.succeeds("registry.sh", &["start"]);
        let name = stdout(Command::new("uname").arg("-n")).trim().to_lowercase();
        assert!(machine.calls().contains(&format!("node {name} dev.kic/registry=true\n")));
        machine.stand_in("kubectl", "exit 1");
        machine.fails("registry.sh", &["start"], "say its name with `node`");
    });
}

#[test]
fn a_machine_of_kubernetes_is_made_once() {
    on_every_machine(KUBERNETES, |machine| {
        machine.stand_in(
            "kubeadm",
            "mkdir -p \"$KIC_ROOT/etc/kubernetes\"; echo secret >\"$KIC_ROOT/etc/kubernetes/admin.conf\"",
        );
        machine.succeeds("kubernetes.sh", &["start"]);
        let prepared = "modprobe overlay\nmodprobe br_netfilter\nsysctl --quiet --load=/etc/sysctl.d/99-kubernetes.conf\n\
             systemctl daemon-reload\nsystemctl enable containerd.service kubelet.service\nsystemctl restart containerd.service\n";
        assert_eq!(
            machine.calls(),
            format!("{prepared}kubeadm init --config=/etc/kubernetes/kubeadm.yaml --upload-certs\n")
        );
        assert_eq!(machine.read("usr/local/bin/containerd"), "containerd.tar.gz");
        assert_eq!(machine.read("usr/local/bin/crictl"), "crictl.tar.gz");
        assert_eq!(machine.read("opt/cni/bin/cni-plugins"), "cni-plugins.tgz");
        assert_eq!(machine.read("home/.kube/config"), "secret\n");
        // Nothing is made or unpacked again, but another archive is.
        fs::write(machine.path("root/usr/local/bin/crictl"), "kept").unwrap();
        machine.archive("other", &machine.path("root/usr/local/lib/kic/archives/cni-plugins.tgz"));
        machine.succeeds("kubernetes.sh", &["start"]);
        assert_eq!(machine.calls(), prepared);
        assert_eq!(machine.read("usr/local/bin/crictl"), "kept");
        assert_eq!(machine.read("opt/cni/bin/other"), "other");
        machine.fails("kubernetes.sh", &["stop"], "usage: ");
        machine.stand_in("modprobe", "exit 1");
        machine.fails("kubernetes.sh", &["prepare"], "the kernel has no module overlay");
        fs::write(machine.path("root/usr/local/lib/kic/archives/crictl.tar.gz"), "no archive").unwrap();
        let output = machine.run("kubernetes.sh", &["prepare"]);
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("crictl.tar.gz cannot be unpacked"),
            "{}",
            shown(&output)
        );
        fs::remove_file(machine.path("root/usr/local/lib/kic/archives/crictl.tar.gz")).unwrap();
        machine.fails("kubernetes.sh", &["prepare"], "there is no ");
    });
}

#[test]
fn a_control_plane_that_kubeadm_cannot_make_is_a_failure() {
    on_every_machine(KUBERNETES, |machine| {
        machine.stand_in("kubeadm", "echo 'preflight: no' >&2; exit 1");
        let output = machine.run("kubernetes.sh", &["start"]);
        assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(said, "preflight: no\nkubernetes: kubeadm could not make the control plane\n");
        assert!(!machine.path("root/home/.kube/config").exists());
    });
}
