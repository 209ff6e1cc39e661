//! From the text of a value to the value of its declared type.

use std::path::PathBuf;

use kic_base::{Digest, ImageReference, Platform, Span, WHERE_LOGINS_BELONG, closest, without_login};
use kic_diag::{Code, Diagnostic, declared as code};
use kic_syntax::Value;

use crate::image_source::ImageSource;
use crate::schema::Type;

/// A value that has been checked against its declared [`Type`].
#[derive(Debug, Clone, PartialEq)]
pub enum Typed {
    /// Of all the types that are texts of a certain form.
    Text(String),
    /// Of [`Type::Bool`].
    Bool(bool),
    /// Of [`Type::HttpStatus`] and [`Type::Count`].
    Number(u32),
    /// Of [`Type::Duration`], in whole seconds, rounded up.
    Seconds(u32),
    /// Of [`Type::Mode`].
    Mode(u32),
    /// Of [`Type::Path`], as written.
    Path(PathBuf),
    /// Of [`Type::ImagePath`]: parts joined by `/`, with a `/` at the end where a folder was meant.
    ImagePath(String),
    /// Of [`Type::Image`].
    Image(ImageSource),
    /// Of [`Type::Reference`].
    Reference(ImageReference),
    /// Of [`Type::Platform`].
    Platform(Platform),
    /// Of [`Type::Checksum`].
    Checksum(Digest),
    /// Of [`Type::Any`]: whoever asked reads the node itself.
    Any,
}

/// Reads `value`, written at `span`, as a `wanted`.
pub(crate) fn read(value: &Value, wanted: Type, span: &Span) -> Result<Typed, Diagnostic> {
    match (wanted, value) {
        (Type::Any, _) => return Ok(Typed::Any),
        (Type::Bool | Type::RegistryOrBool, Value::Bool(bool)) => return Ok(Typed::Bool(*bool)),
        (Type::HttpStatus, Value::Integer(number @ 100..=599))
        | (Type::Count, Value::Integer(number @ 1..=1_000_000)) => return Ok(Typed::Number(*number as u32)),
        (Type::Bool | Type::HttpStatus | Type::Count, _) => {}
        (_, Value::String(text)) => return read_text(text, wanted, span),
        _ => {}
    }
    let found = match value.type_name() {
        "integer" => "an integer".to_owned(),
        "null" => "`#null`".to_owned(),
        name => format!("a {name}"),
    };
    let help = match (wanted, value) {
        (Type::Bool, Value::String(text)) if text == "true" || text == "false" => {
            format!("write `#{text}`: KDL's keywords begin with `#`")
        }
        (Type::Bool, _) => "write `#true` or `#false`".to_owned(),
        (Type::HttpStatus | Type::Count, Value::String(text)) if text.parse::<u16>().is_ok() => {
            format!("write it without quotes: `{text}`")
        }
        (Type::Count, _) => "write a number such as `1`".to_owned(),
        (Type::HttpStatus, _) => "write a number such as `200`".to_owned(),
        (Type::Mode, Value::Integer(_)) => "a mode is octal: put it in quotes, such as `\"0644\"`".to_owned(),
        (_, Value::Null) => "give it a value, or leave it out".to_owned(),
        _ => format!("put it in quotes: `\"{}\"`", span.text().trim_start_matches('#')),
    };
    Err(Diagnostic::new(&code::WRONG_TYPE, format!("expected {}, found {found}", wanted.describe()))
        .at(span, format!("this is {found}"))
        .help(help))
}

