use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::scan::ENGLISH;

fn chunks(bytes: &[u8]) -> io::Result<Vec<Chunk>> {
    let source = Counted(
        Box::new(io::Cursor::new(bytes.to_vec())),
        Arc::new(AtomicU64::new(0)),
    );
    let mut all = Vec::new();
    read_chunks(source, |chunk| {
        all.push(chunk);
        true
    })?;
    Ok(all)
}

fn json(field: &str) -> Lines {
    Lines::Json {
        field: Step::path(field),
        chat: false,
    }
}

type Rows = Vec<(u64, String)>;

fn rows(bytes: &[u8], lines: &Lines) -> io::Result<(Rows, Vec<BadLine>)> {
    let (mut rows, mut bad) = (Vec::new(), Vec::new());
    for chunk in chunks(bytes)? {
        for (row, line) in chunk.lines() {
            match lines.text_of(line, &mut String::new()) {
                Ok(text) => rows.push((row, text.into_owned())),
                Err(message) => bad.push(BadLine { row, message }),
            }
        }
        bad.extend(chunk.bad);
    }
    Ok((rows, bad))
}

#[test]
fn chunks_end_with_lines_however_long_they_are() {
    let line = |i: usize| {
        format!(
            "{{\"text\": \"{i} {}\"}}\n",
            "x".repeat(i * 7919 % 3_000_000)
        )
    };
    let dump: String = (0..12).map(line).collect();
    let (rows, bad) = rows(dump.as_bytes(), &json("text")).expect("readable");
    assert!(bad.is_empty());
    assert_eq!(
        rows.iter().map(|row| row.0).collect::<Vec<_>>(),
        (0..12).collect::<Vec<_>>()
    );
    for (i, (_, text)) in rows.iter().enumerate() {
        assert!(text.starts_with(&format!("{i} ")));
        assert_eq!(text.len(), format!("{i} ").len() + i * 7919 % 3_000_000);
    }
}

fn looks_compressed(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1F, 0x8B]) || bytes.starts_with(&[0x28, 0xB5, 0x2F, 0xFD])
}

