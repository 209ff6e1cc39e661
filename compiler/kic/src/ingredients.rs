//! What a compile was made from, as it is kept for the next one.
//!
//! The bytes, all numbers little-endian: [`MAGIC`]; the number of layers (4), and of each its platform, kind and name, and its
//! derivation (32); the number of derivations (4), and of each its digest (32), the length of what follows (4), and its inputs; the
//! number of platforms (4), and of each its name, the length of what follows (4), and the inputs of its image; the number of parameters
//! that were given (4), and of each its name and a digest over its value (32); the number of keys of the request (4), none or one, and
//! that key (32). An input is its name and its value, as [`InputValue::pack`] has it. A text is its length (4) and its bytes.
//!
//! It is written at every compile and read for `--explain` alone: so a tree of many files is taken apart when it is read.

use std::collections::BTreeMap;

use kic_base::Digest;
use kic_base::packed::{Reader, put_bytes, put_digest, put_length, put_text};
use kic_exec::Context;
use kic_graph::{ContentFacts, Graph};
use kic_store::Memo;

use crate::compile::Request;
use crate::input_value::{InputValue, pack_file};

mod image;
mod layer;

/// What something was made from: what each input is, and by what it is known.
pub(crate) type Inputs = BTreeMap<String, InputValue>;

const MAGIC: &[u8; 8] = b"kicingr3";

/// What a compile was made from.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ingredients {
    /// The layers of each platform, bottom first.
    pub layers: Vec<(LayerName, Digest)>,
    /// What each derivation was made from.
    inputs: BTreeMap<Digest, PackedInputs>,
    /// What the image of each platform was made from beside its layers.
    images: BTreeMap<String, PackedInputs>,
    /// The parameters that were given, each with a digest over its value, which may be secret.
    pub parameters: BTreeMap<String, Digest>,
    /// The [`key`](crate::last_run::key) of what was asked for, where it has one.
    pub request: Option<Digest>,
}

/// What a layer is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LayerName {
    pub platform: String,
    pub kind: String,
    pub name: String,
}

impl Ingredients {
    /// Those of the last compile of the spec.
    pub fn of_last(request: &Request, context: &Context) -> Option<Self> {
        Self::read(&context.store.recall(&key(request)?)?)
    }

    /// Those of a graph, of the parameters that were given, and of the request with that key.
    pub fn of(graph: &Graph, parameters: BTreeMap<String, Digest>, request: Option<Digest>) -> Self {
        let mut ingredients = Self { parameters, request, ..Self::default() };
        for (platform, image) in &graph.image.platforms {
            let platform_name = platform.to_string();
            for layer in &image.layers {
                let node = &graph.nodes[layer.node];
                let (kind, name) = (layer.kind.name().to_owned(), layer.name.clone());
                let name = LayerName { platform: platform_name.clone(), kind, name };
                ingredients.layers.push((name, node.digest));
                let packed = || layer::packed(graph, &node.derivation);
                ingredients.inputs.entry(node.digest).or_insert_with(packed);
            }
            ingredients.images.insert(platform_name, image::packed(graph, platform, image));
        }
        ingredients
    }

    /// What the next compile knows them by, under that [`key`].
    pub fn to_memo(&self, key: Digest) -> Memo {
        Memo::new(key, self.write())
    }

    /// What a derivation was made from.
    pub fn inputs(&self, derivation: &Digest) -> Inputs {
        self.inputs.get(derivation).map(PackedInputs::inputs).unwrap_or_default()
    }

    /// The platforms.
    pub fn platforms(&self) -> Vec<String> {
        self.images.keys().cloned().collect()
    }

    /// What the image of a platform was made from beside its layers; nothing where there is none.
    pub fn image(&self, platform: &str) -> Option<Inputs> {
        self.images.get(platform).map(PackedInputs::inputs)
    }

    fn write(&self) -> Vec<u8> {
        let packed = self.inputs.values().chain(self.images.values());
        let mut bytes = Vec::with_capacity(packed.map(|packed| packed.0.len() + 64).sum());
        bytes.extend_from_slice(MAGIC);
        put_length(&mut bytes, self.layers.len());
        for (LayerName { platform, kind, name }, digest) in &self.layers {
            for text in [platform, kind, name] {
                put_text(&mut bytes, text);
            }
            put_digest(&mut bytes, digest);
        }
        put_length(&mut bytes, self.inputs.len());
        for (digest, packed) in &self.inputs {
            put_digest(&mut bytes, digest);
            put_bytes(&mut bytes, &packed.0);
        }
        put_length(&mut bytes, self.images.len());
        for (platform, packed) in &self.images {
            put_text(&mut bytes, platform);
            put_bytes(&mut bytes, &packed.0);
        }
        put_length(&mut bytes, self.parameters.len());
        for (name, digest) in &self.parameters {
            put_text(&mut bytes, name);
            put_digest(&mut bytes, digest);
        }
        put_length(&mut bytes, self.request.iter().len());
        bytes.extend(self.request.iter().flat_map(Digest::as_bytes));
        bytes
    }

