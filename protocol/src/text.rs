//! Decimal numbers and bounded lines without allocation.

use crate::check;

/// A line that is built up in a buffer of fixed size. What does not fit is cut; callers size the buffer so that nothing is.
pub(crate) struct Line<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> Line<'a> {
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        Line { buffer, length: 0 }
    }

    pub(crate) fn text(&mut self, text: &[u8]) -> &mut Self {
        for byte in text {
            if let Some(slot) = self.buffer.get_mut(self.length) {
                *slot = *byte;
                self.length += 1;
            }
        }
        self
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.padded(number, 1)
    }

    /// The number, with spaces before it up to `width`.
    pub(crate) fn padded(&mut self, mut number: u64, width: usize) -> &mut Self {
        let mut digits = [b' '; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        let from = at.min(digits.len().saturating_sub(width));
        self.text(&digits[from..])
    }

    pub(crate) fn optional(&mut self, number: Option<u64>) -> &mut Self {
        match number {
            Some(number) => self.number(number),
            None => self.text(b"null"),
        }
    }

    /// A record that lacks its closing brace, with its checksum behind it.
    pub(crate) fn sealed(mut self) -> &'a [u8] {
        let seal = check::seal(&self.buffer[..self.length]);
        self.text(&seal);
        self.done()
    }

    pub(crate) fn done(self) -> &'a [u8] {
        &self.buffer[..self.length]
    }
}

/// A decimal number and nothing else, or `None`.
pub(crate) fn parse_number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
