use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Digest as _;

/// A SHA-256 content digest, written `sha256:` and 64 lower-case hexadecimal digits
/// (OCI image specification, "Digests").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Why a text is no digest that kic takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The text does not begin with `ALGORITHM:`.
    #[error("a digest is written `sha256:` and 64 hexadecimal digits")]
    NoAlgorithm,
    /// A registered algorithm that kic does not take, such as `sha512`.
    #[error("the digest algorithm `{0}` is not supported; kic takes `sha256`")]
    Algorithm(String),
    /// The part after the colon is not 64 lower-case hexadecimal digits.
    #[error("after `sha256:` come exactly 64 lower-case hexadecimal digits")]
    Hex,
}

/// The length of `sha256:`.
const ALGORITHM: usize = 7;

/// The value of each lower-case hexadecimal digit; more than 15 for any other byte.
const NIBBLES: [u8; 256] = {
    let mut values = [16; 256];
    let mut digit = 0;
    while digit < 16 {
        values[b"0123456789abcdef"[digit] as usize] = digit as u8;
        digit += 1;
    }
    values
};

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// A digest from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A digest from its 64 lower-case hexadecimal digits, without the algorithm.
    pub fn from_hex(hex: &str) -> Result<Self, DigestError> {
        let bytes = hex.as_bytes();
        if bytes.len() != 64 {
            return Err(DigestError::Hex);
        }
        let mut wrong = 0;
        let mut nibble = |byte: u8| {
            let value = NIBBLES[usize::from(byte)];
            wrong |= value;
            value & 15
        };
        let mut out = [0; 32];
        for (place, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
            *place = nibble(pair[0]) << 4 | nibble(pair[1]);
        }
        if wrong > 15 { Err(DigestError::Hex) } else { Ok(Self(out)) }
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> String {
        self.text().hex().to_owned()
    }

    /// The first twelve hexadecimal digits, for tables that people read.
    pub fn short(&self) -> String {
        self.text().short().to_owned()
    }

    /// Its text, for which nothing is allocated.
    pub fn text(&self) -> DigestText {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = *b"sha256:----------------------------------------------------------------";
        for (digits, byte) in text[ALGORITHM..].chunks_exact_mut(2).zip(self.0) {
            digits[0] = DIGITS[usize::from(byte >> 4)];
            digits[1] = DIGITS[usize::from(byte & 15)];
        }
        DigestText(text)
    }
}

/// The text of a [`Digest`], from [`Digest::text`].
#[derive(Clone, Copy)]
pub struct DigestText([u8; ALGORITHM + 64]);

impl DigestText {
    /// The 64 hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> &str {
        &self[ALGORITHM..]
    }

    /// The first twelve hexadecimal digits.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }
}

impl Deref for DigestText {
    type Target = str;

    fn deref(&self) -> &str {
        // They are all ASCII.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for DigestText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, hex) = text.split_once(':').ok_or(DigestError::NoAlgorithm)?;
        if algorithm != "sha256" {
            return Err(DigestError::Algorithm(algorithm.to_owned()));
        }
        Self::from_hex(hex)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(DigestVisitor)
    }
}

/// Reads a digest where its text stands, without a copy of it.
struct DigestVisitor;

impl de::Visitor<'_> for DigestVisitor {
    type Value = Digest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a digest")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Digest, E> {
        text.parse().map_err(E::custom)
    }
}

/// A running SHA-256: feed it bytes as they stream past, then ask for the [`Digest`].
#[derive(Clone, Default)]
pub struct Sha256(sha2::Sha256);

impl Sha256 {
    /// A digest of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes given.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha256(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_nothing_is_the_known_one_and_reads_back() {
        let digest = Digest::of(b"");
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse::<Digest>(), Ok(digest));
        assert_eq!(Sha256::new().finish(), digest);
    }

    #[test]
    fn other_algorithms_upper_case_and_short_texts_are_refused() {
        assert_eq!("sha512:00".parse::<Digest>(), Err(DigestError::Algorithm("sha512".into())));
        assert_eq!("00".parse::<Digest>(), Err(DigestError::NoAlgorithm));
        assert_eq!("sha256:AB".parse::<Digest>(), Err(DigestError::Hex));
        assert_eq!(format!("sha256:{}", "A".repeat(64)).parse::<Digest>(), Err(DigestError::Hex));
    }
}
