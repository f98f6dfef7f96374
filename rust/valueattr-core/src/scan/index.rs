//! Indices in four bytes: half the room of a `usize` in every table and every vector register.
//!
//! Numbers are narrowed here and nowhere else in the scanner. What a lexicon holds is counted by [`small`], which
//! may fail. What a text holds (bytes, characters, words, sentences) is never more than its bytes, so a text is measured
//! once, by [`check_length`], and its numbers go through [`within_text`], which then cannot fail.

/// The longest text: the block behind its last byte still begins at a number of four bytes.
pub const LONGEST_TEXT: usize = u32::MAX as usize - 64;

/// More of something than indices in four bytes can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lexicon stands for more words or wordings than can be numbered")]
pub struct TooMany;

/// A text that is too long to be scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has {bytes} bytes; the longest text that can be scanned has {LONGEST_TEXT}")]
pub struct TooLong {
    pub bytes: usize,
}

/// The index `n` in four bytes.
pub fn small(n: usize) -> Result<u32, TooMany> {
    u32::try_from(n).map_err(|_| TooMany)
}

/// Whether a text of so many bytes can be scanned.
///
/// # Errors
/// It is too long.
pub fn check_length(bytes: usize) -> Result<(), TooLong> {
    if bytes <= LONGEST_TEXT {
        Ok(())
    } else {
        Err(TooLong { bytes })
    }
}

/// Narrows a number that is no larger than the length of a text which [`check_length`] let pass.
#[inline(always)]
pub fn within_text(n: usize) -> u32 {
    u32::try_from(n).expect("the text was measured before it was scanned")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_of_four_bytes_is_the_last_index() {
        assert_eq!(small(u32::MAX as usize), Ok(u32::MAX));
        assert_eq!(small(u32::MAX as usize + 1), Err(TooMany));
    }

    #[test]
    fn a_text_that_offsets_cannot_reach_the_end_of_is_refused() {
        assert_eq!(check_length(LONGEST_TEXT), Ok(()));
        let bytes = LONGEST_TEXT + 1;
        assert_eq!(check_length(bytes), Err(TooLong { bytes }));
    }
}
