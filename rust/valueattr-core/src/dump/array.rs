//! A JSON array of many rows, read as if each of its items were a line.
//!
//! Bytes are replaced one for one as they are read, so that an array of any size is never held: the bracket at its end
//! by a space, the commas between its items by line feeds, and line feeds within an item by spaces.

use std::io::{self, Read};

/// Reads what stands behind the first bracket of an array.
pub(super) struct ArrayItems<R> {
    source: R,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    /// At so many brackets within the array.
    Item {
        depth: u64,
    },
    /// In a string at so many brackets within the array; the next byte may be escaped.
    String {
        depth: u64,
        escaped: bool,
    },
    End,
}

impl<R: Read> ArrayItems<R> {
    pub fn new(source: R) -> Self {
        let state = State::Item { depth: 0 };
        Self { source, state }
    }

    fn next(&mut self, byte: &mut u8) -> io::Result<()> {
        self.state = match (self.state, *byte) {
            (State::Item { depth }, b'"') => State::String {
                depth,
                escaped: false,
            },
            (State::Item { depth }, b'[' | b'{') => State::Item { depth: depth + 1 },
            (State::Item { depth: 0 }, b']') => {
                *byte = b' ';
                State::End
            }
            (State::Item { depth }, b']' | b'}') => State::Item {
                depth: depth.saturating_sub(1),
            },
            (State::Item { depth: 0 }, b',') => {
                *byte = b'\n';
                self.state
            }
            (State::Item { .. }, b'\n') => {
                *byte = b' ';
                self.state
            }
            (State::Item { .. }, _) => self.state,
            (State::String { depth, escaped }, found) => {
                if found == b'\n' {
                    *byte = b'\r'; // no JSON either way, but one item
                }
                match found {
                    b'"' if !escaped => State::Item { depth },
                    _ => State::String {
                        depth,
                        escaped: found == b'\\' && !escaped,
                    },
                }
            }
            (State::End, found) if found.is_ascii_whitespace() => {
                *byte = b' ';
                self.state
            }
            (State::End, _) => return Err(invalid("more follows the end of the JSON array")),
        };
        Ok(())
    }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

impl<R: Read> Read for ArrayItems<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buffer)?;
        if n == 0 && !buffer.is_empty() {
            return match self.state {
                State::Item { .. } | State::String { .. } => {
                    Err(invalid("the JSON array does not close"))
                }
                State::End => Ok(0),
            };
        }
        (buffer[..n].iter_mut()).try_for_each(|byte| self.next(byte))?;
        Ok(n)
    }
}
