/// Turns the parser's character counts into byte offsets. Questions come nearly in order, so it walks from
/// the last answer, in either direction.
pub(crate) struct Offsets<'a> {
    text: &'a [u8],
    ascii: bool,
    character: usize,
    byte: usize,
}

impl<'a> Offsets<'a> {
    pub(crate) fn new(text: &'a str, ascii: bool) -> Self {
        Self { text: text.as_bytes(), ascii, character: 0, byte: 0 }
    }

    /// The byte at which the character of that number begins; the end of the text for any number past it.
    pub(crate) fn byte(&mut self, character: usize) -> usize {
        if self.ascii {
            return character.min(self.text.len());
        }
        while self.character < character && self.byte < self.text.len() {
            self.byte += 1;
            while self.text.get(self.byte).is_some_and(|byte| continues(*byte)) {
                self.byte += 1;
            }
            self.character += 1;
        }
        while self.character > character {
            self.byte -= 1;
            while continues(self.text[self.byte]) {
                self.byte -= 1;
            }
            self.character -= 1;
        }
        self.byte
    }
}

const fn continues(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_found_forwards_and_backwards() {
        let text = "aé🦀z";
        let mut offsets = Offsets::new(text, false);
        let expected: Vec<usize> = text.char_indices().map(|(byte, _)| byte).chain([text.len()]).collect();
        for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]] {
            for character in order {
                assert_eq!(offsets.byte(character), expected[character]);
            }
        }
        assert_eq!(offsets.byte(99), text.len());
        assert_eq!(offsets.byte(1), 1);
    }
}
