//! The tar dialect of encoder epoch 1: POSIX ustar, and before an entry that does not fit it one PAX header
//! (POSIX.1-2001, "pax Interchange Format") with `path`, `linkpath` and `size` alone.

use std::borrow::Cow;

use super::LayerError;
use super::entry::check_path;

/// Tar works in blocks of that many bytes.
pub(crate) const BLOCK: usize = 512;

/// The two blocks of zeros that end a tar, in bytes.
pub(crate) const END: usize = 2 * BLOCK;

/// The largest number in eleven octal digits: just below 8 GiB, and the year 2242.
const OCTAL_LIMIT: u64 = 0o77_777_777_777;

/// The name that every PAX header has; readers ignore it, and many writers put a process id there.
const PAX_NAME: &str = "PaxHeaders/entry";

/// What an entry's header says.
pub(crate) struct Header<'a> {
    pub path: &'a str,
    /// The type flag of the tar header.
    pub kind: Kind,
    pub mode: u32,
    pub size: u64,
    pub link: &'a str,
    pub mtime: u64,
}

/// The type flags that kic writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File = b'0' as isize,
    HardLink = b'1' as isize,
    Symlink = b'2' as isize,
    Directory = b'5' as isize,
    Pax = b'x' as isize,
}

/// The header of the tar that holds the one file `path`: these bytes, the body, and
/// [`embedded_file_trailer`] zeros are what [`super::LayerWriter`] writes for it uncompressed.
///
/// `mode` is at most 0o7777, `size` is in bytes, `mtime` in seconds since 1970.
pub fn embedded_file_header(path: &str, mode: u32, size: u64, mtime: u64) -> Result<Vec<u8>, LayerError> {
    check_path(path)?;
    let (pax, block) = Header { path, kind: Kind::File, mode, size, link: "", mtime }.parts()?;
    Ok([&pax[..], &block].concat())
}

/// How many zero bytes follow the body of [`embedded_file_header`]'s one file of `size` bytes: up to the next
/// block of 512, and the two blocks that end the tar.
pub fn embedded_file_trailer(size: u64) -> u64 {
    padding(size) as u64 + END as u64
}

/// How many zero bytes follow a body of `size` bytes.
pub(crate) fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK as u64) as usize
}

impl Header<'_> {
    /// How many bytes its parts have.
    pub fn length(&self) -> Result<usize, LayerError> {
        let fits = self.link.len() <= 100 && self.link.is_ascii() && self.size <= OCTAL_LIMIT;
        if fits && self.path.len() < 100 && self.path.is_ascii() {
            return self.check().map(|()| BLOCK);
        }
        self.parts().map(|(pax, block)| pax.len() + block.len())
    }

    /// Whether there is a header for it.
    fn check(&self) -> Result<(), LayerError> {
        if self.mode > 0o7777 {
            return Err(LayerError::Mode { path: self.path.to_owned(), mode: self.mode });
        }
        if i64::try_from(self.size).is_err() {
            return Err(LayerError::Size { path: self.path.to_owned(), size: self.size });
        }
        if self.mtime > OCTAL_LIMIT {
            return Err(LayerError::Time(self.mtime));
        }
        Ok(())
    }

    /// A PAX header where one is needed, and the header block.
    pub fn parts(&self) -> Result<(Vec<u8>, [u8; BLOCK]), LayerError> {
        self.check()?;
        let path = match self.kind {
            Kind::Directory => Cow::Owned(format!("{}/", self.path)),
            _ => Cow::Borrowed(self.path),
        };
        let mut records = Vec::new();
        // Sorted by key, as every map that kic writes.
        if self.link.len() > 100 || !self.link.is_ascii() {
            record(&mut records, "linkpath", self.link);
        }
        let split = split(&path);
        if split.is_none() {
            record(&mut records, "path", &path);
        }
        let mut size = self.size;
        if size > OCTAL_LIMIT {
            record(&mut records, "size", &size.to_string());
            size = 0;
        }
        let mut pax = Vec::new();
        if !records.is_empty() {
            pax.extend_from_slice(&block(PAX_NAME, "", Kind::Pax, 0o644, records.len() as u64, "", 0));
            pax.extend_from_slice(&records);
            pax.resize(pax.len().next_multiple_of(BLOCK), 0);
        }
        let (prefix, name) = split.unwrap_or(("", &path));
        Ok((pax, block(name, prefix, self.kind, self.mode, size, self.link, self.mtime)))
    }
}

/// Prefix and name as ustar holds them; nothing where it cannot. The prefix is as short as it can be.
fn split(path: &str) -> Option<(&str, &str)> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= 100 {
        return Some(("", path));
    }
    // The slash that ends a directory's path belongs to its name.
    let slashes = path[..path.len() - 1].match_indices('/');
    slashes
        .map(|(place, _)| (&path[..place], &path[place + 1..]))
        .find(|(prefix, name)| prefix.len() <= 155 && name.len() <= 100)
}

/// One PAX record: `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(records: &mut Vec<u8>, key: &str, value: &str) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} {key}={value}\n").as_bytes());
}

/// The kind of a block that [`block`] has made, and the size that follows it; nothing for other blocks, as far as that shows.
pub(crate) fn kind_and_size(block: &[u8; BLOCK]) -> Option<(Kind, u64)> {
    const KINDS: [Kind; 5] = [Kind::File, Kind::HardLink, Kind::Symlink, Kind::Directory, Kind::Pax];
    let kind = KINDS.into_iter().find(|kind| *kind as u8 == block[156])?;
    let (digits, end) = (&block[124..135], block[135]);
    let is_octal = end == 0 && digits.iter().all(|digit| (b'0'..=b'7').contains(digit));
    is_octal.then(|| (kind, digits.iter().fold(0, |size, digit| size << 3 | u64::from(digit - b'0'))))
}

