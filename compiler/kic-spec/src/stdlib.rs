//! The standard library: modules written in the language, embedded in the program. They have no privilege: all that
//! one does, a user's module can do.

macro_rules! modules {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../../stdlib/", $name, ".kdl")))),*]
    };
}

/// Every module of `stdlib/`: its name and text, sorted by name. A test holds the list against the folder.
const MODULES: &[(&str, &str)] = modules! {
    "calico"
    "cert-manager"
    "helm-app"
    "ingress-nginx"
    "k3s"
    "kubernetes"
    "kyverno"
    "manifest"
    "metrics-server"
    "namespace"
    "readiness"
    "redirect"
    "registry"
};

/// The text of the module of that name.
pub fn find(name: &str) -> Option<&'static str> {
    MODULES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The names of all modules, sorted.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    MODULES.iter().map(|(name, _)| *name)
}
