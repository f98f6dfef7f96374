//! Loops over a text, compiled for the instructions that the machine turns out to have.
//!
//! [`kernels`] says what a set of instructions has to give, [`portable`] gives it in plain Rust, and each other file
//! holds one set. A set is chosen per call, at runtime; all give the same bits.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod kernels;
mod portable;

pub use kernels::{BLOCK, Kernels, Masks, Routine};

/// Runs a routine with the best instructions of this machine.
#[inline]
pub fn dispatch<R: Routine>(routine: R) -> R::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(kernels) = avx512::Avx512::new().filter(|_| allowed(2)) {
            return kernels.run(routine);
        }
        if let Some(kernels) = avx2::Avx2::new().filter(|_| allowed(1)) {
            return kernels.run(routine);
        }
    }
    routine.run(portable::Portable)
}

/// Asks for the beginning of a text that is scanned soon.
pub fn prefetch(text: &str) {
    #[cfg(target_arch = "x86_64")]
    for line in text.as_bytes().chunks(BLOCK).take(16) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: prefetching is allowed at any address, and reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}

/// Whether a set of instructions may be used: any, but in tests.
#[cfg(target_arch = "x86_64")]
fn allowed(set: u8) -> bool {
    #[cfg(test)]
    return set <= LIMIT.get();
    #[cfg(not(test))]
    return set <= 2;
}

#[cfg(test)]
thread_local! {
    /// Lets tests run what lesser machines would: 0 is [`portable::Portable`], 1 AVX2, 2 AVX-512.
    pub static LIMIT: std::cell::Cell<u8> = const { std::cell::Cell::new(2) };
}

#[cfg(test)]
mod tests;
