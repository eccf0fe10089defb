//! The checksum at the end of every record: a disk that gives back other bytes than it got makes no other exit code of one. It is
//! no protection from anybody.

const KEY: &[u8] = b",\"check\":\"";
const END: &[u8] = b"\"}\n";
const DIGITS: usize = 16;

/// The bytes that a seal has.
pub const SEAL: usize = KEY.len() + DIGITS + END.len();

/// What ends a record that is complete but for its closing brace: its checksum, the brace and a newline.
pub fn seal(record: &[u8]) -> [u8; SEAL] {
    let mut seal = [0; SEAL];
    let sum = sum(record);
    let digits = (0..DIGITS).rev().map(|digit| b"0123456789abcdef"[(sum >> (4 * digit)) as usize & 15]);
    let bytes = KEY.iter().copied().chain(digits).chain(END.iter().copied());
    seal.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = byte);
    seal
}

/// Whether a record is not the one that was sealed. One without a seal was written before there were any.
pub fn is_spoilt(line: &[u8]) -> bool {
    match line.split_last_chunk::<SEAL>() {
        Some((record, tail)) if tail.starts_with(KEY) => *tail != seal(record),
        _ => false,
    }
}

/// FNV-1a by words of eight bytes instead of single ones. Each step is one-to-one in what went before and in its word, so bytes that
/// differ within one word are always noticed.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(slot, byte)| *slot = *byte);
    let words = words.iter().chain([&last]).map(|word| u64::from_le_bytes(*word));
    words.fold(0xcbf2_9ce4_8422_2325, |sum, word| (sum ^ word).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    fn sealed(record: &[u8]) -> Vec<u8> {
        [record, &seal(record)].concat()
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        // R10
        for record in [&b"{"[..], b"{\"version\":1", b"{\"version\":1,\"exitCode\":3,\"signal\":null"] {
            let line = sealed(record);
            assert!(!is_spoilt(&line));
            for bit in 0..8 * record.len() {
                let mut spoilt = line.clone();
                spoilt[bit / 8] ^= 1 << (bit % 8);
                assert!(is_spoilt(&spoilt), "bit {bit} of {}", record.escape_ascii());
            }
        }
    }

    #[test]
    fn a_seal_that_was_changed_itself_fits_nothing() {
        let line = sealed(b"{\"version\":1");
        for at in line.len() - DIGITS - END.len()..line.len() {
            let mut spoilt = line.clone();
            spoilt[at] ^= 1;
            assert!(is_spoilt(&spoilt), "byte {at}");
        }
    }

    #[test]
    fn a_record_without_a_seal_is_not_spoilt() {
        assert!(!is_spoilt(b"{\"version\":1}\n"));
        assert!(!is_spoilt(b""));
    }
}
