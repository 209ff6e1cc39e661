use bytes::Bytes;
use futures::{Stream, stream};
use kic_base::without_secrets;
use reqwest::Url;

use crate::error::RegistryError;
use crate::reading::Reading;
use crate::registries::Registries;
use crate::transport::shown;

impl Registries {
    /// The file at an `http://` or `https://` address, with at most `limit` bytes, under the rules that registries are
    /// under. Without a limit, what the server announces is the limit, else [`Settings::unannounced`](crate::Settings). A broken connection goes on where it was, if the file is still the same.
    pub fn fetch(
        &self,
        url: &str,
        limit: Option<u64>,
    ) -> impl Stream<Item = Result<Bytes, RegistryError>> + Send + Unpin + use<> {
        let reading =
            address(url).map(|address| Reading::file(self.clone(), address.clone(), &shown(&address), limit));
        Box::pin(stream::try_unfold(Some(reading), |reading| async move {
            let Some(reading) = reading else { return Ok(None) };
            let mut reading = reading?;
            let bytes = reading.next().await?;
            Ok(bytes.map(|bytes| (bytes, Some(Ok(reading)))))
        }))
    }
}

fn address(text: &str) -> Result<Url, RegistryError> {
    let bad = |reason: &str| RegistryError::BadUrl { url: without_secrets(text), reason: reason.into() };
    let url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(bad("only http and https are fetched"));
    }
    Ok(url)
}
