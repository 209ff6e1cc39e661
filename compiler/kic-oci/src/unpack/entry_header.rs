use std::collections::BTreeMap;
use std::io::Read;

use rustix::fs::Timespec;
use tar::{Entry, EntryType};

use super::error::{Failure, Refusal};

/// What an entry is, with what belongs to that kind only.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    SymbolicLink(Vec<u8>),
    HardLink(Vec<u8>),
    Special(&'static str),
    /// A comment on the archive.
    Ignored,
}

/// What an entry says about itself.
pub(super) struct EntryHeader {
    pub(super) kind: Kind,
    /// Permission bits, set-user-id and the like included.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) modified: Timespec,
    pub(super) xattrs: BTreeMap<String, Vec<u8>>,
}

/// Keys of extended headers that change what is unpacked; twice in one header, tools differ on which counts.
const SINGLE: [&str; 6] = ["path", "linkpath", "size", "mtime", "uid", "gid"];

impl EntryHeader {
    pub(super) fn read<R: Read>(
        entry: &mut Entry<'_, R>,
        allowed_xattrs: &[String],
    ) -> Result<Self, Failure> {
        let kind = kind(entry)?;
        let header = entry.header();
        let fields = header.as_old();
        let id = |field: &[u8], result, what| {
            let value = number(field, result, what)?;
            // The largest means "leave it" to the system.
            u32::try_from(value).ok().filter(|value| *value != u32::MAX).ok_or(Refusal::Header(what))
        };
        let mode = number(&fields.mode, header.mode().map(u64::from), "the mode is no number")?;
        let mode = u32::try_from(mode & 0o7777).unwrap_or(0);
        let uid = id(&fields.uid, header.uid(), "the owner is no user id")?;
        let gid = id(&fields.gid, header.gid(), "the group is no group id")?;
        let seconds = number(&fields.mtime, header.mtime(), "the modification time is no number")?;
        // Times before 1970 are written as two's complement.
        let modified = Timespec { tv_sec: seconds.cast_signed(), tv_nsec: 0 };
        let mut this = Self { kind, mode, uid, gid, modified, xattrs: BTreeMap::new() };
        if this.kind != Kind::Ignored {
            this.read_extended(entry, allowed_xattrs)?;
        }
        Ok(this)
    }

    /// Takes over what the extended header says, and refuses what the tar reader would silently read as
    /// something else.
    fn read_extended<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        allowed_xattrs: &[String],
    ) -> Result<(), Failure> {
        const DAMAGED: Refusal = Refusal::Header("a record of the extended header is malformed");
        let Some(records) = entry.pax_extensions().map_err(Failure::reading)? else { return Ok(()) };
        let mut single = Vec::new();
        for record in records {
            let record = record.map_err(|_| DAMAGED)?;
            let Ok(key) = record.key() else { return Err(DAMAGED.into()) };
            if key.starts_with("GNU.sparse.") {
                return Err(Refusal::Sparse.into());
            }
            if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                if allowed_xattrs.iter().any(|allowed| allowed == name) {
                    self.xattrs.insert(name.to_owned(), record.value_bytes().to_vec());
                }
                continue;
            }
            if !SINGLE.contains(&key) {
                continue;
            }
            if single.contains(&key) {
                return Err(Refusal::Header("a record of the extended header comes twice").into());
            }
            single.push(key);
            let value = record.value_bytes();
            match key {
                "mtime" => self.modified = parse_time(value).ok_or(DAMAGED)?,
                "size" | "uid" | "gid" if !is_number(value) => return Err(DAMAGED.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Why unpacking would not take an entry for what it is, whatever its name. The entry is only looked at.
pub(crate) fn refusal<R: Read>(entry: &mut Entry<'_, R>) -> std::io::Result<Option<Refusal>> {
    // What names what is deleted may be of any kind.
    let is_whiteout = entry.path_bytes().split(|byte| *byte == b'/').any(|name| name.starts_with(b".wh."));
    match EntryHeader::read(entry, &[]) {
        Ok(EntryHeader { kind: Kind::Special(what), .. }) if !is_whiteout => {
            Ok(Some(Refusal::SpecialFile(what)))
        }
        Ok(_) | Err(Failure::Limit(_)) => Ok(None),
        Err(Failure::Refused(reason)) => Ok(Some(reason)),
        Err(Failure::Read(error) | Failure::Write(error)) => Err(error),
    }
}

fn kind<R: Read>(entry: &Entry<'_, R>) -> Result<Kind, Refusal> {
    let target = || entry.link_name_bytes().map(|target| target.into_owned()).ok_or(Refusal::LinkTarget);
    Ok(match entry.header().entry_type() {
        // Archives older than POSIX mark folders by the slash alone.
        EntryType::Regular if entry.path_bytes().ends_with(b"/") => Kind::Folder,
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Directory => Kind::Folder,
        EntryType::Symlink => Kind::SymbolicLink(target()?),
        EntryType::Link => Kind::HardLink(target()?),
        EntryType::Char => Kind::Special("character device"),
        EntryType::Block => Kind::Special("block device"),
        EntryType::Fifo => Kind::Special("fifo"),
        EntryType::GNUSparse => return Err(Refusal::Sparse),
        EntryType::XGlobalHeader => Kind::Ignored,
        // cpio's and star's mark for sockets.
        other if other.as_byte() == b's' => Kind::Special("socket"),
        other => return Err(Refusal::Kind(other.as_byte())),
    })
}

/// A number of the header. Writers that do not know one leave its field empty, which every tar reads as 0.
fn number(field: &[u8], read: std::io::Result<u64>, what: &'static str) -> Result<u64, Refusal> {
    if field.iter().all(|byte| matches!(byte, 0 | b' ')) {
        return Ok(0);
    }
    read.map_err(|_| Refusal::Header(what))
}

fn is_number(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok_and(|text| text.parse::<u64>().is_ok())
}

/// Seconds since 1970 as PAX writes them: `-1.25` is a quarter of a second before 23:59:59.
fn parse_time(value: &[u8]) -> Option<Timespec> {
    let text = std::str::from_utf8(value).ok()?;
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let fraction = &fraction[..fraction.len().min(9)];
    let scale = 10_i64.pow(9 - u32::try_from(fraction.len()).ok()?);
    let nanoseconds = if fraction.is_empty() { 0 } else { fraction.parse::<i64>().ok()? * scale };
    let (tv_sec, tv_nsec) = match (negative, nanoseconds) {
        (false, nanoseconds) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, nanoseconds) => ((-seconds).checked_sub(1)?, 1_000_000_000 - nanoseconds),
    };
    Some(Timespec { tv_sec, tv_nsec })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_nanosecond_on_both_sides_of_1970() {
        let time = |text: &str| parse_time(text.as_bytes()).map(|time| (time.tv_sec, time.tv_nsec));
        assert_eq!(time("1700000000"), Some((1_700_000_000, 0)));
        assert_eq!(time("1.5"), Some((1, 500_000_000)));
        assert_eq!(time("1.0000000019"), Some((1, 1)));
        assert_eq!(time("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time("-3"), Some((-3, 0)));
        for text in ["", "-", ".5", "1e3", "+1", " 1", "--1", "99999999999999999999"] {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
