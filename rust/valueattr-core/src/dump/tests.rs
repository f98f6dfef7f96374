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
        let texts = chunk.texts(lines);
        rows.extend(
            texts
                .rows
                .iter()
                .copied()
                .zip(texts.iter().map(str::to_owned)),
        );
        bad.extend(texts.bad);
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
            found.extend(scanned(&lexicon, chunk.texts(&json("text")), true).counts);
        }
        prop_assert_eq!(found, expected);
    }
}
