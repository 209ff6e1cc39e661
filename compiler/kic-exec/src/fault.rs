//! Typed errors of the layers below as diagnostics.

use std::io;

use kic_base::{ImageReference, Span};
use kic_diag::{Code, Diagnostic, declared as code};
use kic_registry::RegistryError;
use kic_store::StoreError;

fn at(diagnostic: Diagnostic, span: Option<&Span>) -> Diagnostic {
    match span {
        Some(span) => diagnostic.at(span, "needed here"),
        None => diagnostic,
    }
}

/// What a registry or server did, asked for what is named at `span`.
pub fn registry(error: &RegistryError, span: Option<&Span>) -> Diagnostic {
    use RegistryError as E;
    let wanted = error.place().map(|place| place.wanted.clone()).unwrap_or_default();
    let host = error.place().map(|place| place.host.clone()).unwrap_or_default();
    let is_url = wanted.contains("://");
    // Who is logged in to: not the token server, and not the storage that the registry sends its clients to.
    let registry = wanted.parse().map_or(host.clone(), |image: ImageReference| image.registry().to_owned());
    let (code, help): (&'static Code, String) = match error {
        E::Unreachable { .. } => (
            &code::REGISTRY_UNREACHABLE,
            "check the name and port, and the network; `--registry-mirror HOST=URL` asks another host first".into(),
        ),
        E::Tls { .. } => (
            &code::REGISTRY_TLS,
            format!("give its certificate authority with `--ca-file FILE`, or `--insecure-registry {host}` if it speaks plain http"),
        ),
        E::UnusableProxy { .. } | E::Proxy { .. } => (&code::REGISTRY_PROXY, "check `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`".into()),
        E::Broken { .. } => (&code::REGISTRY_BROKEN, "try again: what has arrived is not fetched again".into()),
        E::Timeout { .. } => (&code::REGISTRY_TIMEOUT, "try again later, or ask a mirror with `--registry-mirror HOST=URL`".into()),
        E::TooSlow { .. } => (&code::REGISTRY_TOO_SLOW, "try again later, or ask a mirror with `--registry-mirror HOST=URL`".into()),
        E::Unauthorized { .. } => (
            &code::REGISTRY_UNAUTHORIZED,
            format!("log in with `docker login {registry}` or `skopeo login {registry}`; Docker Hub answers so for images that do not exist, too"),
        ),
        E::Forbidden { .. } => (&code::REGISTRY_FORBIDDEN, "ask for the right to pull it, or log in as another user".into()),
        E::NotFound { .. } if is_url => (&code::DOWNLOAD_NOT_FOUND, "check the URL".into()),
        E::NotFound { .. } => (&code::IMAGE_NOT_FOUND, "check the name and the tag".into()),
        E::RateLimited { .. } => (
            &code::REGISTRY_RATE_LIMITED,
            format!("try again later, log in to {registry} for a higher limit, or ask a mirror with `--registry-mirror HOST=URL`"),
        ),
        E::Unavailable { place, .. } if place.proxy.is_some() => (
            &code::REGISTRY_UNAVAILABLE,
            "try again later, and check `HTTP_PROXY` and `NO_PROXY`: the proxy may be what cannot reach the registry".into(),
        ),
        E::Unavailable { .. } => (&code::REGISTRY_UNAVAILABLE, "try again later, or ask a mirror with `--registry-mirror HOST=URL`".into()),
        E::Refused { .. } => (&code::REGISTRY_REFUSED, "check that the address is that of a registry".into()),
        E::Garbage { content_type, .. } if content_type.starts_with("application/vnd.") => {
            (&code::REGISTRY_GARBAGE, "push the image again with a current tool, or ask a mirror: the registry's copy may be damaged".into())
        }
        E::Garbage { .. } => (
            &code::REGISTRY_GARBAGE,
            "check that the address is that of a registry, and that no login page of the network stands in the way".into(),
        ),
        E::Truncated { .. } => (&code::BODY_TRUNCATED, "try again, or ask a mirror: the registry's copy may be damaged".into()),
        E::TooLarge { .. } => (&code::BODY_TOO_LARGE, "the server sends more than it announced, or without an end: do not trust it".into()),
        E::DigestMismatch { .. } => (&code::DIGEST_MISMATCH, "the content was changed on its way, or the registry is damaged: do not trust it".into()),
        E::Schema1 { .. } => (&code::SCHEMA_1_MANIFEST, "push the image again with a current tool, such as `skopeo copy --format oci`".into()),
        E::TooManyRedirects { .. } => (&code::TOO_MANY_REDIRECTS, "check the address".into()),
        E::InsecureRedirect { to, .. } => (
            &code::INSECURE_REDIRECT,
            format!("`--insecure-registry {to}` allows it, if you trust the network in between"),
        ),
        E::BadRealm { .. } => (&code::BAD_AUTH_REALM, "check that the address is that of a registry".into()),
        E::Changed { .. } => (&code::CHANGED_WHILE_DOWNLOADING, "run again".into()),
        E::BadUrl { .. } => (&code::INVALID_URL, "write a whole URL, such as `https://mirror.example.com`".into()),
        E::BadCertificateFile { .. } => (&code::BAD_CERTIFICATE_FILE, "give a file with certificates in PEM".into()),
        E::DockerConfig { .. } => (&code::DOCKER_CONFIG, "mend the file, or log in again".into()),
        E::CredentialHelper { .. } => (&code::CREDENTIAL_HELPER, "check that it is installed and logged in, or take its entry out of Docker's config.json".into()),
        E::Body { .. } | E::Setup { .. } => (&code::INTERNAL, "please report this".into()),
    };
    let mirrors = error.place().map(|place| place.mirrors.as_slice()).unwrap_or_default();
    mirrors.iter().fold(at(Diagnostic::new(code, error.to_string()), span).help(help), |diagnostic, said| {
        diagnostic.note(format!("a mirror was asked before: {said}"))
    })
}

