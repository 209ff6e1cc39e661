use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use kic_base::ImageReference;
use reqwest::{Method, StatusCode};
use tokio::sync::Semaphore;

use crate::answer::Answer;
use crate::auth::{Access, Auth};
use crate::client::is_listed;
use crate::error::{CredentialsUsed, RegistryError, Waiting};
use crate::proxy_rules::is_loopback;
use crate::settings::Settings;
pub(crate) use crate::source::Source;
use crate::source::mirror_address;
use crate::transport::{Ask, Content, Transport};

/// A client of all registries: cheap to clone, and one for a whole run, so that connections, tokens and bounds are shared.
#[derive(Clone)]
pub struct Registries {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) settings: Arc<Settings>,
    pub(crate) transport: Transport,
    auth: Auth,
    /// Bytes that chunks of all uploads may hold, one permit a KiB.
    pub(crate) memory: Arc<Semaphore>,
    /// The schemes of loopback registries that had to be asked for theirs.
    schemes: Mutex<BTreeMap<String, &'static str>>,
}

impl Registries {
    /// Reads the certificate files and checks every address in the settings; asks nobody yet.
    pub fn new(settings: Settings) -> Result<Self, RegistryError> {
        for mirror in settings.mirrors.values().flatten() {
            mirror_address(mirror)?;
        }
        let settings = Arc::new(settings);
        let kibibytes = usize::try_from(settings.upload_memory / 1024).unwrap_or(usize::MAX);
        let inner = Inner {
            transport: Transport::new(Arc::clone(&settings))?,
            auth: Auth::new(Arc::clone(&settings)),
            memory: Arc::new(Semaphore::new(kibibytes.min(Semaphore::MAX_PERMITS))),
            schemes: Mutex::default(),
            settings,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The mirrors of an image, then its registry.
    pub(crate) async fn sources(&self, image: &ImageReference) -> Result<Vec<Source>, RegistryError> {
        let mirrors = self.inner.settings.mirrors.get(image.registry());
        let mut sources = mirrors
            .into_iter()
            .flatten()
            .map(|address| Source::mirror(image, address))
            .collect::<Result<Vec<_>, _>>()?;
        sources.push(self.own_source(image).await?);
        Ok(sources)
    }

    /// The registry of an image: https, but http for hosts that were listed, and for loopback hosts, unless there are
    /// certificate authorities to try https with and the host takes it.
    pub(crate) async fn own_source(&self, image: &ImageReference) -> Result<Source, RegistryError> {
        let https = Source::own(image, "https")?;
        let settings = &self.inner.settings;
        if settings.insecure.contains(image.registry()) || is_listed(&settings.insecure, &https.base) {
            return Source::own(image, "http");
        }
        if !https.base.host_str().is_some_and(is_loopback) {
            return Ok(https);
        }
        if settings.certificate_files.is_empty() {
            return Source::own(image, "http");
        }
        let known = {
            let schemes = self.inner.schemes.lock().unwrap_or_else(PoisonError::into_inner);
            schemes.get(image.registry()).copied()
        };
        if let Some(scheme) = known {
            return Source::own(image, scheme);
        }
        let mut url = https.base.clone();
        url.set_path("/v2/");
        let scheme = match self.inner.transport.send(Ask::new(Method::HEAD, url), image.registry()).await {
            Ok(_) => "https",
            // A server that speaks TLS, but is not trusted, is no plain http server; one that speaks none sends nonsense.
            Err(RegistryError::Tls { reason, .. }) if !reason.contains("corrupt message") => "https",
            Err(RegistryError::Timeout { waiting: Waiting::Answer, .. }) => "https",
            Err(_) => "http",
        };
        tracing::debug!(registry = image.registry(), scheme, "asked a loopback registry for its scheme");
        let mut schemes = self.inner.schemes.lock().unwrap_or_else(PoisonError::into_inner);
        schemes.insert(image.registry().to_owned(), scheme);
        Source::own(image, scheme)
    }

    /// Sends a request to a source, with the pass that it wants; a refused pass is renewed once. Any status but 401 is an
    /// answer.
    pub(crate) async fn call(
        &self,
        source: &Source,
        access: &Access,
        mut ask: Ask,
        wanted: &str,
    ) -> Result<Answer, RegistryError> {
        let Inner { transport, auth, .. } = &*self.inner;
        let ours = ask.url.origin() == source.base.origin();
        if !ours {
            // An address that the registry sent us to, such as for an upload, never sees its passes.
            return transport.send(ask, wanted).await;
        }
        let pass = auth.known(transport, source, access, wanted).await?;
        let mut credentials = CredentialsUsed::None;
        let again = ask.again();
        if let Some(pass) = &pass {
            ask.authorization = Some(pass.header.clone());
            credentials = pass.credentials.clone();
        }
        let mut answer = transport.send(ask, wanted).await?;
        // A redirect to another host took no credentials along.
        let elsewhere = answer.url().origin() != source.base.origin();
        if !elsewhere {
            answer.credentials = credentials;
        }
        if answer.status() != StatusCode::UNAUTHORIZED || elsewhere {
            return Ok(answer);
        }
        let headers = answer.headers().clone();
        // Read to its end and put away first: the token server may be the same host, and connections are counted.
        let refusal = answer.refusal().await;
        let Some(mut again) = again else { return Err(refusal) };
        let refused = pass.map(|pass| pass.header);
        let other = auth.other(transport, source, access, &headers, refused.as_ref(), wanted).await?;
        let Some(pass) = other else { return Err(refusal) };
        again.authorization = Some(pass.header);
        let mut answer = transport.send(again, wanted).await?;
        if answer.url().origin() == source.base.origin() {
            answer.credentials = pass.credentials;
        }
        Ok(answer)
    }
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registries").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}

impl Ask {
    /// The same request once more, unless its content can be sent only once.
    fn again(&self) -> Option<Self> {
        let content = match &self.content {
            Content::Empty => Content::Empty,
            Content::Bytes(bytes) => Content::Bytes(bytes.clone()),
            Content::Stream(_) => return None,
        };
        let (method, url, headers) = (self.method.clone(), self.url.clone(), self.headers.clone());
        Some(Self { method, url, headers, authorization: None, content })
    }
}
