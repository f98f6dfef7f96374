use std::io::{self, Read, Write};
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::chunks::{CHUNK_BYTES, Chunk, ChunkReader, CountingRead, LONGEST_LINE};
use super::json::read_text;
use super::parsed::{DEEPEST, parsed_text};
use super::scanned::BATCH_BYTES;
use super::*;
use crate::scan::{Counts, ENGLISH, Lexicon, Scratch};

/// Parsed once: it takes longer than most tests that use it.
fn english() -> &'static Lexicon {
    static PARSED: LazyLock<Lexicon> = LazyLock::new(|| {
        Lexicon::parse(ENGLISH, false, false).expect("the shipped lexicon parses")
    });
    &PARSED
}

/// Chunks of a dump, each read into the buffer of the one before.
fn for_chunks(bytes: &[u8], mut take: impl FnMut(&Chunk)) -> io::Result<()> {
    let source = Box::new(io::Cursor::new(bytes.to_vec()));
    let mut reader = ChunkReader::new(CountingRead(source, Arc::default()), false)?;
    let mut chunk = Chunk::default();
    while reader.read(&mut chunk)? {
        take(&chunk);
    }
    Ok(())
}

fn json(field: &str) -> Lines {
    Lines::Json {
        field: PathStep::path(field),
        chat: false,
    }
}

type Rows = Vec<(u64, String)>;

fn rows(bytes: &[u8], lines: &Lines) -> io::Result<(Rows, Vec<BadLine>)> {
    let (mut rows, mut bad, mut row) = (Vec::new(), Vec::new(), 0);
    for_chunks(bytes, |chunk| {
        for line in chunk.lines() {
            match lines.text_of(line, &mut String::new()) {
                _ if line.trim_ascii().is_empty() => {}
                Ok(text) => rows.push((row, text.into_owned())),
                Err(message) => bad.push(BadLine { row, message }),
            }
            row += 1;
        }
    })?;
    Ok((rows, bad))
}

/// What a whole dump holds, by so many threads.
fn scan(dump: &[u8], lexicon: &Lexicon, threads: usize) -> Scanned {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dump.jsonl");
    std::fs::write(&path, dump).expect("written");
    let chunks = Chunks::open(&path, threads, false).expect("opened");
    let mut scan = DumpScan::new(chunks, json("text"), true, threads).expect("threads");
    let mut all = Scanned::default();
    while let Some(next) = scan.next(lexicon).expect("read") {
        all.rows.extend(next.rows);
        all.counts.extend(next.counts);
        all.spans.extend(next.spans);
        all.bad.extend(next.bad);
    }
    assert_eq!(scan.bytes_read(), dump.len() as u64);
    all
}

#[test]
fn a_dump_is_scanned_alike_by_one_thread_and_by_several() {
    let lexicon = english();
    let line = |row: usize| match row % 7 {
        3 => "{\"text\": 3}\n".to_owned(),
        5 => " \r\n".to_owned(),
        _ => format!(
            "{{\"text\": \"Perhaps.{}\"}}\n",
            " It may be.".repeat(row * 791 % 30_000)
        ),
    };
    let dump: String = (0..300).map(line).collect();
    assert!(dump.len() > 2 * BATCH_BYTES);
    let one = scan(dump.as_bytes(), lexicon, 1);
    let of_kind = |kind: fn(usize) -> bool| {
        (0..300)
            .filter(move |&row| kind(row % 7))
            .map(|row| row as u64)
    };
    assert_eq!(
        one.rows,
        of_kind(|kind| kind != 3 && kind != 5).collect::<Vec<_>>()
    );
    let bad: Vec<u64> = one.bad.iter().map(|bad| bad.row).collect();
    assert_eq!(bad, of_kind(|kind| kind == 3).collect::<Vec<_>>());
    let several = scan(dump.as_bytes(), lexicon, 3);
    assert_eq!(one.rows, several.rows);
    assert_eq!(one.counts, several.counts);
    assert_eq!(one.spans, several.spans);
    assert_eq!(one.bad, several.bad);
}