/// What a registry or server did, asked for bytes that a manifest of its own or a lock names.
pub(crate) fn blob(error: &RegistryError, span: Option<&Span>) -> Diagnostic {
    let diagnostic = registry(error, span);
    if diagnostic.code != &code::IMAGE_NOT_FOUND {
        return diagnostic;
    }
    diagnostic.help("the registry has the image, but not all of its parts: push it again, or ask a mirror with `--registry-mirror HOST=URL`")
}

/// What a registry did that something was pushed to. Mirrors are not for that.
pub fn push(error: &RegistryError) -> Diagnostic {
    use RegistryError as E;
    let help = match error {
        E::Unreachable { .. } => "check the name and port, and the network",
        E::Broken { .. } | E::Timeout { .. } | E::TooSlow { .. } | E::Unavailable { .. } => {
            "try again later: what has arrived is not sent again"
        }
        E::RateLimited { .. } => "try again later, or log in for a higher limit",
        _ => return registry(error, None),
    };
    registry(error, None).help(help)
}

/// What the store could not do.
pub fn store(error: &StoreError) -> Diagnostic {
    let (code, help): (&'static Code, &str) = match error {
        StoreError::StorageFull { .. } => {
            (&code::STORE_FULL, "make room, or put the store on another disk with `KIC_STORE`")
        }
        StoreError::Permission { .. } => {
            (&code::STORE_PERMISSION, "check who owns it, or choose another store with `KIC_STORE`")
        }
        StoreError::Foreign { .. } => {
            (&code::STORE_PERMISSION, "choose a store of your own with `KIC_STORE`")
        }
        StoreError::Writable { .. } => (
            &code::STORE_PERMISSION,
            "choose a folder inside of it with `KIC_STORE`, which kic makes for you alone, or take that right away: `chmod o-w`",
        ),
        StoreError::DamagedRoots { .. } => (
            &code::STORE_CORRUPT,
            "compile again what is to stay, which records it anew, and give up the rest with `kic store verify --repair`; until then `kic store gc` removes nothing",
        ),
        StoreError::Corrupt { .. } | StoreError::Missing { .. } => {
            (&code::STORE_CORRUPT, "run again: what is damaged was set aside, and is fetched or built anew")
        }
        _ => (&code::STORE_UNUSABLE, "choose another store with `KIC_STORE`"),
    };
    let mut message = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        message = format!("{message}: {source}");
    }
    Diagnostic::new(code, message).help(help)
}

/// An error of reading or writing, in which an error of the store may hide.
pub fn input_output(error: io::Error, doing: &str) -> Diagnostic {
    match error.downcast::<StoreError>() {
        Ok(error) => store(&error),
        Err(error) if is_full(&error) => {
            Diagnostic::new(&code::STORE_FULL, format!("{doing}: {error}")).help("make room")
        }
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            Diagnostic::new(&code::STORE_PERMISSION, format!("{doing}: {error}")).help("check who owns it")
        }
        Err(error) => {
            Diagnostic::new(&code::STORE_UNUSABLE, format!("{doing}: {error}")).help("check the disk")
        }
    }
}

/// The same in a temporary folder, which lies where the environment says.
pub(crate) fn temporary_folder(error: io::Error, doing: &str) -> Diagnostic {
    input_output(error, doing).help("choose a folder with `TMPDIR` that you may write to, and that has room")
}

/// Something that cannot happen.
pub fn internal(message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(&code::INTERNAL, message).help("please report this: it is a bug in kic")
}

/// Whether `error` says that a disk is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
