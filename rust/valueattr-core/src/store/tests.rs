use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;

fn manifest() -> Manifest {
    Manifest::new(vec![0, 3], 2, Dtype::F32)
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn append(writer: &mut Writer, layers: &[&[u8]], rows: i64) -> Result<(), StoreError> {
    let text: Vec<i64> = (0..rows).collect();
    writer.append(NewShard {
        capture: "test",
        texts: text.len(),
        text: &text,
        token: &text,
        layers,
    })
}

fn write(path: &Path, shards: usize) {
    let mut writer = Writer::open(path, manifest(), true).expect("opens");
    for i in 0..shards {
        #[allow(clippy::cast_precision_loss)]
        let rows = bytes(&[i as f32; 6]);
        append(&mut writer, &[&rows, &rows], 3).expect("appends");
    }
    writer.finish().expect("commits");
}

#[test]
fn what_is_committed_is_found_again() {
    let folder = tempfile::tempdir().expect("folder");
    write(folder.path(), 2);
    write(folder.path(), 1);
    let store = Store::open(folder.path()).expect("opens");
    assert_eq!(store.rows(), 9);
    store.verify().expect("intact");
    let (file, offset) = store.locate(1, 1);
    let found = fs::read(file).expect("reads");
    assert_eq!(offset % 8, 0);
    assert_eq!(&found[offset..], bytes(&[1.0; 6]));
}

#[test]
fn a_second_writer_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let _first = Writer::open(folder.path(), manifest(), false).expect("opens");
    assert!(matches!(
        Writer::open(folder.path(), manifest(), false),
        Err(StoreError::Locked(_))
    ));
}

#[test]
fn another_manifest_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    write(folder.path(), 1);
    let other = Manifest::new(vec![0, 3], 4, Dtype::F32);
    assert!(matches!(
        Writer::open(folder.path(), other, false),
        Err(StoreError::Mismatch { .. })
    ));
}

#[test]
fn rows_of_another_width_are_refused_and_leave_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let mut writer = Writer::open(folder.path(), manifest(), false).expect("opens");
    assert!(matches!(
        append(&mut writer, &[&[0; 24], &[0; 23]], 3),
        Err(StoreError::Shape { layer: 3, .. })
    ));
    assert_eq!(Store::open(folder.path()).expect("opens").rows(), 0);
}

#[test]
fn any_flipped_bit_is_found() {
    let folder = tempfile::tempdir().expect("folder");
    write(folder.path(), 1);
    let file = folder.path().join("shard-00000.safetensors");
    let whole = fs::read(&file).expect("reads");
    for byte in (0..whole.len()).step_by(7) {
        let mut torn = whole.clone();
        torn[byte] ^= 1 << (byte % 8);
        fs::write(&file, &torn).expect("writes");
        assert!(
            Store::open(folder.path())
                .and_then(|store| store.verify())
                .is_err(),
            "byte {byte}"
        );
    }
}

#[test]
fn a_cut_shard_is_an_error_before_it_is_mapped() {
    let folder = tempfile::tempdir().expect("folder");
    write(folder.path(), 1);
    let file = folder.path().join("shard-00000.safetensors");
    let whole = fs::read(&file).expect("reads");
    fs::write(&file, &whole[..whole.len() - 1]).expect("writes");
    assert!(Store::open(folder.path()).is_err());
    let header_end = 8 + usize::from(whole[0]) + 256 * usize::from(whole[1]);
    for at in 0..header_end {
        let mut foreign = whole.clone();
        foreign[at] ^= 1;
        fs::write(&file, &foreign).expect("writes");
        assert!(Store::open(folder.path()).is_err(), "byte {at}");
    }
    assert!(matches!(
        Store::open(&folder.path().join("none")),
        Err(StoreError::NotAStore(_))
    ));
}

#[test]
fn shards_without_a_journal_line_and_half_written_ones_do_not_count() {
    let folder = tempfile::tempdir().expect("folder");
    write(folder.path(), 2);
    fs::write(folder.path().join("shard-00002.safetensors"), b"half").expect("writes");
    fs::write(
        folder.path().join(".writing-shard-00003.safetensors"),
        b"half",
    )
    .expect("writes");
    write(folder.path(), 1);
    let store = Store::open(folder.path()).expect("opens");
    assert_eq!(store.rows(), 9);
    store.verify().expect("intact");
}