fn any_json() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => prop::sample::select(vec![
            "{", "}", "[", "]", ":", ",", "\"", "\"text\"", "\"a\"", "0", "-1.5e3", "null", "true", "\\", "\\u", "\\ud800",
            "\\udc00", "\\n", "\"Perhaps.\"", "\n", "\r\n", " ", "{\"text\": \"I think\"}\n", "{\"text\": {\"a\": [\"may\"]}}\n",
            "{\"text\": [{\"role\": \"assistant\", \"content\": \"maybe\"}]}\n",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Objects, one in two of them with a character too few.
fn almost_json() -> impl Strategy<Value = String> {
    let pieces = vec![
        "I think",
        "\u{e9}",
        "\u{1f600}",
        "\\n",
        "\\\"",
        "\\u00e9",
        "\\ud83d\\ude00",
        "\\ud800",
        "\\udc00",
        "\\x",
        "\\/",
        "\t",
    ];
    let string = prop::collection::vec(prop::sample::select(pieces), 0..4)
        .prop_map(|pieces| format!("\"{}\"", pieces.concat()));
    let scalars = vec![
        "0", "01", "-", "-12.50", "1.", "1e5", "1E+", "-0.5e-2", "null", "true", "falsetto",
    ];
    let scalar = prop::sample::select(scalars).prop_map(str::to_owned);
    let keys = vec!["\"text\"", "\"a\" ", " \"0\"", "\"te\\u0078t\""];
    let value = prop_oneof![3 => string, 1 => scalar].prop_recursive(3, 16, 4, move |value| {
        let item = (prop::sample::select(keys.clone()), value.clone());
        let items = prop::collection::vec(
            item.prop_map(|(key, value)| format!("{key}: {value}")),
            0..4,
        );
        prop_oneof![
            items.prop_map(|items| format!("{{{}}}", items.join(","))),
            prop::collection::vec(value, 0..4).prop_map(|items| format!("[{} ]", items.join(", "))),
        ]
    });
    let object = (value.clone(), value)
        .prop_map(|(one, other)| format!("{{\"text\": {one}, \"a\":{other}}}"));
    (object, any::<prop::sample::Index>(), any::<bool>()).prop_map(|(object, at, cut)| {
        let at = at.index(object.chars().count());
        let kept = object
            .chars()
            .enumerate()
            .filter(|&(i, _)| !(cut && i == at));
        kept.map(|(_, c)| c).collect::<String>()
    })
}

#[test]
fn text_is_taken_straight_from_common_lines() {
    for (line, path) in [
        (r#"{"id": 0, "text": "It\u2019s \"so\".\n"}"#, "text"),
        (
            r#"{"choices": [{"index": 0, "message": {"content": "It\u2019s \"so\".\n"}}], "n": -1.5e3}"#,
            "choices.0.message.content",
        ),
    ] {
        let mut text = String::new();
        assert!(read_text(line, &Step::path(path), &mut text), "{line}");
        assert_eq!(text, "It\u{2019}s \"so\".\n");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_texts_or_bad_lines(bytes in any_json(), path in "(text|a|0|\\.){1,4}", chat in any::<bool>()) {
        let filled = bytes.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
        for lines in [Lines::Text, json("text"), Lines::Json { field: Step::path(&path), chat }] {
            // Bytes that begin like a compressed file may be no such file.
            if let Ok((rows, bad)) = rows(&bytes, &lines) {
                prop_assert!(looks_compressed(&bytes) || rows.len() + bad.len() == filled);
            }
        }
    }

    #[test]
    fn what_serde_json_reads_is_read_alike(bytes in any_json()) {
        prop_assume!(!looks_compressed(&bytes));
        let (rows, _) = rows(&bytes, &json("text")).unwrap_or_default();
        let text_of = |line: &[u8]| {
            let value: serde_json::Value = serde_json::from_slice(line).ok()?;
            Some(value.as_object()?.get("text")?.as_str()?.to_owned())
        };
        let whole: Rows = (0..)
            .zip(bytes.split(|&byte| byte == b'\n'))
            .filter_map(|(row, line)| Some((row, text_of(line.trim_ascii())?)))
            .collect();
        for row in whole {
            prop_assert!(rows.contains(&row), "{row:?}");
        }
    }

    #[test]
    fn what_is_taken_from_a_line_is_what_sonic_rs_reads(line in almost_json(), path in "(text|a)(\\.(text|a|0|1)){0,2}") {
        let path = Step::path(&path);
        let mut text = String::from("of the line before");
        if read_text(&line, &path, &mut text) {
            prop_assert_eq!(parsed_text(line.as_bytes(), &path, false), Ok(text));
        }
    }

    #[test]
    fn compressed_dumps_that_are_damaged_are_errors_or_texts(at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>(), zstandard in any::<bool>()) {
        let plain = "{\"text\": \"It may be late.\"}\n".repeat(40);
        let mut packed = if zstandard {
            let mut encoder = zstd::Encoder::new(Vec::new(), 3).expect("memory");
            encoder.include_checksum(true).expect("a parameter that is known");
            encoder.write_all(plain.as_bytes()).expect("memory");
            encoder.finish().expect("memory")
        } else {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(plain.as_bytes()).expect("memory");
            encoder.finish().expect("memory")
        };
        let at = at.index(packed.len());
        if cut { packed.truncate(at) } else { packed[at] ^= 1 << bit }
        if let Ok((rows, _)) = rows(&packed, &json("text")) {
            prop_assert!(rows.len() <= 40);
        }
    }

    #[test]
    fn what_is_scanned_from_a_dump_is_what_is_scanned_in_memory(texts in prop::collection::vec("\\PC{0,40}|I think it may be [a-z ]{0,9}", 0..20)) {
        let lexicon = Lexicon::parse(ENGLISH, false).expect("the shipped lexicon parses");
        let lines: Vec<String> = texts.iter().map(|text| serde_json::json!({"text": text}).to_string()).collect();
        let dump = lines.join("\n");
        let mut scratch = Scratch::default();
        let expected: Vec<Counts> = texts.iter().map(|text| lexicon.count(text, &mut scratch)).collect();
        let mut found = Vec::new();
        for chunk in chunks(dump.as_bytes()).expect("readable") {
            found.extend(scanned(&lexicon, chunk, &json("text"), true).counts);
        }
        prop_assert_eq!(found, expected);
    }
}
