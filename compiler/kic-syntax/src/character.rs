//! What KDL 2 says of single characters.

/// The length of the newline that `text` starts with, 0 when it starts with none.
pub(crate) fn newline_length(text: &[u8]) -> usize {
    match text {
        [b'\r', b'\n', ..] => 2,
        [b'\n' | b'\r' | 0x0b | 0x0c, ..] => 1,
        [0xc2, 0x85, ..] => 2,
        [0xe2, 0x80, 0xa8 | 0xa9, ..] => 3,
        _ => 0,
    }
}

/// The length of the space character that `text` starts with, 0 when it starts with none.
pub(crate) fn space_length(text: &[u8]) -> usize {
    match text {
        [b' ' | b'\t', ..] => 1,
        [0xc2, 0xa0, ..] => 2,
        [0xe1, 0x9a, 0x80, ..] | [0xe2, 0x80, 0x80..=0x8a | 0xaf, ..] => 3,
        [0xe2, 0x81, 0x9f, ..] | [0xe3, 0x80, 0x80, ..] => 3,
        _ => 0,
    }
}

/// The length of all spaces that `text` starts with.
pub(crate) fn spaces_length(text: &[u8]) -> usize {
    let mut length = 0;
    loop {
        match space_length(&text[length..]) {
            0 => return length,
            one => length += one,
        }
    }
}

/// Whether a newline may start with that byte.
pub(crate) fn maybe_newline(byte: u8) -> bool {
    matches!(byte, 0x0a..=0x0d | 0xc2 | 0xe2)
}

/// The length of all spaces and newlines that `text` starts with.
pub(crate) fn blank_length(text: &[u8]) -> usize {
    let mut length = 0;
    loop {
        match space_length(&text[length..]).max(newline_length(&text[length..])) {
            0 => return length,
            one => length += one,
        }
    }
}

/// Whether KDL allows the character nowhere in a text, not even in strings and comments: control characters,
/// marks of direction, and the byte order mark, which may stand only at the very start.
pub(crate) fn is_disallowed(c: char) -> bool {
    matches!(c,
        '\0'..='\x08' | '\x0e'..='\x1f' | '\x7f' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The ASCII character that a word processor, or an input method, turned into `c`; `None` for others.
pub(crate) fn looks_like(c: char) -> Option<char> {
    Some(match c {
        '“' | '”' | '„' | '‟' | '″' | '＂' => '"',
        '＝' | '﹦' | '🟰' => '=',
        '｛' | '﹛' | '❴' => '{',
        '｝' | '﹜' | '❵' => '}',
        '（' | '﹙' => '(',
        '）' | '﹚' => ')',
        '；' | '﹔' | '\u{37e}' => ';',
        '＃' | '﹟' => '#',
        '＼' | '﹨' => '\\',
        '／' | '⁄' | '∕' => '/',
        _ => return None,
    })
}

/// Whether nothing shows where the character stands, though it is no space to KDL.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}' | '\u{2060}')
}

/// The character for a message: `U+0000`, with its name where it has one that users know.
pub(crate) fn describe(c: char) -> String {
    let name = match c {
        '\0' => " (NUL)",
        '\x08' => " (backspace)",
        '\x1b' => " (escape, the start of a terminal colour)",
        '\x7f' => " (delete)",
        '\u{ad}' => " (soft hyphen)",
        '\u{200b}' => " (zero-width space)",
        '\u{2060}' => " (word joiner)",
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            " (a mark that changes the direction of text)"
        }
        '\u{feff}' => " (byte order mark)",
        _ => "",
    };
    format!("U+{:04X}{name}", u32::from(c))
}
