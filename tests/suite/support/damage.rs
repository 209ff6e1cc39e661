//! What happens to bytes on a disk.

use std::fs;
use std::path::Path;

use super::random::Random;

#[derive(Debug, Clone, Copy)]
pub enum Damage {
    Flip,
    Cut,
    Empty,
    Longer,
}

/// Damages a file, and none that it is a hard link of.
pub fn damage(path: &Path, how: Damage, random: &mut Random) {
    let mut bytes = fs::read(path).unwrap();
    let permissions = fs::metadata(path).unwrap().permissions();
    match how {
        Damage::Flip => {
            let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
            bytes[at] ^= 1 << random.below(8);
        }
        Damage::Cut => bytes.truncate(bytes.len() / 2),
        Damage::Empty => bytes.clear(),
        Damage::Longer => bytes.push(b'\n'),
    }
    // A new file: the old one may be a hard link to an output.
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, permissions).unwrap();
}