fn journal_of(path: &Path) -> Vec<u8> {
    fs::read(path.join("journal.jsonl")).expect("reads")
}

#[test]
fn a_journal_and_a_manifest_that_are_lost_are_refused_and_rebuilt_to_the_byte() {
    let folder = tempfile::tempdir().expect("folder");
    write(folder.path(), 2);
    let whole = journal_of(folder.path());
    let described = fs::read(folder.path().join("manifest.json")).expect("reads");
    for (file, left) in [
        ("journal.jsonl", None),
        ("manifest.json", None),
        ("manifest.json", Some("{")),
    ] {
        let path = folder.path().join(file);
        left.map_or_else(|| fs::remove_file(&path), |left| fs::write(&path, left))
            .expect("damages");
        assert!(matches!(
            Store::open(folder.path()),
            Err(StoreError::Lost { .. })
        ));
        assert!(matches!(
            Writer::open(folder.path(), manifest(), true),
            Err(StoreError::Lost { .. })
        ));
        rebuild(folder.path()).expect("rebuilds");
    }
    assert_eq!(journal_of(folder.path()), whole);
    let again = fs::read(folder.path().join("manifest.json")).expect("reads");
    assert_eq!(again, described);
    Store::open(folder.path())
        .and_then(|store| store.verify())
        .expect("intact");
}

#[test]
fn a_file_is_no_store() {
    let file = tempfile::NamedTempFile::new().expect("file");
    assert!(matches!(
        Store::open(file.path()),
        Err(StoreError::NotAStore(_))
    ));
    let message = Writer::open(file.path(), manifest(), false).expect_err("is a file");
    assert!(message.to_string().contains("it is a file"));
}

#[test]
fn a_journal_that_was_emptied_is_not_that_of_a_new_store() {
    let folder = tempfile::tempdir().expect("folder");
    write(folder.path(), 1);
    fs::write(folder.path().join("journal.jsonl"), b"").expect("empties");
    assert!(matches!(
        Store::open(folder.path()),
        Err(StoreError::Lost { .. })
    ));
    assert_eq!(
        rebuild(folder.path()).expect("rebuilds"),
        Rebuilt { kept: 0, new: 1 }
    );
    assert_eq!(Store::open(folder.path()).expect("opens").rows(), 3);
}

#[test]
fn a_rebuild_keeps_the_checksums_that_it_finds_and_refuses_gaps_and_cut_shards() {
    let folder = tempfile::tempdir().expect("folder");
    write(folder.path(), 3);
    let lines = journal_of(folder.path());
    let second = lines
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .nth(1);
    let kept = [&lines[..=second.expect("there").0], b"broken\n"].concat();
    fs::write(folder.path().join("journal.jsonl"), &kept).expect("writes");
    let first = folder.path().join("shard-00000.safetensors");
    let mut flipped = fs::read(&first).expect("reads");
    *flipped.last_mut().expect("not empty") ^= 1;
    fs::write(&first, flipped).expect("writes");
    let last = folder.path().join("shard-00002.safetensors");
    let whole = fs::read(&last).expect("reads");
    fs::write(&last, &whole[..whole.len() - 1]).expect("cuts");
    assert!(rebuild(folder.path()).is_err());
    assert_eq!(journal_of(folder.path()), kept);
    fs::write(&last, whole).expect("writes");
    fs::rename(
        folder.path().join("shard-00001.safetensors"),
        folder.path().join("away"),
    )
    .expect("moves");
    let gap = rebuild(folder.path())
        .expect_err("a shard is missing")
        .to_string();
    assert!(gap.contains("shard-00001.safetensors"), "{gap}");
    fs::rename(
        folder.path().join("away"),
        folder.path().join("shard-00001.safetensors"),
    )
    .expect("moves");
    assert_eq!(
        rebuild(folder.path()).expect("rebuilds"),
        Rebuilt { kept: 1, new: 2 }
    );
    let store = Store::open(folder.path()).expect("opens");
    assert!(
        store
            .verify()
            .expect_err("differs")
            .to_string()
            .contains("shard-00000")
    );
}

#[test]
fn a_shard_that_a_kill_left_without_its_line_is_gone_on_with() {
    let folder = tempfile::tempdir().expect("folder");
    write(folder.path(), 2);
    let whole = journal_of(folder.path());
    let cut = whole[..whole.len() - 1]
        .iter()
        .rposition(|&byte| byte == b'\n');
    fs::write(
        folder.path().join("journal.jsonl"),
        &whole[..=cut.expect("lines")],
    )
    .expect("cuts");
    assert_eq!(Store::open(folder.path()).expect("opens").rows(), 3);
    let writer = Writer::open(folder.path(), manifest(), true).expect("opens");
    assert_eq!(writer.committed().len(), 2);
    drop(writer);
    assert_eq!(journal_of(folder.path()), whole);
}

