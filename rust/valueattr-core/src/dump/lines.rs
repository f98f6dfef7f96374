//! What the lines of a dump hold, and how the text is taken out of one.

use std::borrow::Cow;

use super::json::read_text;
use super::parsed::parsed_text;
use super::path::PathStep;

/// What a line holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lines {
    /// The text itself.
    Text,
    /// A JSON object or array with the text at this path.
    Json { field: Vec<PathStep>, chat: bool },
}

impl Lines {
    /// The text of a line, in the line or in `buffer`.
    pub(super) fn text_of<'a>(
        &self,
        line: &'a [u8],
        buffer: &'a mut String,
    ) -> Result<Cow<'a, str>, String> {
        match self {
            Self::Text => simdutf8::compat::from_utf8(line)
                .map(Cow::Borrowed)
                .map_err(|error| {
                    format!(
                        "expected UTF-8, found byte {:#04x}",
                        line[error.valid_up_to()]
                    )
                }),
            Self::Json { field, chat } => {
                let line = line.trim_ascii();
                if !chat
                    && let Ok(line) = simdutf8::basic::from_utf8(line)
                    && read_text(line, field, buffer)
                {
                    return Ok(Cow::Borrowed(buffer));
                }
                parsed_text(line, field, *chat).map(Cow::Owned)
            }
        }
    }
}
