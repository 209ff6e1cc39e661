//! Which failures pass, and how long to wait for that.

use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use reqwest::header::{self, HeaderMap};

use crate::error::{RegistryError, Waiting};
use crate::registries::Source;
use crate::settings::{Backoff, Settings};
use crate::tell::Tell;

/// How often it is worth to try again after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// As often as the settings allow.
    Often,
    /// Twice at most: likely to stay as it is, or found out only after a long wait.
    Seldom,
    /// The answer will not change.
    Never,
}

impl RegistryError {
    pub(crate) fn again(&self, backoff: &Backoff) -> Again {
        if self.retry_after().is_some_and(|wait| wait > backoff.longest_retry_after) {
            return Again::Never;
        }
        match self {
            Self::RateLimited { .. }
            | Self::Unavailable { .. }
            | Self::Broken { .. }
            | Self::Timeout { waiting: Waiting::Body, .. }
            | Self::Truncated { declared: false, .. } => Again::Often,
            Self::Unreachable { .. }
            | Self::Proxy { .. }
            | Self::TooSlow { .. }
            | Self::Timeout { .. }
            | Self::DigestMismatch { .. } => Again::Seldom,
            _ => Again::Never,
        }
    }
}

/// The order in which sources are tried, and how often: all that are still worth it in turn, then a pause, and again.
#[derive(Debug, Clone)]
pub(crate) struct Rounds {
    sources: Vec<Tried>,
    at: usize,
    round: u32,
    attempts: u32,
    retries: u32,
    backoff: Backoff,
    tell: Option<Tell>,
    silence: Duration,
}

#[derive(Debug, Clone)]
struct Tried {
    source: Source,
    seldom: u32,
    given_up: bool,
    wait: Duration,
    error: Option<RegistryError>,
}

impl Rounds {
    /// `sources` must not be empty; the search begins with number `skip`, counted round and round.
    pub(crate) fn new(settings: &Settings, sources: Vec<Source>, skip: u32) -> Self {
        let mut sources: Vec<Tried> = sources
            .into_iter()
            .map(|source| Tried { source, seldom: 0, given_up: false, wait: Duration::ZERO, error: None })
            .collect();
        if !sources.is_empty() {
            let by = skip as usize % sources.len();
            sources.rotate_left(by);
        }
        Self {
            sources,
            at: 0,
            round: 0,
            attempts: 0,
            retries: settings.retries,
            backoff: settings.backoff.clone(),
            tell: settings.tell.clone(),
            silence: settings.timeouts.silence,
        }
    }

    pub(crate) fn source(&self) -> &Source {
        &self.sources[self.at].source
    }

    /// Something useful came: earlier failures do not count any more.
    pub(crate) fn progressed(&mut self) {
        self.round = 0;
        for tried in &mut self.sources {
            tried.seldom = 0;
        }
    }

    /// Takes note of a failure, waits if need be, and turns to the next source; or gives the final error back.
    pub(crate) async fn failed(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        self.attempts += 1;
        let tried = &mut self.sources[self.at];
        tried.wait = error.retry_after().unwrap_or_default();
        match error.again(&self.backoff) {
            Again::Often => {}
            Again::Seldom => {
                tried.seldom += 1;
                tried.given_up |= tried.seldom > 2;
            }
            Again::Never => tried.given_up = true,
        }
        tracing::debug!(source = %tried.source.registry, again = !tried.given_up, %error, "failed");
        tried.error = Some(error);
        let next = (self.at + 1..self.sources.len()).find(|at| !self.sources[*at].given_up);
        if let Some(next) = next {
            self.at = next;
            return Ok(());
        }
        let Some(first) = self.sources.iter().position(|tried| !tried.given_up) else {
            return Err(self.final_error());
        };
        self.round += 1;
        if self.round > self.retries {
            return Err(self.final_error());
        }
        let alive = self.sources.iter().filter(|tried| !tried.given_up);
        let asked = alive.map(|tried| tried.wait).min().unwrap_or_default();
        let pause = asked.max(pause(&self.backoff, self.round));
        tracing::debug!(?pause, round = self.round, "waiting before the next try");
        if let (Some(tell), Some(error)) = (&self.tell, &self.sources[self.at].error)
            && pause > self.silence
        {
            tell.tell(&format!("waiting {} s before the next try: {error}", pause.as_secs()));
        }
        tokio::time::sleep(pause).await;
        self.at = first;
        Ok(())
    }

