//! Sizes and times as the command line takes them.

use std::str::FromStr;
use std::time::Duration;

/// A number of bytes: `512`, `20GB`, `1.5GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

/// How long ago: `90s`, `30m`, `12h`, `30d`, `4w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age(pub Duration);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "write a number of bytes, such as 20GB, 1.5GiB or 500000; the units are B, kB, MB, GB, TB, KiB, MiB, GiB and TiB".to_owned()
        };
        let (number, unit) = split(text);
        let factor: u64 = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" => 1000,
            "m" | "mb" => 1000_u64.pow(2),
            "g" | "gb" => 1000_u64.pow(3),
            "t" | "tb" => 1000_u64.pow(4),
            "kib" => 1024,
            "mib" => 1024_u64.pow(2),
            "gib" => 1024_u64.pow(3),
            "tib" => 1024_u64.pow(4),
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let bytes = number * factor as f64;
        if bytes.is_finite() && (0.0..1e19).contains(&bytes) { Ok(Self(bytes as u64)) } else { Err(wrong()) }
    }
}

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "write a whole number with a unit, such as 12h, 30d or 4w; the units are s, m, h, d and w"
                .to_owned()
        };
        let (number, unit) = split(text);
        let seconds: u64 = match unit {
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3600,
            "d" => 24 * 3600,
            "w" => 7 * 24 * 3600,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(seconds).map(|seconds| Self(Duration::from_secs(seconds))).ok_or_else(wrong)
    }
}

/// A number and what follows it.
fn split(text: &str) -> (&str, &str) {
    let end =
        text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read_with_their_units() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("20GB", 20_000_000_000),
            ("20 gb", 20_000_000_000),
            ("1.5KiB", 1536),
            ("3k", 3000),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "GB", "-1", "1e9", "1XB", "1..2MB", "99999999999TB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        for (text, seconds) in [("90s", 90), ("2m", 120), ("1h", 3600), ("30d", 2_592_000), ("1w", 604_800)] {
            assert_eq!(text.parse(), Ok(Age(Duration::from_secs(seconds))), "{text}");
        }
        for text in ["", "30", "d", "1.5d", "1y", "99999999999999999999w", "99999999999999999w"] {
            assert!(text.parse::<Age>().is_err(), "{text}");
        }
    }
}