fn block(name: &str, prefix: &str, kind: Kind, mode: u32, size: u64, link: &str, mtime: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    put_text(&mut block[..100], name);
    put_octal(&mut block[100..108], mode.into());
    put_octal(&mut block[108..116], 0);
    put_octal(&mut block[116..124], 0);
    put_octal(&mut block[124..136], size);
    put_octal(&mut block[136..148], mtime);
    block[148..156].fill(b' ');
    block[156] = kind as u8;
    put_text(&mut block[157..257], link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    put_octal(&mut block[329..337], 0);
    put_octal(&mut block[337..345], 0);
    put_text(&mut block[345..500], prefix);
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    // Six digits, a NUL and a space, as every tar writes the checksum.
    put_octal(&mut block[148..155], sum);
    block
}

/// Fills a field with text; what does not fit stands in a PAX record, and here is cut and made ASCII.
fn put_text(field: &mut [u8], text: &str) {
    for (place, byte) in field.iter_mut().zip(text.bytes()) {
        *place = if byte.is_ascii() { byte } else { b'_' };
    }
}

/// Fills a field with octal digits and a NUL.
fn put_octal(field: &mut [u8], mut number: u64) {
    let digits = field.len() - 1;
    field[digits] = 0;
    for place in field[..digits].iter_mut().rev() {
        *place = b'0' + (number & 7) as u8;
        number >>= 3;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_record_counts_its_own_digits() {
        let made = |length: usize| {
            let mut records = Vec::new();
            record(&mut records, "path", &"x".repeat(length));
            let text = String::from_utf8(records).unwrap();
            (text.split(' ').next().unwrap().parse::<usize>().unwrap(), text.len())
        };
        for length in (0..200).chain(900..1100).chain(9_900..10_100) {
            let (said, real) = made(length);
            assert_eq!(said, real, "{length}");
        }
    }

    #[test]
    fn long_paths_use_the_prefix_and_then_pax() {
        let header = |path: &str| embedded_file_header(path, 0o644, 0, 0).unwrap();
        assert_eq!(header(&"a".repeat(100)).len(), BLOCK);
        assert_eq!(header(&format!("{}/{}", "a".repeat(155), "b".repeat(100))).len(), BLOCK);
        assert_eq!(header(&"a".repeat(101)).len(), 3 * BLOCK);
        assert_eq!(header(&format!("{}/{}", "a".repeat(156), "b".repeat(100))).len(), 3 * BLOCK);
        assert_eq!(header("ä").len(), 3 * BLOCK);
        assert_eq!(split(&format!("{}/", "a".repeat(100))), None);
        let path = format!("a/b/{}/", "c".repeat(98));
        assert_eq!(split(&path), Some(("a/b", &path[4..])));
    }

    #[test]
    fn the_length_of_a_header_is_that_of_its_parts() {
        let texts = [
            "a".to_owned(),
            "a".repeat(99),
            "a".repeat(100),
            "a".repeat(101),
            "ä".to_owned(),
            format!("{}/b", "a".repeat(120)),
        ];
        for (path, link) in texts.iter().flat_map(|path| texts.iter().map(move |link| (path, link))) {
            for kind in [Kind::File, Kind::Directory, Kind::Symlink, Kind::HardLink] {
                for size in [0, OCTAL_LIMIT, OCTAL_LIMIT + 1] {
                    let header = Header { path, kind, mode: 0o644, size, link, mtime: 7 };
                    let (pax, block) = header.parts().unwrap();
                    assert_eq!(header.length().unwrap(), pax.len() + block.len(), "{path} {link} {size}");
                }
            }
        }
        let header = Header { path: "a", kind: Kind::File, mode: 0o10000, size: 0, link: "", mtime: 0 };
        assert!(header.length().is_err());
    }

    #[test]
    fn sizes_from_8_gib_stand_in_a_record() {
        let small = embedded_file_header("a", 0o644, OCTAL_LIMIT, 0).unwrap();
        assert_eq!((&small[124..136], small.len()), (&b"77777777777\0"[..], BLOCK));
        let large = embedded_file_header("a", 0o644, OCTAL_LIMIT + 1, 0).unwrap();
        assert_eq!(&large[BLOCK..BLOCK + 19], b"19 size=8589934592\n");
        let header = tar::Header::from_byte_slice(&large[2 * BLOCK..]);
        assert_eq!(header.entry_size().unwrap(), 0);
        assert_eq!(embedded_file_trailer(OCTAL_LIMIT + 1), 1024);
        assert_eq!((embedded_file_trailer(0), embedded_file_trailer(1)), (1024, 1535));
    }

    #[test]
    fn what_no_header_can_hold_is_refused() {
        assert!(matches!(embedded_file_header("a", 0o10000, 0, 0), Err(LayerError::Mode { .. })));
        assert!(matches!(embedded_file_header("a", 0, u64::MAX, 0), Err(LayerError::Size { .. })));
        assert!(matches!(embedded_file_header("a", 0, 0, OCTAL_LIMIT + 1), Err(LayerError::Time(_))));
        for path in
            ["", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\0b", "a/.wh.b", &"a/".repeat(2048)]
        {
            assert!(matches!(embedded_file_header(path, 0, 0, 0), Err(LayerError::Path { .. })), "{path}");
        }
        for path in ["a\\b", "a b", "...", "a/..b", "C:", "\n", "-"] {
            embedded_file_header(path, 0, 0, 0).unwrap();
        }
    }
}
