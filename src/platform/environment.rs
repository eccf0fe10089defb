//! The process's environment block. It is copied on the JavaScript thread, which also changes it and has other things to
//! do: so as one piece of memory, and read elsewhere.

use std::ffi::{CStr, OsStr, OsString, c_char};
use std::os::unix::ffi::OsStrExt;

unsafe extern "C" {
    /// The pointers of `environ(7)`, a null one behind the last; itself null where `clearenv` has been.
    static environ: *const *const c_char;
}

/// All variables as they stand now, each with a NUL behind it. To be called where the host changes them: on Node's main thread.
pub fn block() -> Vec<u8> {
    let mut block = Vec::with_capacity(8192);
    // SAFETY: libc keeps it valid, and the thread that changes it is this one.
    let mut next = unsafe { environ };
    while !next.is_null() {
        // SAFETY: `next` is within the list, for its end has not been seen yet.
        let variable = unsafe { *next };
        if variable.is_null() {
            break;
        }
        // SAFETY: each pointer of the list is a C string.
        block.extend_from_slice(unsafe { CStr::from_ptr(variable) }.to_bytes_with_nul());
        // SAFETY: there is at least the null pointer behind a variable.
        next = unsafe { next.add(1) };
    }
    block.shrink_to_fit(); // a thousand of them may wait in a queue
    block
}

/// The names and values of a block, in its order. What has no `=` is no variable.
pub fn variables(block: &[u8]) -> impl DoubleEndedIterator<Item = (OsString, OsString)> {
    block.split(|&byte| byte == 0).filter_map(|variable| {
        // A name has at least one byte, even if that is a `=`.
        let at = 1 + variable.iter().skip(1).position(|&byte| byte == b'=')?;
        let owned = |bytes| OsStr::from_bytes(bytes).to_owned();
        Some((owned(&variable[..at]), owned(&variable[at + 1..])))
    })
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    #[test]
    fn the_block_holds_what_std_reads_of_it() {
        assert_eq!(variables(&block()).collect::<Vec<_>>(), env::vars_os().collect::<Vec<_>>());
    }

    #[test]
    fn names_end_at_the_first_equals_sign_that_is_not_their_first_byte() {
        let read = |block: &[u8]| variables(block).collect::<Vec<_>>();
        let pair = |name: &str, value: &str| (name.into(), value.into());
        assert_eq!(read(b"A=1=2\0B=\0=C=3\0none\0\0"), [pair("A", "1=2"), pair("B", ""), pair("=C", "3")]);
        assert_eq!(read(b""), []);
    }
}
