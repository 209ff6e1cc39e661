//! What an encoder epoch fixes of the compression.

use kic_base::Epoch;

/// What an epoch fixes of the compression.
pub(super) struct Settings {
    pub frames: FrameSettings,
    pub gzip_level: u32,
}

/// What decides the bytes of a frame, beside its content.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameSettings {
    /// zstd's level.
    pub level: i32,
    /// How many bytes each holds.
    pub contents: Contents,
}

/// How many bytes of the tar a frame holds; the last one holds the rest.
#[derive(Debug, Clone, Copy)]
pub(super) enum Contents {
    /// So many each.
    Same(usize),
    /// An eighth of what comes before it, down to a power of two: never less than the first, never more than the second, which are powers of two.
    ///
    /// Little is packed anew of a small layer, and frames of a large one are large enough to compress well.
    Growing(usize, usize),
}

impl Contents {
    /// How many bytes the frame holds that begins with that byte of the tar.
    pub fn at(self, offset: u64) -> usize {
        match self {
            Self::Same(content) => content,
            Self::Growing(least, most) => {
                let part = usize::try_from(offset / 8).unwrap_or(usize::MAX);
                part.checked_ilog2().map_or(least, |power| (1 << power).clamp(least, most))
            }
        }
    }

    /// How many bytes a frame holds at most.
    pub fn most(self) -> usize {
        match self {
            Self::Same(most) | Self::Growing(_, most) => most,
        }
    }
}

impl Settings {
    pub fn of(epoch: Epoch) -> Self {
        let contents = match epoch.number() {
            1 => Contents::Same(4 << 20),
            _ => Contents::Growing(128 << 10, 1 << 20),
        };
        Self { frames: FrameSettings { level: 3, contents }, gzip_level: 6 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_grow_with_what_comes_before_them() {
        let contents = Settings::of(Epoch::CURRENT).frames.contents;
        let (mut offset, mut sizes) = (0, Vec::new());
        while offset < 12 << 20 {
            let content = contents.at(offset);
            offset += content as u64;
            sizes.push(content >> 10);
        }
        let expected: Vec<usize> = [(128, 16), (256, 8), (512, 8), (1024, 4)]
            .iter()
            .flat_map(|&(size, count)| vec![size; count])
            .collect();
        assert_eq!(sizes, expected);
        assert_eq!((contents.at(u64::MAX), contents.most()), (1 << 20, 1 << 20));
        let first = Epoch::from_number(1).map(|epoch| Settings::of(epoch).frames.contents);
        assert!(
            first.is_some_and(|first| [0, 4 << 20, u64::MAX]
                .iter()
                .all(|offset| first.at(*offset) == 4 << 20))
        );
    }
}