fn read_text(text: &str, wanted: Type, span: &Span) -> Result<Typed, Diagnostic> {
    let wrong = |code: &'static Code, message: String, help: &str| {
        Diagnostic::new(code, message).at(span, "").help(help)
    };
    let plain = || Typed::Text(text.to_owned());
    match wanted {
        Type::Text => Ok(plain()),
        Type::Name => is_name(text).then(plain).ok_or_else(|| {
            let help = "a name has 1 to 63 of `a-z`, `0-9` and `-`, and begins and ends with a letter or digit";
            let suggested: String = text
                .to_lowercase()
                .chars()
                .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
                .collect();
            let suggested = suggested.trim_matches('-');
            let help = if is_name(suggested) { format!("{help}: try `{suggested}`") } else { help.to_owned() };
            wrong(&code::INVALID_NAME, format!("`{}` is no name", shown(text)), &help)
        }),
        Type::Version => is_version(text).then(plain).ok_or_else(|| {
            wrong(
                &code::INVALID_VERSION,
                format!("`{}` is no version", shown(text)),
                "a version has 1 to 128 letters, digits, `.`, `_`, `+` and `-`, and begins with a letter or digit",
            )
        }),
        Type::Path => {
            if text.is_empty() || text.contains('\0') {
                let message = if text.is_empty() { "the path is empty" } else { "a path has no NUL character" };
                return Err(wrong(&code::INVALID_PATH, message.to_owned(), "give the path of a file or folder"));
            }
            Ok(Typed::Path(PathBuf::from(text)))
        }
        Type::ImagePath => image_path(text)
            .map(Typed::ImagePath)
            .map_err(|reason| wrong(&code::INVALID_PATH, reason, "give a path such as `/etc/motd`, seen from the image's root")),
        Type::Duration => seconds(text).map(Typed::Seconds).ok_or_else(|| {
            wrong(
                &code::INVALID_DURATION,
                format!("`{}` is no duration", shown(text)),
                "write a number and `ms`, `s`, `m` or `h`, such as `90s`, `5m` or `1h30m`, at most 24 days",
            )
        }),
        Type::Mode => mode(text).map(Typed::Mode).ok_or_else(|| {
            wrong(
                &code::INVALID_MODE,
                format!("`{}` is no file mode", shown(text)),
                "write three or four octal digits, such as `0644` or `0755`",
            )
        }),
        Type::Registry | Type::RegistryOrBool => ImageReference::is_registry(text).then(plain).ok_or_else(|| {
            let text = &*without_login(text);
            let help = match text.split_once("://") {
                Some((_, rest)) => format!("leave the scheme out: `{}`", rest.trim_end_matches('/')),
                None => "write `HOST` or `HOST:PORT`, such as `sea.hub:5000`".to_owned(),
            };
            wrong(&code::INVALID_REGISTRY, format!("`{}` is no registry host", shown(text)), &help)
        }),
        Type::Image => ImageSource::parse(text).map(Typed::Image).map_err(|reason| invalid_image(text, &reason, span)),
        Type::Reference => text
            .parse::<ImageReference>()
            .map(Typed::Reference)
            .map_err(|reason| invalid_image(text, &reason.to_string(), span)),
        Type::Platform => platform(text).map(Typed::Platform).map_err(|reason| {
            wrong(&code::INVALID_PLATFORM, format!("`{}` is no platform", shown(text)), &reason)
        }),
        Type::Url => {
            let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
            let good = rest.is_some_and(|rest| {
                let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
                !host.is_empty() && !host.contains('@') && !text.chars().any(|c| c.is_whitespace() || c.is_control())
            });
            good.then(plain).ok_or_else(|| {
                let help = if rest.is_some_and(|rest| rest.contains('@')) {
                    "leave the user and password out: what stands in a spec is copied into the lock and the image"
                } else {
                    "write a whole URL, such as `https://example.com/install.yaml`"
                };
                wrong(&code::INVALID_URL, format!("`{}` is no URL that kic fetches", shown(&without_login(text))), help)
            })
        }
        Type::Checksum => {
            let hex = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
            Digest::from_hex(&hex).map(Typed::Checksum).map_err(|_| {
                wrong(
                    &code::INVALID_CHECKSUM,
                    format!("`{}` is no SHA-256 checksum", shown(text)),
                    "a checksum is 64 hexadecimal digits, as `sha256sum` prints it",
                )
            })
        }
        Type::Resource => is_resource(text).then(plain).ok_or_else(|| {
            wrong(
                &code::INVALID_RESOURCE,
                format!("`{}` names no resource", shown(text)),
                "write `KIND/NAME`, such as `deployment/shop`, or `KIND` for every object of the kind, such as `clusterpolicies`",
            )
        }),
        Type::Kind => {
            let parts: Vec<&str> = text.split('/').collect();
            let good = (2..=3).contains(&parts.len())
                && parts.iter().all(|part| {
                    !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
                });
            good.then(plain).ok_or_else(|| {
                wrong(
                    &code::INVALID_KIND,
                    format!("`{}` is no kind", shown(text)),
                    "write `VERSION/KIND` or `GROUP/VERSION/KIND`, such as `v1/ConfigMap` or `apps/v1/Deployment`",
                )
            })
        }
        Type::Choice(words) => words.contains(&text).then(plain).ok_or_else(|| {
            let help = match closest(text, words.iter().copied()) {
                Some(word) => format!("did you mean `{word}`?"),
                None => format!("write {}", wanted.describe()),
            };
            wrong(&code::UNKNOWN_CHOICE, format!("`{}` is not {}", shown(text), wanted.describe()), &help)
        }),
        Type::Any => Ok(Typed::Any),
        Type::Bool | Type::HttpStatus | Type::Count => Err(wrong(
            &code::WRONG_TYPE,
            format!("expected {}, found a text", wanted.describe()),
            "write it without quotes",
        )),
    }
}

/// The operating systems and processors that Go, and so the world of container images, has names for.
pub(crate) const SYSTEMS: [&str; 15] = [
    "linux",
    "windows",
    "darwin",
    "freebsd",
    "netbsd",
    "openbsd",
    "dragonfly",
    "solaris",
    "illumos",
    "aix",
    "android",
    "ios",
    "plan9",
    "js",
    "wasip1",
];
pub(crate) const PROCESSORS: [&str; 14] = [
    "amd64", "arm64", "arm", "386", "ppc64le", "ppc64", "s390x", "riscv64", "loong64", "mips64le", "mips64",
    "mipsle", "mips", "wasm",
];