/// What version 2 wrote: shards without their capture, and a journal without a first line.
fn write_version_2(path: &Path, shards: usize) {
    fs::create_dir_all(path).expect("folder");
    let json = serde_json::json!(manifest().of_version_2()).to_string();
    fs::write(path.join("manifest.json"), json).expect("writes");
    fs::write(path.join("journal.jsonl"), b"").expect("writes");
    write(path, shards);
}

#[test]
fn stores_of_version_2_are_read_gone_on_with_and_rebuilt() {
    let folder = tempfile::tempdir().expect("folder");
    write_version_2(folder.path(), 2);
    write(folder.path(), 1);
    let whole = journal_of(folder.path());
    assert!(whole.starts_with(b"{\"file\""));
    let store = Store::open(folder.path()).expect("opens");
    assert_eq!(store.rows(), 9);
    store.verify().expect("intact");
    drop(store);
    let shard = fs::read(folder.path().join("shard-00002.safetensors")).expect("reads");
    assert!(!shard.windows(12).any(|bytes| bytes == b"__metadata__"));

    fs::remove_file(folder.path().join("journal.jsonl")).expect("removes");
    assert!(matches!(
        Store::open(folder.path()),
        Err(StoreError::Lost { .. })
    ));
    let unnamed = rebuild(folder.path())
        .expect_err("no capture is named")
        .to_string();
    assert!(
        unnamed.contains("does not say to which capture"),
        "{unnamed}"
    );
    fs::write(folder.path().join("texts-test.parquet"), b"").expect("writes");
    rebuild(folder.path()).expect("rebuilds");
    assert_eq!(journal_of(folder.path()), whole);
}

#[test]
fn a_refused_commit_is_told_and_leaves_what_was_committed() {
    let folder = tempfile::tempdir().expect("folder");
    write(folder.path(), 1);
    // The next shard's place is a folder that is not empty: the rename is refused.
    fs::create_dir_all(folder.path().join("blocked/x")).expect("folder");
    let mut writer = Writer::open(folder.path(), manifest(), false).expect("opens");
    fs::rename(
        folder.path().join("blocked"),
        folder.path().join("shard-00001.safetensors"),
    )
    .expect("moves");
    append(&mut writer, &[&[0; 24], &[0; 24]], 3).expect("is only written");
    assert!(matches!(writer.finish(), Err(StoreError::Io { .. })));
    assert!(
        append(&mut writer, &[&[0; 24], &[0; 24]], 3).is_err(),
        "after an error a writer is of no use"
    );
    assert_eq!(Store::open(folder.path()).expect("opens").rows(), 3);
}

#[test]
fn rows_say_where_they_come_from() {
    let folder = tempfile::tempdir().expect("folder");
    write(folder.path(), 2);
    let store = Store::open(folder.path()).expect("opens");
    let row = |i| Row { text: i, token: i };
    assert_eq!(store.sources(), [0, 1, 2, 0, 1, 2].map(row));
}

fn any_dtype() -> impl Strategy<Value = Dtype> {
    prop_oneof![Just(Dtype::F32), Just(Dtype::F16), Just(Dtype::BF16)]
}

/// The value of row `row`, column `column` of a layer, exact in every type.
#[allow(clippy::cast_precision_loss)] // below 256
fn value(layer: usize, row: usize, column: usize) -> f32 {
    ((layer * 31 + row * 7 + column) % 256) as f32
}

fn encode(values: impl Iterator<Item = f32>, dtype: Dtype) -> Vec<u8> {
    values
        .flat_map(|value| match dtype {
            Dtype::F32 => value.to_le_bytes().to_vec(),
            Dtype::F16 => half::f16::from_f32(value).to_le_bytes().to_vec(),
            Dtype::BF16 => half::bf16::from_f32(value).to_le_bytes().to_vec(),
        })
        .collect()
}

