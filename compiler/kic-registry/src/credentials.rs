//! Credentials from files such as Docker's `config.json`, and from credential helpers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use docker_credential::DockerCredential;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Mutex, OnceCell};

use crate::error::{RegistryError, printable};
use crate::settings::Settings;
use crate::tell::Tell;

/// The key under which Docker keeps the credentials of Docker Hub.
const HUB: &str = "https://index.docker.io/v1/";
const LARGEST_CONFIG: u64 = 4 << 20;
const LARGEST_HELPER_ANSWER: u64 = 1 << 20;

/// A secret and where it came from. Not `Debug`, on purpose.
#[derive(Clone)]
pub(crate) struct Credential {
    pub(crate) secret: Secret,
    /// For people: a file and its key, or a helper.
    pub(crate) origin: String,
}

#[derive(Clone)]
pub(crate) enum Secret {
    Password {
        user: String,
        password: String,
    },
    /// An OAuth2 refresh token.
    Identity(String),
}

pub(crate) struct Credentials {
    files: Vec<File>,
    helpers: Option<PathBuf>,
    patience: Duration,
    silence: Duration,
    tell: Option<Tell>,
    /// What helpers said, by helper and server: each is asked once.
    asked: Mutex<BTreeMap<(String, String), Once>>,
}

type Once = Arc<OnceCell<Option<Secret>>>;

/// A file, read when it is first needed.
struct File {
    path: PathBuf,
    config: OnceCell<Config>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Config {
    auths: Option<BTreeMap<String, serde_json::Value>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

impl Credentials {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            files: settings
                .credential_files
                .iter()
                .map(|path| File { path: path.clone(), config: OnceCell::new() })
                .collect(),
            helpers: settings.credential_helpers.clone(),
            patience: settings.timeouts.credential_helper,
            silence: settings.timeouts.silence,
            tell: settings.tell.clone(),
            asked: Mutex::default(),
        }
    }

    /// The credentials for a repository, from the first file that has some.
    pub(crate) async fn of(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credential>, RegistryError> {
        for file in &self.files {
            let found = self.in_file(file, registry, repository).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Those of the longest key that covers the repository, then those of the whole registry, then what the common store has.
    async fn in_file(
        &self,
        file: &File,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credential>, RegistryError> {
        let File { path: file, config } = file;
        let config = config.get_or_try_init(|| read(file)).await?;
        let mut listed = false;
        for name in names(registry, repository) {
            for (key, helper) in config.cred_helpers.iter().flatten() {
                if normal(key) == name && !helper.is_empty() {
                    return self.helper_says(helper, key).await;
                }
            }
            for (key, entry) in config.auths.iter().flatten() {
                if normal(key) == name {
                    listed = true;
                    if let Some(secret) = decode(file, key, entry)? {
                        let origin = format!("`{key}` in `{}`", file.display());
                        return Ok(Some(Credential { secret, origin }));
                    }
                }
            }
        }
        let Some(store) = config.creds_store.as_deref().filter(|store| !store.is_empty()) else {
            return Ok(None);
        };
        let server = if registry == "docker.io" { HUB } else { registry };
        match self.helper_says(store, server).await {
            // Nobody said that this registry's credentials are in the store: a store that is out of order must not
            // keep public images away.
            Err(error) if !listed => {
                tracing::warn!(%error, "going on without credentials");
                Ok(None)
            }
            found => found,
        }
    }

    async fn helper_says(&self, helper: &str, server: &str) -> Result<Option<Credential>, RegistryError> {
        let cell = {
            let mut asked = self.asked.lock().await;
            Arc::clone(asked.entry((helper.to_owned(), server.to_owned())).or_default())
        };
        let secret = cell.get_or_try_init(|| self.ask(helper, server)).await?.clone();
        let origin = format!("`docker-credential-{helper}`");
        Ok(secret.map(|secret| Credential { secret, origin }))
    }

    /// Runs `docker-credential-NAME get`, as Docker does, but not for ever.
    async fn ask(&self, name: &str, server: &str) -> Result<Option<Secret>, RegistryError> {
        let helper = format!("docker-credential-{name}");
        let bad = |reason: String| RegistryError::CredentialHelper {
            helper: helper.clone(),
            registry: server.to_owned(),
            reason,
        };
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
            return Err(bad("its name has characters that no helper's name has".into()));
        }
        let program = self.helpers.as_ref().map_or_else(|| PathBuf::from(&helper), |path| path.join(&helper));
        let run = async {
            let mut child = tokio::process::Command::new(program)
                .arg("get")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()?;
            if let Some(mut input) = child.stdin.take() {
                // A helper that does not read fails in its own way.
                let _ = input.write_all(server.as_bytes()).await;
            }
            let mut output = Vec::new();
            if let Some(stdout) = child.stdout.take() {
                stdout.take(LARGEST_HELPER_ANSWER).read_to_end(&mut output).await?;
            }
            Ok::<_, std::io::Error>((child.wait().await?, output))
        };
        // It may ask its user for a password, or a keychain to be unlocked, in a window behind others.
        let telling = async {
            tokio::time::sleep(self.silence).await;
            if let Some(tell) = &self.tell {
                let after = self.silence.as_secs();
                tell.tell(&format!(
                    "no answer yet from `{helper}` after {after} s: the credentials for `{server}`"
                ));
            }
            std::future::pending().await
        };
        let answer = async {
            tokio::select! {
                answer = run => answer,
                never = telling => never,
            }
        };
        let (status, output) = tokio::time::timeout(self.patience, answer)
            .await
            .map_err(|_| bad(format!("no answer after {} s", self.patience.as_secs_f64())))?
            .map_err(|error| bad(error.to_string()))?;
        if !status.success() {
            let said = printable(&output, 80);
            if said.contains("credentials not found") {
                return Ok(None);
            }
            return Err(bad(if said.is_empty() { status.to_string() } else { said }));
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            username: String,
            secret: String,
        }
        // The output is a secret: what is wrong with it must not be shown.
        let Answer { username, secret } = serde_json::from_slice(&output)
            .map_err(|_| bad("its answer is not the JSON it should be".into()))?;
        Ok(match username.as_str() {
            "<token>" => Some(Secret::Identity(secret)),
            "" if secret.is_empty() => None,
            _ => Some(Secret::Password { user: username, password: secret }),
        })
    }
}

async fn read(file: &Path) -> Result<Config, RegistryError> {
    let bad = |reason: String| RegistryError::DockerConfig { path: file.to_owned(), reason };
    let opened = match tokio::fs::File::open(file).await {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Config::default()),
        Err(error) => return Err(bad(error.to_string())),
    };
    let mut bytes = Vec::new();
    let mut limited = opened.take(LARGEST_CONFIG + 1);
    limited.read_to_end(&mut bytes).await.map_err(|error| bad(error.to_string()))?;
    if bytes.len() as u64 > LARGEST_CONFIG {
        return Err(bad(format!("it has more than {LARGEST_CONFIG} bytes")));
    }
    // serde's own message may quote a value, which may be a secret.
    serde_json::from_slice(&bytes).map_err(|error| {
        bad(format!("not Docker's JSON at line {}, column {}", error.line(), error.column()))
    })
}

/// The names under which credentials for a repository may be kept, the most exact first.
fn names(registry: &str, repository: &str) -> Vec<String> {
    let mut name = format!("{registry}/{repository}");
    let mut names = Vec::new();
    while name.len() > registry.len() {
        names.push(name.clone());
        let Some(slash) = name.rfind('/') else { break };
        name.truncate(slash);
    }
    names.push(registry.to_owned());
    names
}

/// A key of `config.json` in the form `HOST[:PORT][/PATH]`. Docker takes the host alone from a key with a scheme.
fn normal(key: &str) -> String {
    let (bare, url) = match key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")) {
        Some(rest) => (rest, true),
        None => (key, false),
    };
    let bare = bare.trim_end_matches('/');
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    };
    if url || matches!(path, "" | "v1" | "v2") { host.to_owned() } else { format!("{host}/{path}") }
}

