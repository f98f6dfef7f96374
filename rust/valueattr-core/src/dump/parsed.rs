//! The text in a line of JSON, by a parser that reads all of JSON and says what it found instead of a text.
//!
//! [`json`](super::json) is faster and refuses some lines; these come here.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::path::{PathStep, dotted};

/// As deep as `serde_json` reads; the parser calls itself for each level, and deeper lines would end its stack.
pub(super) const DEEPEST: usize = 128;

/// The text at a path of a line of JSON, or what is wrong with it.
pub(super) fn parsed_text(line: &[u8], field: &[PathStep], chat: bool) -> Result<String, String> {
    if is_too_deep(line) {
        return Err(format!("nested deeper than {DEEPEST} levels"));
    }
    let mut deserializer = sonic_rs::Deserializer::from_slice(line);
    let seed = At { path: field, chat };
    let found = seed.deserialize(&mut deserializer).and_then(|found| {
        // What follows the value is not looked at; it is an error that something does.
        deserializer.end().map(|()| found)
    });
    match found {
        Ok(Found::Text(text)) => Ok(text),
        Ok(Found::Nothing(expected)) => Err(format!("{}: {expected}", dotted(field))),
        Err(error) => {
            let kind = if error.is_unmatched_type() {
                "no chat messages" // whose types are the only ones that are asked for
            } else {
                "no JSON"
            };
            let message = error.to_string();
            Err(format!(
                "{kind}: {}",
                message.lines().next().unwrap_or_default()
            ))
        }
    }
}

/// Whether more than [`DEEPEST`] brackets are open at once.
fn is_too_deep(line: &[u8]) -> bool {
    // Few lines have so many brackets at all, and counting them is quick.
    let opening = line.iter().filter(|byte| matches!(byte, b'[' | b'{'));
    if opening.count() <= DEEPEST {
        return false;
    }
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for byte in line {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return true;
        }
    }
    false
}

enum Found {
    Text(String),
    Nothing(&'static str),
}

const MISSING: &str = "there is no such field";
const TWICE: &str = "the field is there twice";

/// Takes the text at a path out of a JSON value.
#[derive(Clone, Copy)]
struct At<'p> {
    path: &'p [PathStep],
    chat: bool,
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Found, E> {
        if self.path.is_empty() && !self.chat {
            Ok(Found::Text(text.to_owned()))
        } else {
            Ok(Found::Nothing(self.instead("a text")))
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let mut found = Found::Nothing(self.instead("an object"));
        let Some((step, path)) = self.path.split_first() else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(found);
        };
        let mut times = 0;
        while let Some(is_wanted) = map.next_key_seed(IsKey(step))? {
            if is_wanted {
                found = map.next_value_seed(At { path, ..self })?;
                times += 1;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(if times > 1 {
            Found::Nothing(TWICE)
        } else {
            found
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Found, A::Error> {
        let mut found = Found::Nothing(self.instead("a list"));
        match self.path.split_first() {
            None if self.chat => {
                let mut turns = String::new();
                while let Some(turn) = list.next_element::<Turn>()? {
                    if turn.role == "assistant" {
                        turn.content.add_to(&mut turns);
                    }
                }
                found = Found::Text(turns);
            }
            Some((PathStep::Index(index), path)) => {
                for _ in 0..*index {
                    if list.next_element::<IgnoredAny>()?.is_none() {
                        return Ok(Found::Nothing(MISSING));
                    }
                }
                if let Some(there) = list.next_element_seed(At { path, ..self })? {
                    found = there;
                }
                while list.next_element::<IgnoredAny>()?.is_some() {}
            }
            _ => while list.next_element::<IgnoredAny>()?.is_some() {},
        }
        Ok(found)
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found::Nothing(self.instead("null")))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found, E> {
        Ok(Found::Nothing(self.instead("a boolean")))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Found, E> {
        Ok(Found::Nothing(self.instead("a number")))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found, E> {
        Ok(Found::Nothing(self.instead("a number")))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found, E> {
        Ok(Found::Nothing(self.instead("a number")))
    }
}

/// Whether a key is the one of a step.
struct IsKey<'p>(&'p PathStep);

impl<'de> DeserializeSeed<'de> for IsKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(self.0.is_key(key))
    }
}

impl At<'_> {
    /// What to say when this is found where a path ends, or before it does.
    fn instead(self, kind: &'static str) -> &'static str {
        if !self.path.is_empty() {
            return MISSING;
        }
        match kind {
            "a text" => "expected a list of chat messages, found a text",
            "null" => "expected a text, found null",
            "a number" => "expected a text, found a number",
            "a boolean" => "expected a text, found a boolean",
            "an object" => "expected a text, found an object",
            _ => {
                "expected a text, found a list; lists of chat messages have to be scanned as chats"
            }
        }
    }
}

#[derive(serde::Deserialize)]
struct Turn {
    role: String,
    #[serde(default)]
    content: Content,
}

/// What a turn says: a text, or parts of which some are texts, or nothing (as when it calls a tool).
#[derive(serde::Deserialize, Default)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
    #[default]
    Nothing,
}

#[derive(serde::Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

impl Content {
    /// Texts are paragraphs: no phrase runs from one to the next.
    fn add_to(&self, turns: &mut String) {
        let parts: Vec<&str> = match self {
            Self::Text(text) => vec![text],
            Self::Parts(parts) => parts.iter().map(|part| part.text.as_str()).collect(),
            Self::Nothing => Vec::new(),
        };
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            if !turns.is_empty() {
                turns.push_str("\n\n");
            }
            turns.push_str(part);
        }
    }
}
