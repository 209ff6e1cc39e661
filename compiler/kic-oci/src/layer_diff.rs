//! What differs between two layers that should be the same, told entry by entry.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind, Read};

use flate2::read::MultiGzDecoder;
use kic_base::{Digest, Sha256};

use crate::header_budget::HeaderBudget;
use crate::model::media_types::{LayerFormat, layer_format};

/// The most entries, and the most bytes of their names and extended headers, that a compared layer may have.
const ENTRY_LIMIT: usize = 1 << 20;
const NAME_LIMIT: usize = 128 << 20;

/// One difference, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryDifference {
    /// The entry; nothing where it is about the layer as a whole.
    pub path: Option<String>,
    /// What differs, as `mode 644 on the left, 755 on the right`.
    pub what: String,
}

/// A layer that cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum LayerDiffError {
    /// A media type that is no layer's.
    #[error("`{0}` is not the media type of a layer")]
    MediaType(String),
    /// A layer cannot be read, or is no tar.
    #[error("the layer on the {side} cannot be read")]
    Read {
        /// `left` or `right`.
        side: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Compares two layers, each with its media type: path, type, mode, owner, time, link, extended header, size and
/// content of every entry, then their order and form, then the compressed bytes. Nothing where they are the same.
///
/// One layer is read after the other, each once; memory holds what is said of each entry, not its content.
pub fn diff_layers(
    left: impl Read,
    left_media_type: &str,
    right: impl Read,
    right_media_type: &str,
) -> Result<Vec<EntryDifference>, LayerDiffError> {
    let (left_format, right_format) = (format(left_media_type)?, format(right_media_type)?);
    let left =
        summarise(left, left_format).map_err(|source| LayerDiffError::Read { side: "left", source })?;
    let right =
        summarise(right, right_format).map_err(|source| LayerDiffError::Read { side: "right", source })?;
    if left.tar == right.tar {
        if (left.packed, left_format) == (right.packed, right_format) {
            return Ok(Vec::new());
        }
        let what = format!(
            "the tars are equal, but not their compressed bytes: {} on the left, {} on the right",
            left.describe(left_format),
            right.describe(right_format)
        );
        return Ok(vec![EntryDifference { path: None, what }]);
    }
    let mut differences = compare(&left.entries, &right.entries);
    if differences.is_empty() {
        let same_order = left.order == right.order;
        let what = if same_order {
            "the entries are equal, but not the form of the tar around them: its headers, padding or end"
        } else {
            "the entries are equal, but come in another order"
        };
        differences.push(EntryDifference { path: None, what: what.to_owned() });
    }
    Ok(differences)
}

/// A path, and how many entries of that path came before.
type Key = (Vec<u8>, usize);

struct Summary {
    entries: BTreeMap<Key, Facts>,
    /// A digest of the paths in their order.
    order: Digest,
    tar: Digest,
    packed: Digest,
    packed_size: u64,
}

/// What is said of an entry: in the order in which it is told, a name and a value.
type Facts = Vec<(String, String)>;

impl Summary {
    fn describe(&self, format: LayerFormat) -> String {
        let name = match format {
            LayerFormat::Tar => "plain",
            LayerFormat::Gzip => "gzip",
            LayerFormat::Zstd => "zstd",
        };
        format!("{name}, {} bytes, {}", self.packed_size, self.packed)
    }
}

fn format(media_type: &str) -> Result<LayerFormat, LayerDiffError> {
    layer_format(media_type).ok_or_else(|| LayerDiffError::MediaType(media_type.to_owned()))
}

fn compare(left: &BTreeMap<Key, Facts>, right: &BTreeMap<Key, Facts>) -> Vec<EntryDifference> {
    let mut keys: Vec<&Key> = left.keys().chain(right.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut differences = Vec::new();
    for key in keys {
        let what = match (left.get(key), right.get(key)) {
            (Some(left), Some(right)) if left == right => continue,
            (Some(left), Some(right)) => words(left, right),
            (Some(_), None) => "only on the left".to_owned(),
            (None, _) => "only on the right".to_owned(),
        };
        let path = String::from_utf8_lossy(&key.0).into_owned();
        differences.push(EntryDifference { path: Some(path), what });
    }
    differences
}

fn words(left: &Facts, right: &Facts) -> String {
    let of = |facts: &Facts, name: &str| {
        facts.iter().find(|(found, _)| found == name).map_or("nothing".to_owned(), |(_, value)| value.clone())
    };
    let mut names: Vec<&String> = left.iter().map(|(name, _)| name).collect();
    names.extend(
        right.iter().map(|(name, _)| name).filter(|name| !left.iter().any(|(other, _)| other == *name)),
    );
    let mut parts = Vec::new();
    for name in names {
        let (left, right) = (of(left, name), of(right, name));
        if left != right {
            parts.push(format!("{name} {left} on the left, {right} on the right"));
        }
    }
    parts.join("; ")
}

fn summarise(layer: impl Read, format: LayerFormat) -> io::Result<Summary> {
    let mut packed = Hashing { inner: layer, hasher: Sha256::new(), size: 0 };
    let (entries, order, tar) = {
        let unpacked: Box<dyn Read + '_> = match format {
            LayerFormat::Tar => Box::new(&mut packed),
            LayerFormat::Gzip => Box::new(MultiGzDecoder::new(&mut packed)),
            LayerFormat::Zstd => Box::new(zstd::stream::read::Decoder::new(&mut packed)?),
        };
        let mut tar = Hashing { inner: unpacked, hasher: Sha256::new(), size: 0 };
        let (entries, order) = read_entries(&mut tar)?;
        // What stands after the end of the archive is part of both digests.
        io::copy(&mut tar, &mut io::sink())?;
        (entries, order, tar.hasher.finish())
    };
    io::copy(&mut packed, &mut io::sink())?;
    Ok(Summary { entries, order, tar, packed: packed.hasher.finish(), packed_size: packed.size })
}

fn read_entries(tar: &mut impl Read) -> io::Result<(BTreeMap<Key, Facts>, Digest)> {
    let (budget, reader) = HeaderBudget::around(tar);
    let mut archive = tar::Archive::new(reader);
    let (mut entries, mut order) = (BTreeMap::<Key, Facts>::new(), Sha256::new());
    let mut last_of = BTreeMap::<Vec<u8>, usize>::new();
    let mut name_bytes = 0;
    for entry in archive.entries()? {
        let mut entry = entry?;
        budget.content();
        let path = entry.path_bytes().into_owned();
        let facts = read_facts(&mut entry)?;
        name_bytes += path.len() + facts.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if entries.len() >= ENTRY_LIMIT || name_bytes > NAME_LIMIT {
            return Err(io::Error::new(ErrorKind::InvalidData, "it has too many entries to compare"));
        }
        order.update(&path);
        order.update(&[0]);
        let mut key = (path, 0);
        if entries.contains_key(&key) {
            let count = last_of.entry(key.0.clone()).or_default();
            *count += 1;
            key.1 = *count;
        }
        entries.insert(key, facts);
        budget.headers();
    }
    Ok((entries, order.finish()))
}

fn read_facts(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Facts> {
    let mut facts = Facts::new();
    let mut say = |name: &str, value: String| facts.push((name.to_owned(), value));
    let header = entry.header();
    let kind = header.entry_type();
    say("type", type_name(kind));
    say("mode", header.mode().map_or_else(unreadable, |mode| format!("{mode:o}")));
    let number = |number: io::Result<u64>| number.map_or_else(unreadable, |number| number.to_string());
    say("owner", number(header.uid()));
    say("group", number(header.gid()));
    for (name, value) in
        [("owner's name", header.username_bytes()), ("group's name", header.groupname_bytes())]
    {
        say(name, quoted(value.unwrap_or_default()));
    }
    say("time", number(header.mtime()));
    if kind.is_block_special() || kind.is_character_special() {
        let device = |part: io::Result<Option<u32>>| {
            part.map_or_else(unreadable, |number| number.unwrap_or_default().to_string())
        };
        say("device", format!("{}:{}", device(header.device_major()), device(header.device_minor())));
    }
    if let Some(target) = entry.link_name_bytes() {
        say("link to", quoted(&target));
    }
    let mut records = BTreeMap::new();
    if let Some(extensions) = entry.pax_extensions()? {
        for record in extensions {
            let record = record?;
            records.insert(record.key_bytes().to_vec(), record.value_bytes().to_vec());
        }
    }
    for (key, value) in records {
        // These three are told as the entry's own.
        if !matches!(&key[..], b"path" | b"linkpath" | b"size") {
            say(&format!("extended header {}", quoted(&key)), quoted(&value));
        }
    }
    say("size", entry.size().to_string());
    let size = entry.size();
    let mut content = Hashing { inner: entry, hasher: Sha256::new(), size: 0 };
    io::copy(&mut content, &mut io::sink())?;
    if content.size != size {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    if size > 0 {
        say("content", content.hasher.finish().to_string());
    }
    Ok(facts)
}

fn type_name(kind: tar::EntryType) -> String {
    match kind {
        tar::EntryType::Regular => "file".to_owned(),
        tar::EntryType::Directory => "directory".to_owned(),
        tar::EntryType::Symlink => "symbolic link".to_owned(),
        tar::EntryType::Link => "hard link".to_owned(),
        tar::EntryType::Char => "character device".to_owned(),
        tar::EntryType::Block => "block device".to_owned(),
        tar::EntryType::Fifo => "pipe".to_owned(),
        other => format!("{:?}", char::from(other.as_byte())),
    }
}

fn unreadable(_: io::Error) -> String {
    "unreadable".to_owned()
}

/// Text in quotes, cut where it is long.
fn quoted(bytes: &[u8]) -> String {
    const MOST: usize = 200;
    if bytes.len() <= MOST {
        return format!("{:?}", String::from_utf8_lossy(bytes));
    }
    format!("{:?}… ({} bytes, {})", String::from_utf8_lossy(&bytes[..MOST]), bytes.len(), Digest::of(bytes))
}

struct Hashing<R> {
    inner: R,
    hasher: Sha256,
    size: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.size += count as u64;
        Ok(count)
    }
}

impl fmt::Display for EntryDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "`{path}`: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

#[cfg(test)]
mod tests {
    use kic_base::Epoch;

    use super::*;
    use crate::layer::{Compression, LayerWriter};
    use crate::model::media_types::{OCI_CONFIG, OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD};

    fn layer(compression: Compression, mtime: u64, change: bool) -> Vec<u8> {
        let mut layer = LayerWriter::new(Vec::new(), Epoch::CURRENT, compression, mtime).unwrap();
        let (mode, target) = if change { (0o755, "/y") } else { (0o644, "/x") };
        layer.file("a", mode, 3, &mut &b"abc"[..]).unwrap();
        let mut body = if change { &b"abd"[..] } else { &b"abc"[..] };
        layer.file("b", 0o644, 3, &mut body).unwrap();
        layer.symlink("c", target).unwrap();
        if change {
            layer.directory("e", 0o755).unwrap();
        } else {
            layer.directory("d", 0o755).unwrap();
        }
        layer.file("same", 0o644, 1, &mut &b"x"[..]).unwrap();
        layer.finish().unwrap().0
    }

    fn told(left: &[u8], left_type: &str, right: &[u8], right_type: &str) -> Vec<String> {
        let differences = diff_layers(left, left_type, right, right_type).unwrap();
        differences.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_changed_entry_is_told_with_what_changed() {
        let left = layer(Compression::None, 0, false);
        let right = layer(Compression::Zstd, 0, true);
        let (abc, abd) = (Digest::of(b"abc"), Digest::of(b"abd"));
        assert_eq!(
            told(&left, OCI_LAYER, &right, OCI_LAYER_ZSTD),
            [
                "`a`: mode 644 on the left, 755 on the right".to_owned(),
                format!("`b`: content {abc} on the left, {abd} on the right"),
                r#"`c`: link to "/x" on the left, "/y" on the right"#.to_owned(),
                "`d/`: only on the left".to_owned(),
                "`e/`: only on the right".to_owned(),
            ]
        );
        let later = layer(Compression::None, 7, false);
        let times = told(&left, OCI_LAYER, &later, OCI_LAYER);
        assert_eq!((times.len(), times[0].as_str()), (5, "`a`: time 0 on the left, 7 on the right"));
    }

    #[test]
    fn equal_layers_have_no_difference_and_equal_tars_differ_in_compression_only() {
        let gzip = layer(Compression::Gzip, 0, false);
        assert_eq!(told(&gzip, OCI_LAYER_GZIP, &gzip, OCI_LAYER_GZIP), Vec::<String>::new());
        let plain = layer(Compression::None, 0, false);
        let differences = told(&gzip, OCI_LAYER_GZIP, &plain, OCI_LAYER);
        assert_eq!(differences.len(), 1);
        assert!(differences[0].starts_with("the tars are equal, but not their compressed bytes: gzip, "));
    }

    #[test]
    fn order_and_form_are_told_apart() {
        let build = |names: &[&str], owner: bool| {
            let mut builder = tar::Builder::new(Vec::new());
            for name in names {
                let mut header = tar::Header::new_ustar();
                header.set_path(name).unwrap();
                header.set_size(0);
                header.set_mode(0o644);
                header.set_uid(0);
                header.set_gid(0);
                header.set_mtime(0);
                if owner {
                    header.as_mut_bytes()[505] = b'x';
                }
                header.set_cksum();
                builder.append(&header, io::empty()).unwrap();
            }
            builder.into_inner().unwrap()
        };
        let first = build(&["a", "b"], false);
        let order = told(&first, OCI_LAYER, &build(&["b", "a"], false), OCI_LAYER);
        assert_eq!(order, ["the entries are equal, but come in another order"]);
        let form = told(&first, OCI_LAYER, &build(&["a", "b"], true), OCI_LAYER);
        assert!(form[0].contains("form of the tar"), "{form:?}");
        let twice = told(&first, OCI_LAYER, &build(&["a", "b", "b"], false), OCI_LAYER);
        assert_eq!(twice, ["`b`: only on the right"]);
    }

    #[test]
    fn what_is_no_layer_is_an_error() {
        let good = layer(Compression::None, 0, false);
        let failed = |left: &[u8], media_type: &str| {
            diff_layers(left, media_type, &good[..], OCI_LAYER).unwrap_err().to_string()
        };
        assert!(failed(&good, OCI_CONFIG).contains(OCI_CONFIG));
        for (bytes, media_type) in [
            (&b"hello"[..], OCI_LAYER),
            (&good[..700], OCI_LAYER),
            (&good[..514], OCI_LAYER),
            (&good[..], OCI_LAYER_GZIP),
            (&good[..], OCI_LAYER_ZSTD),
        ] {
            assert!(failed(bytes, media_type).contains("on the left"), "{media_type}");
        }
        let error = diff_layers(&good[..], OCI_LAYER, &b"hello"[..], OCI_LAYER).unwrap_err();
        assert!(error.to_string().contains("on the right"));
    }

    #[test]
    fn an_endless_extended_header_costs_no_memory() {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_size(1 << 40);
        header.set_cksum();
        let bytes = header.as_bytes().chain(io::repeat(b'x'));
        let error = diff_layers(bytes, OCI_LAYER, io::empty(), OCI_LAYER).unwrap_err();
        let LayerDiffError::Read { source, .. } = error else { panic!() };
        assert!(source.to_string().contains("over 1 MiB"), "{source}");
    }
}
