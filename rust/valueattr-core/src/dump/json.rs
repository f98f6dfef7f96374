//! The text in a line of JSON, taken straight from the line.
//!
//! What this refuses may still be JSON, or a line that holds no text: [`parsed`](super::parsed) is asked then.

use super::path::PathStep;

/// Deeper values are refused.
const DEEPEST: usize = 32;

/// Puts the text at a path into `text`. Says whether the line is JSON and holds one there.
pub(super) fn read_text(line: &str, path: &[PathStep], text: &mut String) -> bool {
    // In strings control characters are errors, between values they are rare.
    if line.bytes().fold(u8::MAX, u8::min) < b' ' {
        return false;
    }
    let mut line = Line { line, at: 0 };
    line.value(Some(path), text, 0) == Some(true) && line.next().is_none()
}

/// A line and the byte to go on from. All methods give up with `None`.
struct Line<'a> {
    line: &'a str,
    at: usize,
}

impl Line<'_> {
    fn peek(&self) -> Option<u8> {
        self.line.as_bytes().get(self.at).copied()
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// The next byte that is no space.
    fn next(&mut self) -> Option<u8> {
        loop {
            match self.byte()? {
                b' ' => {}
                byte => return Some(byte),
            }
        }
    }

    /// Reads a value. Says whether the path leads to a text in it.
    fn value(
        &mut self,
        path: Option<&[PathStep]>,
        text: &mut String,
        depth: usize,
    ) -> Option<bool> {
        if depth > DEEPEST {
            return None;
        }
        let (step, rest) = path.and_then(<[PathStep]>::split_first).unzip();
        let mut found = false;
        match self.next()? {
            b'"' => {
                found = path.is_some() && step.is_none();
                text.truncate(if found { 0 } else { text.len() });
                self.string(found.then_some(text))?;
            }
            b'{' => {
                let mut was_step = false;
                self.items(b'}', |line, _| {
                    let is_step = line.key(step)?;
                    (!(is_step && was_step)).then_some(())?; // there twice: which one is meant?
                    was_step |= is_step;
                    found |= line.value(rest.filter(|_| is_step), text, depth + 1)?;
                    Some(())
                })?;
            }
            b'[' => self.items(b']', |line, index| {
                let is_step = step == Some(&PathStep::Index(index));
                found |= line.value(rest.filter(|_| is_step), text, depth + 1)?;
                Some(())
            })?,
            b't' => self.literal("rue")?,
            b'f' => self.literal("alse")?,
            b'n' => self.literal("ull")?,
            first => self.number(first)?,
        }
        Some(found)
    }

    /// Reads what stands between commas, up to the closing bracket.
    fn items(
        &mut self,
        close: u8,
        mut item: impl FnMut(&mut Self, usize) -> Option<()>,
    ) -> Option<()> {
        if self.next()? == close {
            return Some(());
        }
        self.at -= 1;
        for index in 0.. {
            item(self, index)?;
            match self.next()? {
                b',' => {}
                byte => return (byte == close).then_some(()),
            }
        }
        None
    }

    /// Reads a key and the colon. Says whether it is the key of the step.
    fn key(&mut self, step: Option<&PathStep>) -> Option<bool> {
        (self.next()? == b'"').then_some(())?;
        let start = self.at;
        self.string(None)?;
        let key = &self.line[start..self.at - 1];
        (!key.contains('\\') && self.next()? == b':').then_some(())?;
        Some(step.is_some_and(|step| step.is_key(key)))
    }

    /// Reads a string behind its opening mark.
    fn string(&mut self, mut text: Option<&mut String>) -> Option<()> {
        loop {
            let rest = &self.line[self.at..];
            let end = memchr::memchr2(b'"', b'\\', rest.as_bytes())?;
            if let Some(text) = &mut text {
                text.push_str(&rest[..end]);
            }
            self.at += end + 1;
            if rest.as_bytes()[end] == b'"' {
                return Some(());
            }
            let escaped = self.escaped()?;
            if let Some(text) = &mut text {
                text.push(escaped);
            }
        }
    }

    /// The character that a backslash begins.
    fn escaped(&mut self) -> Option<char> {
        Some(match self.byte()? {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            mark @ (b'"' | b'\\' | b'/') => char::from(mark),
            b'u' => {
                let unit = self.utf16()?;
                if !(0xD800..0xDC00).contains(&unit) {
                    return char::from_u32(unit);
                }
                self.literal("\\u")?;
                let low = self.utf16()?.checked_sub(0xDC00)?;
                (low < 0x400).then_some(())?;
                return char::from_u32(0x10000 + ((unit - 0xD800) << 10 | low));
            }
            _ => return None,
        })
    }

    /// Reads four hexadecimal digits.
    fn utf16(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |unit, _| {
            Some(unit << 4 | char::from(self.byte()?).to_digit(16)?)
        })
    }

    fn literal(&mut self, rest: &str) -> Option<()> {
        let is_there = self.line.as_bytes()[self.at..].starts_with(rest.as_bytes());
        self.at += rest.len();
        is_there.then_some(())
    }

    fn number(&mut self, first: u8) -> Option<()> {
        let first = if first == b'-' { self.byte()? } else { first };
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return None,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.byte()?.is_ascii_digit().then_some(())?;
            self.digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            let sign_or_digit = self.byte()?;
            let digit = match sign_or_digit {
                b'+' | b'-' => self.byte()?,
                digit => digit,
            };
            digit.is_ascii_digit().then_some(())?;
            self.digits();
        }
        Some(())
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }
}