/// A platform whose parts are known: a misspelt one would be built without complaint, and run nowhere.
fn platform(text: &str) -> Result<Platform, String> {
    let platform: Platform = text.parse().map_err(|error: kic_base::PlatformError| error.to_string())?;
    let parts = [
        ("operating system", platform.os.as_str(), &SYSTEMS[..]),
        ("processor", &platform.architecture, &PROCESSORS),
    ];
    for (what, part, known) in parts {
        if !known.contains(&part) {
            return Err(match closest(part, known.iter().copied()) {
                Some(close) => format!("there is no {what} `{part}`: did you mean `{close}`?"),
                None => format!("there is no {what} `{part}`: {error}", error = kic_base::PlatformError),
            });
        }
    }
    Ok(platform)
}

/// The diagnostic for a text that is no image.
pub(crate) fn invalid_image(text: &str, reason: &str, span: &Span) -> Diagnostic {
    let plain = without_login(text);
    let lower = text.to_lowercase();
    let help = if plain != text {
        WHERE_LOGINS_BELONG.to_owned()
    } else if let Some(rest) = text.split_once("://").map(|(_, rest)| rest) {
        format!("leave the scheme out: `{rest}`")
    } else if lower != text && lower.parse::<ImageReference>().is_ok() {
        format!("write it in lower case: `{lower}`")
    } else {
        "write `[HOST[:PORT]/]REPOSITORY[:TAG][@sha256:…]`, such as `docker.io/library/nginx:1.27`".to_owned()
    };
    Diagnostic::new(&code::INVALID_IMAGE, format!("`{}` is no image reference", shown(&plain)))
        .at(span, reason.to_owned())
        .help(help)
}

/// The beginning of a text, fit for one line of a message.
pub(crate) fn shown(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { '␣' } else { c }).take(80).collect();
    if line.len() < text.len() { format!("{line}…") } else { line }
}

/// Whether `text` is a label as RFC 1123 has it.
pub fn is_name(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| word(*byte) || *byte == b'-')
        && word(bytes[0])
        && word(bytes[bytes.len() - 1])
}

/// Whether `text` may serve as a version, and so as the tag of an image.
pub fn is_version(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=128).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(byte))
}

fn is_resource(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:".contains(&b))
    };
    let (kind, name) = text.split_once('/').map_or((text, None), |(kind, name)| (kind, Some(name)));
    part(kind) && name.is_none_or(part) && !kind.starts_with('-')
}

/// Three or four octal digits.
fn mode(text: &str) -> Option<u32> {
    let good = (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    good.then(|| u32::from_str_radix(text, 8).ok()).flatten()
}

/// The seconds of `1h30m`, `90s`, `1500ms`, rounded up.
fn seconds(text: &str) -> Option<u32> {
    let mut rest = text;
    let mut milliseconds: u64 = 0;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        if unit >= last_unit {
            return None;
        }
        last_unit = unit;
        rest = &rest[letters..];
        milliseconds = milliseconds.checked_add(number.checked_mul(unit)?)?;
    }
    let whole = u32::try_from(milliseconds.div_ceil(1_000)).ok()?;
    (!text.is_empty() && whole <= 24 * 86_400).then_some(whole)
}

/// A path in the image, without its leading `/`, with one at the end where the text ends so.
fn image_path(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("the path is empty".into());
    }
    if text.contains('\0') {
        return Err("a path has no NUL character".into());
    }
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(format!("`{}` leads out of the image", shown(text))),
            part => parts.push(part),
        }
    }
    let folder = text.ends_with('/') || text.ends_with("/.") || text == ".";
    let mut path = parts.join("/");
    if folder && !path.is_empty() {
        path.push('/');
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_seconds_rounded_up() {
        for (text, expected) in [
            ("90s", Some(90)),
            ("5m", Some(300)),
            ("1h30m", Some(5400)),
            ("1ms", Some(1)),
            ("1s1ms", Some(2)),
            ("", None),
            ("5", None),
            ("m", None),
            ("5m5m", None),
            ("1s1h", None),
            ("99999999999999999999s", None),
            ("577h", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn image_paths_are_normalised_and_never_lead_out() {
        assert_eq!(image_path("/etc//x/./y"), Ok("etc/x/y".into()));
        assert_eq!(image_path("/usr/bin/"), Ok("usr/bin/".into()));
        assert_eq!(image_path("/"), Ok(String::new()));
        assert!(image_path("../x").is_err());
        assert!(image_path("a/../../x").is_err());
        assert!(image_path("").is_err());
    }

    #[test]
    fn modes_are_octal_text() {
        assert_eq!(mode("0644"), Some(0o644));
        assert_eq!(mode("755"), Some(0o755));
        assert_eq!(mode("7777"), Some(0o7777));
        for text in ["", "64", "0888", "00644", "+644", "0x1f"] {
            assert_eq!(mode(text), None, "{text}");
        }
    }
}
