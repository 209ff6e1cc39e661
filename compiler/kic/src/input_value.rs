//! What it is by which an input of a layer or an image is known.

use std::fmt;

use kic_base::Digest;
use kic_base::packed::{Reader, put_list, put_text};
use kic_graph::ContentFacts;

/// What an input of a layer or an image was, or is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputValue {
    /// A file.
    File {
        /// The digest of its content.
        digest: Digest,
        /// The bytes of its content.
        size: u64,
        /// Its permission bits.
        mode: u32,
    },
    /// Bytes.
    Content {
        /// Their digest.
        digest: Digest,
        /// Their number.
        size: u64,
    },
    /// A symbolic link to this text.
    Link(String),
    /// A folder with these permission bits.
    Folder(u32),
    /// A layer of the image.
    Layer {
        /// Its derivation.
        derivation: Digest,
        /// The digest of its bytes, where the store knows it.
        digest: Option<Digest>,
    },
    /// An image that is cached.
    Image {
        /// The digest of its index or manifest.
        digest: Digest,
        /// The platforms that are cached.
        platforms: Vec<String>,
        /// The names to which the registry cache answers.
        names: Vec<String>,
    },
    /// So many things, in an order.
    Several {
        /// How many.
        count: u64,
        /// The digest over them.
        digest: Digest,
    },
    /// Some words, in an order.
    List(Vec<String>),
    /// A word or number.
    Text(String),
}

impl InputValue {
    /// It in words, part by part: what is known apart stands apart.
    pub fn parts(&self) -> Vec<String> {
        match self {
            Self::File { digest, size, mode } => {
                vec![digest.to_string(), bytes(*size), format!("mode {mode:04o}")]
            }
            Self::Content { digest, size } => vec![digest.to_string(), bytes(*size)],
            Self::Link(target) => vec![format!("link to {target}")],
            Self::Folder(mode) => vec!["folder".to_owned(), format!("mode {mode:04o}")],
            Self::Layer { digest, .. } => digest.iter().map(Digest::to_string).collect(),
            Self::Image { digest, platforms, names } => vec![
                digest.to_string(),
                format!("for {}", platforms.join(" ")),
                format!("as {}", names.join(" ")),
            ],
            Self::Several { count, .. } => vec![count.to_string()],
            Self::List(words) => vec![words.join(", ")],
            Self::Text(text) => vec![text.clone()],
        }
    }

    /// It as bytes, for the next compile.
    pub(crate) fn pack(&self, bytes: &mut Vec<u8>) {
        let put_texts = |bytes: &mut Vec<u8>, texts: &[String]| {
            put_list(bytes, texts.iter(), |bytes, text| put_text(bytes, text));
        };
        match self {
            Self::File { digest, size, mode } => {
                pack_file(bytes, &ContentFacts { digest: *digest, size: *size }, *mode);
            }
            Self::Content { digest, size } => {
                bytes.push(b'c');
                ContentFacts { digest: *digest, size: *size }.pack(bytes);
            }
            Self::Link(target) => {
                bytes.push(b'l');
                put_text(bytes, target);
            }
            Self::Folder(mode) => {
                bytes.push(b'd');
                bytes.extend_from_slice(&mode.to_le_bytes());
            }
            Self::Layer { derivation, .. } => {
                bytes.push(b'n');
                bytes.extend_from_slice(derivation.as_bytes());
            }
            Self::Image { digest, platforms, names } => {
                bytes.push(b'i');
                bytes.extend_from_slice(digest.as_bytes());
                put_texts(bytes, platforms);
                put_texts(bytes, names);
            }
            Self::Several { count, digest } => {
                bytes.push(b's');
                bytes.extend_from_slice(digest.as_bytes());
                bytes.extend_from_slice(&count.to_le_bytes());
            }
            Self::List(words) => {
                bytes.push(b'w');
                put_texts(bytes, words);
            }
            Self::Text(text) => {
                bytes.push(b't');
                put_text(bytes, text);
            }
        }
    }

    /// What was packed; nothing where these are other bytes. Of a layer the digest is not known.
    pub(crate) fn unpack(reader: &mut Reader<'_>) -> Option<Self> {
        fn mode(reader: &mut Reader<'_>) -> Option<u32> {
            Some(u32::from_le_bytes(reader.take(4)?.try_into().ok()?))
        }
        fn texts(reader: &mut Reader<'_>) -> Option<Vec<String>> {
            reader.list(|reader| reader.text().map(str::to_owned))
        }
        Some(match reader.take(1)? {
            b"f" => Self::File { digest: reader.digest()?, size: reader.number()?, mode: mode(reader)? },
            b"c" => Self::Content { digest: reader.digest()?, size: reader.number()? },
            b"l" => Self::Link(reader.text()?.to_owned()),
            b"d" => Self::Folder(mode(reader)?),
            b"n" => Self::Layer { derivation: reader.digest()?, digest: None },
            b"i" => {
                Self::Image { digest: reader.digest()?, platforms: texts(reader)?, names: texts(reader)? }
            }
            b"s" => Self::Several { digest: reader.digest()?, count: reader.number()? },
            b"w" => Self::List(texts(reader)?),
            b"t" => Self::Text(reader.text()?.to_owned()),
            _ => return None,
        })
    }
}

/// A file as bytes, as [`InputValue::pack`] gives it.
pub(crate) fn pack_file(bytes: &mut Vec<u8>, content: &ContentFacts, mode: u32) {
    bytes.push(b'f');
    content.pack(bytes);
    bytes.extend_from_slice(&mode.to_le_bytes());
}

impl fmt::Display for InputValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts().join(", "))
    }
}

fn bytes(size: u64) -> String {
    if size == 1 { "1 byte".to_owned() } else { format!("{size} bytes") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_read_as_it_was_written_and_cut_bytes_are_nothing() {
        let digest = Digest::of(b"a");
        let texts = || vec!["a".to_owned(), "ü, b".to_owned()];
        for value in [
            InputValue::File { digest, size: u64::MAX, mode: 0o755 },
            InputValue::Content { digest, size: 1 },
            InputValue::Link("../a".to_owned()),
            InputValue::Folder(0o700),
            InputValue::Layer { derivation: digest, digest: None },
            InputValue::Image { digest, platforms: texts(), names: Vec::new() },
            InputValue::Several { count: 3, digest },
            InputValue::List(texts()),
            InputValue::Text(String::new()),
        ] {
            let mut bytes = Vec::new();
            value.pack(&mut bytes);
            let mut reader = Reader(&bytes);
            assert_eq!(InputValue::unpack(&mut reader), Some(value));
            assert!(reader.0.is_empty());
            for length in 0..bytes.len() {
                assert_eq!(InputValue::unpack(&mut Reader(&bytes[..length])), None, "{length}");
            }
        }
    }

    #[test]
    fn one_byte_is_one_byte() {
        let digest = Digest::of(b"a");
        let text = |size| InputValue::File { digest, size, mode: 0o644 }.to_string();
        assert_eq!(text(1), format!("{digest}, 1 byte, mode 0644"));
        assert_eq!(text(0), format!("{digest}, 0 bytes, mode 0644"));
    }
}
