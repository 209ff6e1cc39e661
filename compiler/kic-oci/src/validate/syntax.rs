//! The grammars of values in the OCI image specification.

/// `TYPE/SUBTYPE` (RFC 6838, section 4.2), parameters not allowed.
pub(super) fn is_media_type(text: &str) -> bool {
    let is_name = |name: &str| {
        name.len() <= 127
            && name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text.split_once('/').is_some_and(|(kind, subtype)| is_name(kind) && is_name(subtype))
}

/// A date and time with its offset from UTC (RFC 3339, section 5.6).
pub(super) fn is_time(text: &str) -> bool {
    fn number(text: Option<&str>, low: u32, high: u32) -> bool {
        text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .is_some_and(|number: u32| (low..=high).contains(&number))
    }
    let separators = [(4, b"-" as &[u8]), (7, b"-"), (10, b"Tt"), (13, b":"), (16, b":")];
    let bytes = text.as_bytes();
    if !separators.iter().all(|(at, allowed)| bytes.get(*at).is_some_and(|byte| allowed.contains(byte))) {
        return false;
    }
    let parts =
        [(0..4, 0, 9999), (5..7, 1, 12), (8..10, 1, 31), (11..13, 0, 23), (14..16, 0, 59), (17..19, 0, 60)];
    if !parts.into_iter().all(|(range, low, high)| number(text.get(range), low, high)) {
        return false;
    }
    let Some(mut rest) = text.get(19..) else { return false };
    if let Some(fraction) = rest.strip_prefix('.') {
        let end = fraction.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(fraction.len());
        if end == 0 {
            return false;
        }
        rest = &fraction[end..];
    }
    if matches!(rest, "Z" | "z") {
        return true;
    }
    rest.len() == 6
        && rest.starts_with(['+', '-'])
        && rest.as_bytes()[3] == b':'
        && number(rest.get(1..3), 0, 23)
        && number(rest.get(4..6), 0, 59)
}

/// A value of `org.opencontainers.image.ref.name` (OCI image specification, "Pre-Defined Annotation Keys").
pub(super) fn is_reference_name(text: &str) -> bool {
    let is_component = |component: &str| {
        let mut rest = component;
        loop {
            let end = rest.bytes().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len());
            if end == 0 {
                return false;
            }
            rest = &rest[end..];
            if rest.is_empty() {
                return true;
            }
            rest = match rest.strip_prefix("--") {
                Some(rest) => rest,
                None if rest.starts_with(['-', '.', '_', ':', '@', '+']) => &rest[1..],
                None => return false,
            };
        }
    };
    text.split('/').all(is_component)
}

/// The bytes of a text in base 64 (RFC 4648, section 4), padding required.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(4) {
        return None;
    }
    let padding = bytes.iter().rev().take_while(|byte| **byte == b'=').count();
    if padding > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(bytes.len() / 4 * 3);
    let (mut held, mut bits) = (0u32, 0);
    for byte in &bytes[..bytes.len() - padding] {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = (held << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from((held >> bits) & 0xff).ok()?);
            held &= (1 << bits) - 1;
        }
    }
    (held == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_told() {
        for good in ["a/b", "application/vnd.oci.image.layer.v1.tar+zstd", "text/plain"] {
            assert!(is_media_type(good), "{good}");
        }
        let long = format!("a/{}", "b".repeat(128));
        for bad in ["", "a", "a/", "/b", "a/b/c", "a/b; charset=utf-8", "a/ b", "a/é", ".a/b", &long] {
            assert!(!is_media_type(bad), "{bad}");
        }
    }

    #[test]
    fn times_are_told() {
        for good in [
            "1970-01-01T00:00:00Z",
            "2024-02-29t23:59:60.123456789z",
            "2020-01-01T00:00:00+05:30",
            "2020-01-01T00:00:00.5-08:00",
        ] {
            assert!(is_time(good), "{good}");
        }
        for bad in [
            "",
            "2020-01-01",
            "2020-01-01 00:00:00Z",
            "2020-01-01T00:00:00",
            "2020-13-01T00:00:00Z",
            "2020-01-01T24:00:00Z",
            "2020-01-01T00:00:00.Z",
            "2020-01-01T00:00:00+0530",
            "2020-01-01T00:00:00Zx",
            "+020-01-01T00:00:00Z",
            "２020-01-01T00:00:00Z",
        ] {
            assert!(!is_time(bad), "{bad}");
        }
    }

    #[test]
    fn reference_names_are_told() {
        for good in ["latest", "v1.0", "docker.io/library/nginx:latest", "a--b", "a@sha256:00"] {
            assert!(is_reference_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a//b", "a b", "a---b", "a/", "ä"] {
            assert!(!is_reference_name(bad), "{bad}");
        }
    }

    #[test]
    fn base_64_is_read() {
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob")]
        {
            assert_eq!(base64(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        assert_eq!(base64("/+8A"), Some(vec![0xff, 0xef, 0]));
        for bad in ["Z", "Zg", "Zg=", "Z===", "Zh==", "Zg==Zg==", "Zm9-"] {
            assert_eq!(base64(bad), None, "{bad}");
        }
    }
}
