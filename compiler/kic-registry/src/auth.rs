//! Who we are to a registry: basic auth, or bearer tokens from the server that the registry names
//! (distribution specification, "Token authentication" and "OAuth2").

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_auth::parser::ChallengeParser;
use kic_base::without_secrets;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use tokio::time::Instant;

use crate::credentials::{Credential, Credentials, Secret};
use crate::error::{CredentialsUsed, RegistryError};
use crate::settings::Settings;
use crate::source::Source;
use crate::transport::{Ask, Content, Transport, place, shown};

/// Tokens are long, but not that long.
const LARGEST_TOKEN_ANSWER: u64 = 1 << 20;
/// How long a token is good for when its server does not say (the specification's default).
const USUAL_LIFE: u64 = 60;

/// What is asked of a repository: the scopes of its token, such as `repository:library/nginx:pull`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Access(Vec<String>);

impl Access {
    pub(crate) fn pull(repository: &str) -> Self {
        Self(vec![format!("repository:{repository}:pull")])
    }

    pub(crate) fn push(repository: &str, mount_from: Option<&str>) -> Self {
        let mut scopes = vec![format!("repository:{repository}:pull,push")];
        scopes.extend(mount_from.map(|from| format!("repository:{from}:pull")));
        Self(scopes)
    }
}

/// What a registry asks for in `WWW-Authenticate`.
#[derive(Debug, Clone)]
pub(crate) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scopes: Vec<String> },
}

/// What goes into the `Authorization` header, and until when.
#[derive(Clone)]
pub(crate) struct Pass {
    pub(crate) header: HeaderValue,
    pub(crate) credentials: CredentialsUsed,
    until: Option<Instant>,
}

type Slot = Arc<tokio::sync::Mutex<Option<Pass>>>;

pub(crate) struct Auth {
    settings: Arc<Settings>,
    credentials: Credentials,
    /// By origin: what the registry asked for the last time, so that the next repository needs no refusal first.
    challenges: Mutex<BTreeMap<String, Challenge>>,
    passes: Mutex<BTreeMap<(String, Access), Slot>>,
}

impl Auth {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        let credentials = Credentials::new(&settings);
        Self { settings, credentials, challenges: Mutex::default(), passes: Mutex::default() }
    }

    /// A pass for a registry that is known to want one.
    pub(crate) async fn known(
        &self,
        transport: &Transport,
        source: &Source,
        access: &Access,
        wanted: &str,
    ) -> Result<Option<Pass>, RegistryError> {
        let challenge = {
            let challenges = self.challenges.lock().unwrap_or_else(PoisonError::into_inner);
            challenges.get(&source.origin()).cloned()
        };
        match challenge {
            Some(challenge) => self.pass(transport, source, access, &challenge, None, wanted).await,
            None => Ok(None),
        }
    }

    /// A pass other than the `refused` one, after a registry answered 401 with these headers; `None` if there is none.
    pub(crate) async fn other(
        &self,
        transport: &Transport,
        source: &Source,
        access: &Access,
        headers: &HeaderMap,
        refused: Option<&HeaderValue>,
        wanted: &str,
    ) -> Result<Option<Pass>, RegistryError> {
        let Some(challenge) = challenge(headers) else { return Ok(None) };
        {
            let mut known = challenge.clone();
            if let Challenge::Bearer { scopes, .. } = &mut known {
                scopes.clear();
            }
            let mut challenges = self.challenges.lock().unwrap_or_else(PoisonError::into_inner);
            challenges.insert(source.origin(), known);
        }
        self.pass(transport, source, access, &challenge, refused, wanted).await
    }

    async fn pass(
        &self,
        transport: &Transport,
        source: &Source,
        access: &Access,
        challenge: &Challenge,
        refused: Option<&HeaderValue>,
        wanted: &str,
    ) -> Result<Option<Pass>, RegistryError> {
        let slot = {
            let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
            let key = (format!("{} {}", source.origin(), source.repository), access.clone());
            Arc::clone(passes.entry(key).or_default())
        };
        // Held while a token is fetched, so that many requests at once fetch one.
        let mut slot = slot.lock().await;
        if let Some(pass) = slot.as_ref()
            && pass.until.is_none_or(|until| until > Instant::now())
            && refused != Some(&pass.header)
        {
            return Ok(Some(pass.clone()));
        }
        *slot = None;
        let credential = self.credentials.of(&source.registry, &source.repository).await?;
        let pass = match (challenge, credential) {
            (Challenge::Basic, Some(Credential { secret: Secret::Password { user, password }, origin })) => {
                let credentials = CredentialsUsed::From(origin);
                transport
                    .basic(&user, &password)
                    .filter(|header| refused != Some(header))
                    .map(|header| Pass { header, credentials, until: None })
            }
            (Challenge::Basic, _) => None,
            (Challenge::Bearer { realm, service, scopes }, credential) => {
                let mut all = access.0.clone();
                all.extend(scopes.iter().filter(|scope| !covered(&access.0, scope)).cloned());
                let realm = self.realm(source, realm, wanted)?;
                let token = Token { realm, service: service.as_deref(), scopes: all, credential, wanted };
                Some(token.fetch(transport).await?)
            }
        };
        slot.clone_from(&pass);
        Ok(pass)
    }

    /// The address of the token server, which gets the credentials: never by plain http when the registry has https.
    fn realm(&self, source: &Source, text: &str, wanted: &str) -> Result<Url, RegistryError> {
        let bad = |reason: &str| RegistryError::BadRealm {
            place: place(&source.base, wanted),
            realm: without_secrets(text),
            reason: reason.to_owned(),
        };
        let realm = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
        match (source.base.scheme(), realm.scheme()) {
            (_, "https") | ("http", "http") => Ok(realm),
            (_, "http") if crate::client::is_plain_http_allowed(&self.settings.insecure, &realm) => Ok(realm),
            (_, "http") => Err(bad("plain http would show the credentials to everybody")),
            _ => Err(bad("not http or https")),
        }
    }
}