#[test]
fn lines_too_long_are_told_and_left() {
    let mut dump = b"{\"text\": \"one\"}\n".to_vec();
    dump.resize(dump.len() + LONGEST_LINE + 2 * CHUNK_BYTES, b'x');
    dump.extend_from_slice(b"\n{\"text\": \"two\"}\n");
    let lexicon = english();
    let found = scan(&dump, lexicon, 1);
    assert_eq!(found.rows, [0, 2]);
    let row = 1;
    let message = "longer than 256 MiB".to_owned();
    assert_eq!(found.bad, [BadLine { row, message }]);
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

#[test]
fn lines_nested_deeper_than_the_stack_are_told() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = |levels: usize| {
            let nested = format!("{}0{}", open.repeat(levels), close.repeat(levels));
            format!("{{\"text\": \"one\", \"other\": {nested}}}")
        };
        for chat in [false, true] {
            let read = |line: String| parsed_text(line.as_bytes(), &PathStep::path("text"), chat);
            let too_deep = Err("nested deeper than 128 levels".to_owned());
            assert_ne!(read(deep(DEEPEST - 1)), too_deep);
            assert_eq!(read(deep(DEEPEST)), too_deep);
            assert_eq!(read(deep(80_000)), too_deep);
            assert_eq!(read(open.repeat(80_000)), too_deep);
        }
    }
    let brackets = format!(r#"{{"text": "\\\"{}"}}"#, "[".repeat(200));
    let text = parsed_text(brackets.as_bytes(), &PathStep::path("text"), false);
    assert_eq!(text, Ok(format!("\\\"{}", "[".repeat(200))));
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_line() {
    let (found, bad) = rows(b"\xEF\xBB\xBF{\"text\": \"one\"}\n", &json("text")).expect("readable");
    assert_eq!(found, [(0, "one".to_owned())]);
    assert!(bad.is_empty());
    for short in ["", "\n", "ab", "\na\n", "a\nb\nc"] {
        let expected: Vec<String> = (short.split('\n').map(str::to_owned))
            .filter(|line| !line.is_empty())
            .collect();
        let (found, _) = rows(short.as_bytes(), &Lines::Text).expect("readable");
        let found: Vec<String> = found.into_iter().map(|(_, text)| text).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn only_a_line_feed_ends_a_line() {
    let line = "one\u{2028}two\u{85}three\u{2029}four\u{b}five\u{c}six";
    let (found, _) = rows(format!("{line}\n{line}").as_bytes(), &Lines::Text).expect("readable");
    assert_eq!(found, [(0, line.to_owned()), (1, line.to_owned())]);
}

#[test]
fn a_line_of_text_is_the_text_with_the_white_space_around_it() {
    let (found, _) = rows(b"\r one \r\n \n\ttwo", &Lines::Text).expect("readable");
    assert_eq!(found, [(0, "\r one ".to_owned()), (2, "\ttwo".to_owned())]);
}

#[test]
fn indices_are_those_that_lists_have() {
    let line = br#"{"a": ["zero", "one"], "b": {"01": "key"}}"#;
    let text = |path| parsed_text(line, &PathStep::path(path), false);
    assert_eq!(text("a.1"), Ok("one".to_owned()));
    assert_eq!(text("b.01"), Ok("key".to_owned()));
    for none in [
        "a.2",
        "a.01",
        "a.+1",
        "a.-1",
        "b.1",
        "a.99999999999999999999",
    ] {
        assert_eq!(text(none), Err(format!("{none}: there is no such field")));
    }
}

/// The lines of what may be an array, so many bytes at a time.
fn items(array: &str, at_once: usize) -> io::Result<Vec<String>> {
    struct Slow(io::Cursor<Vec<u8>>, usize);
    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = self.1.min(buffer.len());
            self.0.read(&mut buffer[..most])
        }
    }
    let source = Box::new(Slow(io::Cursor::new(array.as_bytes().to_vec()), at_once));
    let mut reader = ChunkReader::new(CountingRead(source, Arc::default()), true)?;
    let (mut chunk, mut lines) = (Chunk::default(), Vec::new());
    while reader.read(&mut chunk)? {
        lines.extend(
            chunk
                .lines()
                .map(|line| String::from_utf8_lossy(line.trim_ascii()).into_owned()),
        );
    }
    Ok(lines)
}

#[test]
fn items_of_an_array_are_lines() {
    let inner = [r#"{"a": "x, [\"\\"}"#, "{\"b\":\n [1, {}]}", r#""],""#];
    let array = format!("{}\n[ {}]\n ", " ".repeat(2000), inner.join(",\n"));
    for at_once in [1, 2, 7, 5000] {
        let found = items(&array, at_once).expect("an array");
        assert_eq!(found, inner.map(|item| item.replace('\n', " ")));
    }
    assert_eq!(
        items("\n{}\n[1,\n2]", 2).expect("lines"),
        ["", "{}", "[1,", "2]"]
    );
    assert_eq!(
        items("[\"a\nb\", 1]", 2).expect("an array"),
        ["\"a\rb\"", "1"]
    );
    for (broken, message) in [
        ("[1, 2", "does not close"),
        ("[\"]", "does not close"),
        ("[] []", "more follows"),
    ] {
        let error = items(broken, 3).expect_err("broken");
        assert!(error.to_string().contains(message), "{error}");
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
        assert!(read_text(line, &PathStep::path(path), &mut text), "{line}");
        assert_eq!(text, "It\u{2019}s \"so\".\n");
    }
}

#[test]
fn a_field_that_is_there_twice_is_no_text() {
    for (line, path) in [
        (r#"{"text": "a", "text": "b"}"#, "text"),
        (r#"{"text": "a", "n": {}, "te\u0078t": null}"#, "text"),
        (r#"{"a": {"text": "a"}, "a": {"text": "b"}}"#, "a.text"),
        (r#"{"a": [{"text": "a", "text": "b"}]}"#, "a.0.text"),
    ] {
        let (path, mut text) = (PathStep::path(path), String::new());
        assert!(!read_text(line, &path, &mut text), "{line}");
        let error = parsed_text(line.as_bytes(), &path, false).expect_err(line);
        assert!(error.ends_with("the field is there twice"), "{error}");
    }
    let others = r#"{"n": 1, "n": 2, "text": "a", "m": {"text": "b", "text": "c"}}"#;
    assert_eq!(
        parsed_text(others.as_bytes(), &PathStep::path("text"), false),
        Ok("a".to_owned())
    );
}

proptest! {
    #[test]
    fn any_bytes_are_texts_or_bad_lines(bytes in any_json(), path in "(text|a|0|\\.){1,4}", chat in any::<bool>()) {
        let filled = bytes.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
        for lines in [Lines::Text, json("text"), Lines::Json { field: PathStep::path(&path), chat }] {
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
            // Serde takes the last field of a name, and a scan none of them.
            let once = memchr::memmem::find_iter(line, "\"text\"").count() == 1;
            let value: serde_json::Value = serde_json::from_slice(line).ok().filter(|_| once)?;
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
        let path = PathStep::path(&path);
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
        let lexicon = english();
        let lines: Vec<String> = texts.iter().map(|text| serde_json::json!({"text": text}).to_string()).collect();
        let dump = lines.join("\n");
        let mut scratch = Scratch::default();
        let expected: Vec<Counts> = texts.iter().map(|text| lexicon.count(text, &mut scratch)).collect();
        prop_assert_eq!(scan(dump.as_bytes(), lexicon, 1).counts, expected);
    }
}