/// What an entry of `auths` says; `None` for an empty one, which Docker writes for what is in its store.
fn decode(file: &Path, key: &str, entry: &serde_json::Value) -> Result<Option<Secret>, RegistryError> {
    let bad = |reason: &dyn std::fmt::Display| RegistryError::DockerConfig {
        path: file.to_owned(),
        reason: format!("the entry `{key}`: {reason}"),
    };
    let mut entry = entry.clone();
    let Some(fields) = entry.as_object_mut() else { return Ok(None) };
    fields.retain(|name, value| {
        matches!(name.as_str(), "auth" | "username" | "password" | "identitytoken")
            && !value.is_null()
            && value.as_str() != Some("")
    });
    if fields.is_empty() {
        return Ok(None);
    }
    // Docker takes line ends in there, as `base64` makes them of a long token.
    if let Some(serde_json::Value::String(auth)) = fields.get_mut("auth") {
        auth.retain(|character| !matches!(character, '\r' | '\n'));
    }
    let alone = serde_json::json!({ "auths": { "this": entry } }).to_string();
    match docker_credential::get_credential_from_reader(alone.as_bytes(), "this") {
        Ok(DockerCredential::UsernamePassword(user, password)) => {
            // As Docker does: some that wrote such files filled them up.
            let password = password.trim_matches('\0').to_owned();
            Ok(Some(Secret::Password { user, password }))
        }
        Ok(DockerCredential::IdentityToken(token)) => Ok(Some(Secret::Identity(token))),
        Err(error) => Err(bad(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_exact_name_comes_first() {
        assert_eq!(names("ghcr.io", "a/b"), ["ghcr.io/a/b", "ghcr.io/a", "ghcr.io"]);
        assert_eq!(names("h:5000", "a"), ["h:5000/a", "h:5000"]);
    }

    #[test]
    fn keys_with_schemes_and_versions_name_their_host() {
        for (key, name) in [
            (HUB, "docker.io"),
            ("index.docker.io", "docker.io"),
            ("docker.io/team", "docker.io/team"),
            ("https://ghcr.io/v2/", "ghcr.io"),
            ("http://h:5000", "h:5000"),
            ("h:5000/v2/", "h:5000"),
            ("h/team/app", "h/team/app"),
            ("[::1]:5000", "[::1]:5000"),
        ] {
            assert_eq!(normal(key), name, "{key}");
        }
    }
}