/// Whether one of our scopes is for the resource of `scope`.
fn covered(ours: &[String], scope: &str) -> bool {
    let resource = |scope: &str| scope.rsplit_once(':').map(|(resource, _)| resource.to_owned());
    ours.iter().any(|our| our == scope || resource(our) == resource(scope))
}

/// What the headers ask for: bearer tokens, where they are one way among others.
pub(crate) fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let mut found = None;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(text) = value.to_str() else { continue };
        // A challenge that cannot be read ends the header; those before it count.
        for challenge in ChallengeParser::new(text).map_while(Result::ok) {
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                let param = |wanted: &str| {
                    let mut params = challenge.params.iter();
                    params
                        .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                        .map(|(_, value)| value.to_unescaped())
                };
                if let Some(realm) = param("realm") {
                    let scopes = param("scope").unwrap_or_default();
                    let scopes = scopes.split_whitespace().map(str::to_owned).collect();
                    return Some(Challenge::Bearer { realm, service: param("service"), scopes });
                }
            } else if challenge.scheme.eq_ignore_ascii_case("basic") {
                found = Some(Challenge::Basic);
            }
        }
    }
    found
}

/// A token to be fetched.
struct Token<'a> {
    realm: Url,
    service: Option<&'a str>,
    scopes: Vec<String>,
    credential: Option<Credential>,
    wanted: &'a str,
}

/// What a token server answers, under one of two names. Some servers write both, one of them empty, and some write the time as
/// a text or a fraction.
#[derive(Deserialize)]
struct Granted {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<serde_json::Value>,
}

impl Granted {
    fn token(&self) -> Option<&str> {
        let both = [&self.token, &self.access_token];
        both.into_iter().flatten().map(String::as_str).find(|token| !token.is_empty())
    }

    /// How long it is good for; `None` where that is not said, or makes no sense.
    fn seconds(&self) -> Option<u64> {
        let said = self.expires_in.as_ref()?;
        let seconds = said.as_f64().or_else(|| said.as_str()?.trim().parse().ok())?;
        // A number this large is cut off, and one below zero is past its time.
        seconds.is_finite().then_some(seconds.max(0.0) as u64)
    }
}

