//! The process's environment block. It is copied on the JavaScript thread, which also changes it and has other things to
//! do: so as one piece of memory, and read elsewhere.

use std::ffi::{CStr, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;

unsafe extern "C" {
    /// The pointers of `environ(7)`, a null one behind the last; itself null where `clearenv` has been.
    static environ: *const *const c_char;
}

/// Variables as a program is started with them: `NAME=value` each, with a NUL behind it.
#[derive(Default)]
pub struct Block(Vec<u8>);

impl Block {
    /// All variables of this process as they stand now. To be called where the host changes them: on Node's main thread.
    pub fn of_this_process() -> Block {
        let mut block = Vec::with_capacity(8192);
        // SAFETY: libc keeps it valid as long as no other thread changes it. Node does so on this one; of workers that share the
        // environment the face asks Node instead, but for those that were made before we were loaded, and native code that calls `setenv`
        // on another thread is its author's: docs/compatibility.md says so.
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
        Block(block)
    }

    /// The variables in this order. A NUL in one would make two of it: callers have refused that.
    pub fn of<'a>(variables: impl Iterator<Item = (&'a OsStr, &'a OsStr)>) -> Block {
        let mut block = Vec::with_capacity(8192);
        for (name, value) in variables {
            let begin = block.len();
            [name.as_bytes(), b"=", value.as_bytes(), b"\0"].iter().for_each(|part| block.extend_from_slice(part));
            CStr::from_bytes_with_nul(&block[begin..]).expect("the door refuses a NUL in any text");
        }
        Block(block)
    }

    /// The names and values, in their order. What has no `=` is no variable.
    pub fn variables(&self) -> impl DoubleEndedIterator<Item = (&OsStr, &OsStr)> {
        self.0.split(|&byte| byte == 0).filter_map(|variable| {
            // A name has at least one byte, even if that is a `=`.
            let at = 1 + variable.iter().skip(1).position(|&byte| byte == b'=')?;
            Some((OsStr::from_bytes(&variable[..at]), OsStr::from_bytes(&variable[at + 1..])))
        })
    }

    /// Each variable as a program is given it.
    pub fn lines(&self) -> impl Iterator<Item = &CStr> {
        let whole = |line| CStr::from_bytes_with_nul(line).expect("a line ends at its first NUL");
        self.0.split_inclusive(|&byte| byte == 0).map(whole)
    }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::ffi::OsString;

    use super::*;

    fn owned(block: &Block) -> Vec<(OsString, OsString)> {
        block.variables().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn the_block_holds_what_std_reads_of_it() {
        assert_eq!(owned(&Block::of_this_process()), env::vars_os().collect::<Vec<_>>());
    }

    #[test]
    fn names_end_at_the_first_equals_sign_that_is_not_their_first_byte() {
        let read = |block: &[u8]| owned(&Block(block.to_vec()));
        let pair = |name: &str, value: &str| (name.into(), value.into());
        assert_eq!(read(b"A=1=2\0B=\0=C=3\0none\0\0"), [pair("A", "1=2"), pair("B", ""), pair("=C", "3")]);
        assert_eq!(read(b""), []);
    }

    #[test]
    fn a_program_is_given_what_was_put_in() {
        let variables = [("A", "1=2"), ("B", "")].map(|(name, value)| (OsStr::new(name), OsStr::new(value)));
        let block = Block::of(variables.into_iter());
        assert_eq!(block.lines().collect::<Vec<_>>(), [c"A=1=2", c"B="]);
        assert_eq!(block.variables().collect::<Vec<_>>(), variables);
    }
}
