//! Fresh memory from the kernel, given back when dropped, and the functions that the compiler calls by name.

use core::ops::{Deref, DerefMut};
use core::{ptr, slice};

use super::machine::number;
use super::{Result, call, ignore};

/// A mapping of zeroes that nobody else has. Untouched pages cost nothing.
pub(crate) struct Region<T: Zeroable> {
    start: *mut T,
    length: usize,
}

/// A plain number, for which zeroes are a value.
pub(crate) trait Zeroable: Copy {}
impl Zeroable for u8 {}
impl Zeroable for i32 {}
impl Zeroable for u32 {}

impl<T: Zeroable> Region<T> {
    /// Memory for this many values.
    pub(crate) fn new(length: usize) -> Result<Region<T>> {
        const READ_WRITE: usize = 3;
        const PRIVATE_ANONYMOUS: usize = 0x22;
        let bytes = length.saturating_mul(size_of::<T>());
        // SAFETY: an anonymous mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe { call(number::MMAP, [0, bytes, READ_WRITE, PRIVATE_ANONYMOUS, usize::MAX, 0]) }?;
        Ok(Region { start: ptr::with_exposed_provenance_mut(start), length })
    }
}

impl<T: Zeroable> Deref for Region<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the mapping lives as long as `self`, is aligned to a page and holds zeroes or what was written since.
        unsafe { slice::from_raw_parts(self.start, self.length) }
    }
}

impl<T: Zeroable> DerefMut for Region<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`, and `&mut self` says that there is no other reference.
        unsafe { slice::from_raw_parts_mut(self.start, self.length) }
    }
}

impl<T: Zeroable> Drop for Region<T> {
    #[inline(never)]
    fn drop(&mut self) {
        let bytes = self.length.saturating_mul(size_of::<T>());
        // SAFETY: the mapping is ours, and no reference into it outlives `self`.
        let unmapped = unsafe { call(number::MUNMAP, [self.start as usize, bytes, 0, 0, 0, 0]) };
        // A mapping that stays is a few pages until exit.
        ignore(unmapped);
    }
}

/// # Safety
/// As in C: both must be readable for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    for at in 0..length {
        // SAFETY: `at` is below the length that the caller vouches for. Volatile, so that this loop stays a loop.
        let a = unsafe { byte_at(left, at) };
        // SAFETY: the same for the other side.
        let b = unsafe { byte_at(right, at) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

/// # Safety
/// As in C: both must be readable for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    // SAFETY: the same contract.
    unsafe { memcmp(left, right, length) }
}

/// # Safety
/// As in C: there must be a NUL.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: no byte before this one was the NUL that the caller vouches for.
    while unsafe { byte_at(text, length) } != 0 {
        length += 1;
    }
    length
}

/// # Safety
/// The byte at this distance must be readable.
unsafe fn byte_at(start: *const u8, distance: usize) -> u8 {
    // SAFETY: the caller vouches that the byte is there.
    unsafe { ptr::read_volatile(start.wrapping_add(distance)) }
}

/// Nothing unwinds here; builds without optimisation keep a reference to it in `core`.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