    /// The registry's own answer says more than that of its mirrors, which it takes along.
    fn final_error(&mut self) -> RegistryError {
        let attempts = self.attempts;
        let own = self.sources.iter().position(|tried| !tried.source.mirror).unwrap_or(self.at);
        let at = if self.sources[own].error.is_some() { own } else { self.at };
        match self.sources[at].error.take() {
            Some(error) => {
                let mirrors = self.sources.iter().filter(|tried| tried.source.mirror);
                let said = mirrors.filter_map(|tried| Some(tried.error.as_ref()?.to_string())).collect();
                error.after(attempts, said)
            }
            None => RegistryError::Setup { reason: "no source was tried".into() },
        }
    }
}

fn pause(backoff: &Backoff, round: u32) -> Duration {
    let doubled = backoff.first.saturating_mul(1 << round.saturating_sub(1).min(20)).min(backoff.most);
    // A new `RandomState` has random keys: enough to keep many machines from coming back in step.
    let random = std::hash::RandomState::new().build_hasher().finish();
    doubled / 2 + (doubled / 2).mul_f64((random % 1024) as f64 / 1024.0)
}

/// `Retry-After`: seconds, or an HTTP date (RFC 9110, 10.2.3), measured from the answer's own `Date`, so that nobody's
/// clock matters. Without a `Date`, a date says nothing.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let until = http_date(text)?;
    let now = http_date(headers.get(header::DATE)?.to_str().ok()?)?;
    Some(Duration::from_secs(until.saturating_sub(now)))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` in seconds since 1970 (RFC 9110, 5.6.7, the one form that may be sent).
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.trim().split_once(", ")?;
    let mut words = rest.split(' ');
    let day: u64 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64 + 1;
    let year: u64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if !(1970..=9999).contains(&year) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days from 1 March of year 0, as years that begin in March have their leap day last.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    Some((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_are_seconds_since_1970() {
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http_date("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
        for nonsense in
            ["", "soon", "Sun, 06 Nov", "Sun, 99 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 0 0:0:0 GMT"]
        {
            assert_eq!(http_date(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn retry_after_takes_seconds_and_dates() {
        let headers = |pairs: &[(&'static str, &str)]| {
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
        };
        assert_eq!(retry_after(&headers(&[("retry-after", "7")])), Some(Duration::from_secs(7)));
        let date = ("retry-after", "Sun, 06 Nov 1994 08:50:00 GMT");
        assert_eq!(retry_after(&headers(&[date])), None);
        let now = ("date", "Sun, 06 Nov 1994 08:49:30 GMT");
        assert_eq!(retry_after(&headers(&[date, now])), Some(Duration::from_secs(30)));
        assert_eq!(retry_after(&headers(&[("retry-after", "soon")])), None);
        assert!(
            retry_after(&headers(&[("retry-after", "99999999999999999999999")])).unwrap().as_secs() > 1 << 31
        );
    }

    #[test]
    fn pauses_grow_and_stay_within_their_bounds() {
        let backoff =
            Backoff { first: Duration::from_millis(100), most: Duration::from_secs(1), ..Backoff::default() };
        for (round, whole) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (4_000_000, 1000)] {
            let pause = pause(&backoff, round).as_millis();
            assert!((whole / 2..=whole).contains(&pause), "{round}: {pause}");
        }
    }
}
