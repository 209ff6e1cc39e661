use rustix::fs::StatFs;

/// ext2, ext3 and ext4.
pub const EXT: u32 = 0xef53;

/// tmpfs.
pub const TMPFS: u32 = 0x0102_1994;

/// The number by which Linux knows the kind of a file system; `None` on other systems.
#[cfg(target_os = "linux")]
#[allow(
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    clippy::unnecessary_cast,
    clippy::unnecessary_wraps,
    reason = "the type of this field differs between processors, and the numbers have 32 bits; other systems have none"
)]
pub fn file_system_kind(status: &StatFs) -> Option<u32> {
    Some(status.f_type as u32)
}

/// The number by which Linux knows the kind of a file system; `None` on other systems.
#[cfg(not(target_os = "linux"))]
pub fn file_system_kind(_: &StatFs) -> Option<u32> {
    None
}