proptest! {
    #[test]
    fn gathered_rows_are_the_rows(
        dtype in any_dtype(),
        width in 1usize..600,
        shards in prop::collection::vec(0usize..9, 1..6),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let folder = tempfile::tempdir().expect("folder");
        let mut writer = Writer::open(folder.path(), Manifest::new(vec![1, 5], width, dtype), false).expect("opens");
        let mut first = 0;
        for &rows in &shards {
            let layer = |layer| encode((first..first + rows).flat_map(|row| (0..width).map(move |column| value(layer, row, column))), dtype);
            append(&mut writer, &[&layer(0), &layer(1)], i64::try_from(rows).expect("small")).expect("appends");
            first += rows;
        }
        writer.finish().expect("commits");
        let store = Store::open(folder.path()).expect("opens");
        prop_assert_eq!(store.rows(), first);
        store.verify().expect("intact");
        let rows: Vec<usize> = if first == 0 { Vec::new() } else { picks.iter().map(|pick| pick.index(first)).collect() };
        for layer in 0..2 {
            let mut out = vec![f32::NAN; rows.len() * width];
            store.gather(layer, &rows, &mut out).expect("there");
            let expected: Vec<f32> = rows.iter().flat_map(|&row| (0..width).map(move |column| value(layer, row, column))).collect();
            prop_assert_eq!(out, expected);
            store.will_need(layer, 0, first, layer == 1).expect("there");
        }
        prop_assert!(store.gather(0, &[first], &mut vec![0.0; width]).is_err());
    }

    #[test]
    fn any_shard_with_any_journal_is_an_error_or_reads(shard in prop::collection::vec(any::<u8>(), 0..400), keep_header in any::<bool>(), rows in prop_oneof![0usize..4, any::<usize>()]) {
        let folder = tempfile::tempdir().expect("folder");
        write(folder.path(), 1);
        let file = folder.path().join("shard-00000.safetensors");
        let mut bytes = if keep_header { fs::read(&file).expect("reads") } else { Vec::new() };
        bytes.extend(shard);
        fs::write(&file, bytes).expect("writes");
        let journal = folder.path().join("journal.jsonl");
        let line = fs::read_to_string(&journal).expect("reads");
        fs::write(&journal, line.replace("\"rows\":3", &format!("\"rows\":{rows}"))).expect("writes");
        if let Ok(store) = Store::open(folder.path()) {
            let rows: Vec<usize> = (0..store.rows()).collect();
            store.gather(1, &rows, &mut vec![0.0; 2 * rows.len()]).expect("there");
            prop_assert_eq!(store.sources().len(), rows.len());
        }
    }

    #[test]
    fn a_journal_cut_anywhere_loses_no_shard(cut in 0usize..400) {
        let folder = tempfile::tempdir().expect("folder");
        write(folder.path(), 3);
        let file = folder.path().join("journal.jsonl");
        let whole = fs::read(&file).expect("reads");
        let cut = cut.min(whole.len());
        fs::write(&file, &whole[..cut]).expect("writes");
        let lines = whole[..cut].split(|&byte| byte == b'\n').count() - 1;
        if lines < 3 {
            // A kill leaves one shard without a line; here are more, which nobody may remove.
            let (read, written) = (Store::open(folder.path()), Writer::open(folder.path(), manifest(), true));
            let refused = matches!((read, written), (Err(StoreError::Lost { .. }), Err(StoreError::Lost { .. })));
            prop_assert!(refused);
            prop_assert_eq!(fs::read(&file).expect("reads"), &whole[..cut]);
            let kept = lines.saturating_sub(1);
            prop_assert_eq!(rebuild(folder.path()).expect("rebuilds"), Rebuilt { kept, new: 3 - kept });
        } else {
            let committed = lines - 1;
            prop_assert_eq!(Store::open(folder.path()).expect("opens").rows(), 3 * committed);
            write(folder.path(), 0);
        }
        prop_assert_eq!(fs::read(&file).expect("reads"), whole);
        write(folder.path(), 1);
        let store = Store::open(folder.path()).expect("opens");
        prop_assert_eq!(store.rows(), 12);
        store.verify().expect("intact");
    }

    #[test]
    fn any_bytes_as_manifest_or_journal_are_an_error_or_a_store(manifest in ".*", journal in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().expect("folder");
        write(folder.path(), 1);
        fs::write(folder.path().join("journal.jsonl"), &journal).expect("writes");
        let _ = Store::open(folder.path());
        fs::write(folder.path().join("manifest.json"), manifest).expect("writes");
        prop_assert!(Store::open(folder.path()).is_err());
    }
}