impl Token<'_> {
    async fn fetch(self, transport: &Transport) -> Result<Pass, RegistryError> {
        let credentials = match &self.credential {
            Some(credential) => CredentialsUsed::From(credential.origin.clone()),
            None => CredentialsUsed::None,
        };
        let wanted = self.wanted;
        let mut answer = transport.send(self.ask(transport), wanted).await?;
        answer.credentials = credentials.clone();
        if answer.status() == StatusCode::NOT_FOUND {
            // It is the server that is not there, and says nothing of the image.
            let (realm, reason) = (shown(answer.url()), "not found (404)".to_owned());
            return Err(RegistryError::BadRealm { place: answer.place(), realm, reason });
        }
        if answer.status() != StatusCode::OK {
            return Err(answer.refusal().await);
        }
        let body = answer.read(LARGEST_TOKEN_ANSWER).await?;
        let granted: Option<Granted> = serde_json::from_slice(&body).ok();
        let header = granted.as_ref().and_then(|granted| {
            let mut header = HeaderValue::from_str(&format!("Bearer {}", granted.token()?)).ok()?;
            header.set_sensitive(true);
            Some(header)
        });
        let (Some(granted), Some(header)) = (granted, header) else {
            // JSON from a token server may hold a token after all, in some other form.
            let start = if body.first() == Some(&b'{') { &b""[..] } else { &body };
            return Err(answer.garbage("the token server sent no token", start));
        };
        // A little less than its life, so that it does not die on the way.
        let life = granted.seconds().unwrap_or(USUAL_LIFE).min(24 * 3600);
        let until = Instant::now() + Duration::from_secs(life).mul_f64(0.9);
        tracing::debug!(server = %answer.place().host, scopes = ?self.scopes, seconds = life, "got a token");
        Ok(Pass { header, credentials, until: Some(until) })
    }

    fn ask(&self, transport: &Transport) -> Ask {
        let mut query = Vec::new();
        query.extend(self.service.map(|service| ("service", service)));
        match self.credential.as_ref().map(|credential| &credential.secret) {
            Some(Secret::Identity(token)) => {
                let scope = self.scopes.join(" ");
                query.extend([
                    ("grant_type", "refresh_token"),
                    ("refresh_token", token),
                    ("scope", &scope),
                    ("client_id", "kic"),
                ]);
                // The form's encoding is that of a query.
                let mut form = self.realm.clone();
                form.query_pairs_mut().clear().extend_pairs(query);
                let form = form.query().unwrap_or_default().to_owned();
                let mut ask = Ask::new(Method::POST, self.realm.clone())
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
                ask.content = Content::Bytes(Bytes::from(form));
                ask
            }
            other => {
                query.extend(self.scopes.iter().map(|scope| ("scope", scope.as_str())));
                let mut url = self.realm.clone();
                let mut authorization = None;
                if let Some(Secret::Password { user, password }) = other {
                    query.push(("account", user));
                    authorization = transport.basic(user, password);
                }
                url.query_pairs_mut().extend_pairs(query);
                Ask { authorization, ..Ask::get(url) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<Challenge> {
        let headers = values.iter().map(|value| (WWW_AUTHENTICATE, value.parse().unwrap()));
        challenge(&headers.collect())
    }

    #[test]
    fn bearer_is_taken_where_basic_is_offered_too() {
        for values in [
            &[
                r#"Basic realm="x""#,
                r#"Bearer realm="https://a/t",service="s",scope="repository:a:pull x:y:z""#,
            ][..],
            &[r#"Basic realm="x", bearer realm="https://a/t", service="s", scope="repository:a:pull x:y:z""#],
        ] {
            let Some(Challenge::Bearer { realm, service, scopes }) = read(values) else {
                panic!("{values:?}")
            };
            assert_eq!((realm.as_str(), service.as_deref()), ("https://a/t", Some("s")));
            assert_eq!(scopes, ["repository:a:pull", "x:y:z"]);
        }
        assert!(matches!(read(&["BASIC realm=x"]), Some(Challenge::Basic)));
    }

    #[test]
    fn nonsense_is_no_challenge() {
        for nonsense in
            ["", ",,,", "Bearer", "Bearer realm", "Bearer realm=\"", "Negotiate abc=", "Bearer service=x"]
        {
            assert!(read(&[nonsense]).is_none(), "{nonsense}");
        }
    }
}
