/// What unpacking does beyond the plain case. The default is what is safe with any image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnpackOptions {
    /// When to give up.
    pub limits: UnpackLimits,
    /// Leave out device nodes, fifos and sockets, and go on; otherwise they are refused.
    pub skip_special_files: bool,
    /// Keep the set-user-id and set-group-id bits; otherwise they are dropped.
    pub keep_setuid: bool,
    /// Give every file the numeric owner and group of its entry, which only root may do; otherwise everything
    /// belongs to the current user.
    pub preserve_owner: bool,
    /// Take entries and hard link targets whose names begin with `/` as if they began without, as several builders
    /// write them; otherwise they are refused.
    pub strip_leading_slashes: bool,
    /// The names of the extended attributes to restore, as `security.capability`; all others are ignored.
    pub xattrs: Vec<String>,
}

/// When unpacking gives up: what a hostile layer may cost at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Bytes of all layers once decompressed, tar headers and padding included. Default: 64 GiB.
    pub bytes: u64,
    /// Entries of all layers. Default: 2 million. Memory grows by about 30 bytes an entry of one layer.
    pub entries: u64,
    /// Decompressed bytes for each compressed byte of one layer, counted above its first 64 MiB. Default: 200; what
    /// images hold stays under 20 but for files of zeros.
    pub ratio: u64,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self { bytes: 64 << 30, entries: 2_000_000, ratio: 200 }
    }
}