    /// Those that were written as these bytes; nothing where these are other ones.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes.strip_prefix(MAGIC)?);
        let mut ingredients = Self::default();
        for _ in 0..reader.length()? {
            let mut text = || reader.text().map(str::to_owned);
            let name = LayerName { platform: text()?, kind: text()?, name: text()? };
            ingredients.layers.push((name, reader.digest()?));
        }
        for _ in 0..reader.length()? {
            let digest = reader.digest()?;
            ingredients.inputs.insert(digest, PackedInputs(reader.bytes()?.to_vec()));
        }
        for _ in 0..reader.length()? {
            let platform = reader.text()?.to_owned();
            ingredients.images.insert(platform, PackedInputs(reader.bytes()?.to_vec()));
        }
        for _ in 0..reader.length()? {
            let name = reader.text()?.to_owned();
            ingredients.parameters.insert(name, reader.digest()?);
        }
        if reader.length()? > 0 {
            ingredients.request = Some(reader.digest()?);
        }
        reader.0.is_empty().then_some(ingredients)
    }
}

/// The parameters that a request gives, by name: digests over their values.
pub(crate) fn parameters(request: &Request) -> BTreeMap<String, Digest> {
    let digest = |(name, value): &(String, String)| {
        let mut hasher = kic_base::StableHasher::new();
        hasher.text("kic parameter").text(name).text(value);
        (name.clone(), hasher.finish())
    };
    request.settings.set.iter().map(digest).collect()
}

/// What the ingredients of a spec are kept under.
pub(crate) fn key(request: &Request) -> Option<Digest> {
    let mut hasher = kic_base::StableHasher::new();
    hasher.text("kic ingredients 4");
    hasher.bytes(std::path::absolute(&request.spec).ok()?.as_os_str().as_encoded_bytes());
    Some(hasher.finish())
}

/// Inputs as bytes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct PackedInputs(Vec<u8>);

impl PackedInputs {
    /// Makes room for files with paths of those lengths.
    fn reserve_files(&mut self, paths: impl Iterator<Item = usize>) {
        // The length of the path, a slash, what it is, a digest, a size and a mode.
        const AROUND: usize = 4 + 1 + 1 + 32 + 8 + 4;
        self.0.reserve(paths.map(|length| AROUND + length).sum());
    }

    /// Adds an input.
    fn add(&mut self, input: &str, value: &InputValue) {
        put_text(&mut self.0, input);
        value.pack(&mut self.0);
    }

    /// Adds an input that is known by a text.
    fn text(&mut self, input: &str, value: impl Into<String>) {
        self.add(input, &InputValue::Text(value.into()));
    }

    /// Adds the file at that path in the image.
    fn file(&mut self, path: &str, mode: u32, content: &ContentFacts) {
        put_length(&mut self.0, 1 + path.len());
        self.0.push(b'/');
        self.0.extend_from_slice(path.as_bytes());
        pack_file(&mut self.0, content, mode);
    }

    /// The inputs, taken apart.
    fn inputs(&self) -> Inputs {
        let mut reader = Reader(&self.0);
        let next = || Some((reader.text()?.to_owned(), InputValue::unpack(&mut reader)?));
        std::iter::from_fn(next).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_cut_bytes_are_nothing() {
        let mut packed = PackedInputs::default();
        packed.text("compression", "zstd");
        let (digest, size) = (Digest::of(b"a"), 7);
        packed.file("etc/ü", 0o755, &ContentFacts { digest, size });
        let expected = Inputs::from([
            ("compression".to_owned(), InputValue::Text("zstd".to_owned())),
            ("/etc/ü".to_owned(), InputValue::File { digest, size, mode: 0o755 }),
        ]);
        assert_eq!(packed.inputs(), expected);
        let text = str::to_owned;
        let name = LayerName { platform: text("linux/amd64"), kind: text("files"), name: text("a") };
        let ingredients = Ingredients {
            layers: vec![(name, Digest::of(b"1"))],
            inputs: [(Digest::of(b"1"), packed.clone()), (Digest::of(b"2"), PackedInputs::default())].into(),
            images: [(text("linux/amd64"), packed)].into(),
            parameters: [(text("host"), Digest::of(b"3"))].into(),
            request: Some(Digest::of(b"4")),
        };
        let bytes = ingredients.write();
        assert_eq!(Ingredients::read(&bytes), Some(ingredients));
        for length in 0..bytes.len() {
            assert_eq!(Ingredients::read(&bytes[..length]), None, "{length}");
        }
    }
}
