//! What a character is to the scanner: part of a word, an apostrophe, white space, the end of a sentence.
//!
//! These functions are the definition; [`super::blocks`] computes the same for 64 bytes at a time.

/// Letters and digits: of ASCII, and everything beyond it but the marks, symbols and spaces listed here.
#[must_use]
pub fn is_word(c: char) -> bool {
    match c {
        '\0'..='\x7f' => c.is_ascii_alphanumeric(),
        'ª' | 'µ' | 'º' => true,
        '\u{80}'..='\u{bf}'
        | '×'
        | '÷'
        | '\u{2bc}'
        | '\u{1680}'
        | '\u{2000}'..='\u{2bff}'
        | '\u{2e00}'..='\u{2e7f}'
        | '\u{3000}'..='\u{303f}'
        | '\u{fe10}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff0f}'
        | '\u{feff}'
        | '\u{fff0}'..='\u{ffff}'
        | '\u{1f000}'..='\u{1faff}' => false,
        _ => true,
    }
}

/// `'` and its typographic forms.
#[must_use]
pub fn is_apostrophe(c: char) -> bool {
    matches!(
        c,
        '\'' | '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2bc}' | '\u{ff07}'
    )
}

/// White space, the byte order mark and the zero-width space.
#[must_use]
pub fn is_space(c: char) -> bool {
    matches!(c, '\t'..='\r' | ' ' | '\u{85}' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200b}' | '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}' | '\u{feff}')
}

/// What may stand between two words of a phrase.
#[must_use]
pub fn is_joiner(c: char) -> bool {
    is_space(c) || matches!(c, ',' | '-' | '\u{2010}'..='\u{2015}')
}

/// What ends a sentence if white space follows, or marks that close and then white space.
#[must_use]
pub fn ends_sentence(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…')
}

/// What may stand between the end of a sentence and the white space after it.
#[must_use]
pub fn closes(c: char) -> bool {
    matches!(c, '"' | '\u{201d}' | ')' | ']' | '*' | '_') || is_apostrophe(c)
}

/// Lower case where that is one character, the plain apostrophe for its forms.
#[must_use]
pub fn fold(c: char) -> char {
    if is_apostrophe(c) {
        return '\'';
    }
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}
