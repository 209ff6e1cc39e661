//! What derivations were made of, as it is kept for the next compile.
//!
//! The bytes, all numbers little-endian: [`MAGIC`]; the number of layers (4), and of each its platform, kind and name, and its
//! derivation (32); the number of derivations (4), and of each its digest (32), the length of what follows (4), and its inputs. An
//! input is its name, a byte, and its value: `t` and a text, or `f` and a file's digest (32), size (8) and mode (4). A text is its length
//! (4) and its bytes.
//!
//! It is written at every compile and read for `--explain` alone: so a tree of many files is put into words when it is read.

use std::collections::BTreeMap;

use kic_base::Digest;
use kic_base::packed::{Reader, put_bytes, put_length, put_text};
use kic_graph::ContentFacts;

/// What a derivation was made of: what it is, and by what it is known.
pub(crate) type Inputs = BTreeMap<String, String>;

/// A layer: its platform, kind and name.
pub(crate) type LayerName = (String, String, String);

/// What is kept: the derivation of each layer, and the inputs of each derivation.
pub(crate) type Kept = (Vec<(LayerName, Digest)>, BTreeMap<Digest, PackedInputs>);

const MAGIC: &[u8; 8] = b"kicingr1";

/// The inputs of one derivation, as bytes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct PackedInputs(Vec<u8>);

impl PackedInputs {
    /// Makes room for files with paths of those lengths.
    pub fn expect(&mut self, paths: impl Iterator<Item = usize>) {
        // The length of the path, a slash, what it is, a digest, a size and a mode.
        const AROUND: usize = 4 + 1 + 1 + 32 + 8 + 4;
        self.0.reserve(paths.map(|length| AROUND + length).sum());
    }

    /// Adds an input that is known by a text.
    pub fn text(&mut self, input: &str, value: &str) {
        put_text(&mut self.0, input);
        self.0.push(b't');
        put_text(&mut self.0, value);
    }

    /// Adds the file at that path in the image.
    pub fn file(&mut self, path: &str, mode: u32, content: &ContentFacts) {
        put_length(&mut self.0, 1 + path.len());
        self.0.push(b'/');
        self.0.extend_from_slice(path.as_bytes());
        self.0.push(b'f');
        self.0.extend_from_slice(content.digest.as_bytes());
        self.0.extend_from_slice(&content.size.to_le_bytes());
        self.0.extend_from_slice(&mode.to_le_bytes());
    }

    /// The inputs in words.
    pub fn inputs(&self) -> Inputs {
        let mut inputs = Inputs::new();
        let mut reader = Reader(&self.0);
        while let Some((input, value)) = input(&mut reader) {
            inputs.insert(input, value);
        }
        inputs
    }
}

/// A content in words.
pub(crate) fn content_text(content: &ContentFacts) -> String {
    format!("{}, {} bytes", content.digest, content.size)
}

/// The bytes to keep.
pub(crate) fn write(layers: &[(LayerName, Digest)], inputs: &BTreeMap<Digest, PackedInputs>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(inputs.values().map(|packed| packed.0.len() + 64).sum());
    bytes.extend_from_slice(MAGIC);
    put_length(&mut bytes, layers.len());
    for ((platform, kind, name), digest) in layers {
        for text in [platform, kind, name] {
            put_text(&mut bytes, text);
        }
        bytes.extend_from_slice(digest.as_bytes());
    }
    put_length(&mut bytes, inputs.len());
    for (digest, packed) in inputs {
        bytes.extend_from_slice(digest.as_bytes());
        put_bytes(&mut bytes, &packed.0);
    }
    bytes
}

/// What was kept; nothing where these are other bytes.
pub(crate) fn read(bytes: &[u8]) -> Option<Kept> {
    let mut reader = Reader(bytes.strip_prefix(MAGIC)?);
    let (mut layers, mut inputs) = (Vec::new(), BTreeMap::new());
    for _ in 0..reader.length()? {
        let mut text = || reader.text().map(str::to_owned);
        let name = (text()?, text()?, text()?);
        layers.push((name, reader.digest()?));
    }
    for _ in 0..reader.length()? {
        let digest = reader.digest()?;
        inputs.insert(digest, PackedInputs(reader.bytes()?.to_vec()));
    }
    reader.0.is_empty().then_some((layers, inputs))
}

fn input(reader: &mut Reader<'_>) -> Option<(String, String)> {
    let input = reader.text()?.to_owned();
    let value = match reader.take(1)? {
        b"t" => reader.text()?.to_owned(),
        _ => {
            let (digest, size) = (reader.digest()?, reader.number()?);
            let mode = u32::from_le_bytes(reader.take(4)?.try_into().ok()?);
            format!("{}, mode {mode:04o}", content_text(&ContentFacts { digest, size }))
        }
    };
    Some((input, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_cut_bytes_are_nothing() {
        let mut packed = PackedInputs::default();
        packed.text("compression", "zstd");
        let content = ContentFacts { digest: Digest::of(b"a"), size: 7 };
        packed.file("etc/ü", 0o755, &content);
        let expected = Inputs::from([
            ("compression".to_owned(), "zstd".to_owned()),
            ("/etc/ü".to_owned(), format!("{}, 7 bytes, mode 0755", Digest::of(b"a"))),
        ]);
        assert_eq!(packed.inputs(), expected);
        let name = ("linux/amd64".to_owned(), "files".to_owned(), "a".to_owned());
        let layers = vec![(name, Digest::of(b"1"))];
        let inputs =
            BTreeMap::from([(Digest::of(b"1"), packed), (Digest::of(b"2"), PackedInputs::default())]);
        let bytes = write(&layers, &inputs);
        assert_eq!(read(&bytes), Some((layers, inputs)));
        for length in 0..bytes.len() {
            assert_eq!(read(&bytes[..length]), None, "{length}");
        }
    }
}
