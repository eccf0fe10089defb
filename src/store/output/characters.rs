//! Where characters begin and end in bytes that may be UTF-8, in part or not at all.

/// The longest UTF-8 sequence.
pub(super) const MAX_CHARACTER: u64 = 4;

/// How many bytes at the end are the beginning of a character whose rest is not there.
pub(super) fn unfinished(bytes: &[u8]) -> usize {
    (1..MAX_CHARACTER as usize)
        .filter(|count| *count <= bytes.len())
        .find(|count| {
            let rest = &bytes[bytes.len() - count..];
            is_lead(rest[0]) && std::str::from_utf8(rest).is_err_and(|error| error.error_len().is_none())
        })
        .unwrap_or(0)
}

/// How many bytes at the start finish a character that began `before` them: all of them, if more are needed and `may_go_on`.
pub(super) fn rest_of_character(before: &[u8], bytes: &[u8], may_go_on: bool) -> usize {
    let begun = unfinished(before);
    if begun == 0 {
        return 0;
    }
    let mut character = before[before.len() - begun..].to_vec();
    character.extend(bytes.iter().take(MAX_CHARACTER as usize - begun));
    let length = match std::str::from_utf8(&character) {
        Ok(text) => text.chars().next().map_or(0, char::len_utf8),
        Err(error) if error.valid_up_to() > 0 => {
            String::from_utf8_lossy(&character[..error.valid_up_to()]).chars().next().map_or(0, char::len_utf8)
        }
        Err(error) if error.error_len().is_none() && may_go_on => return bytes.len(),
        Err(_) => 0,
    };
    length.saturating_sub(begun)
}

/// How many bytes at the start belong to a character whose beginning is gone.
pub(super) fn leading_continuations(bytes: &[u8]) -> usize {
    bytes.iter().take(MAX_CHARACTER as usize - 1).take_while(|byte| is_continuation(**byte)).count()
}

/// The same of what follows the first bytes `before` it that are there: they may all belong to that character.
pub(super) fn continuations_behind(before: &[u8], bytes: &[u8]) -> usize {
    if leading_continuations(before) < before.len() {
        return 0;
    }
    let most = (MAX_CHARACTER as usize - 1).saturating_sub(before.len());
    leading_continuations(bytes).min(most)
}

fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

fn is_lead(byte: u8) -> bool {
    byte >= 0b1100_0000
}
