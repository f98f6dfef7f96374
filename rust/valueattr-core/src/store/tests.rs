use super::*;
use proptest::prelude::*;

fn manifest() -> Manifest {
    Manifest::new(vec![0, 3], 2, Dtype::F32)
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn write(path: &Path, shards: usize) {
    let mut writer = Writer::open(path, manifest(), true).expect("opens");
    for i in 0..shards {
        #[allow(clippy::cast_precision_loss)]
        let rows = bytes(&[i as f32; 6]);
        writer.append(3, &[&rows, &rows]).expect("appends");
    }
}

#[test]
fn what_is_committed_is_found_again() {
    let folder = tempfile::tempdir().expect("folder");
    write(folder.path(), 2);
    write(folder.path(), 1);
    let store = Store::open(folder.path()).expect("opens");
    assert_eq!(store.rows(), 9);
    store.verify().expect("intact");
    let (file, offset) = store.locate(&store.shards[1], 1);
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
        writer.append(3, &[&[0; 24], &[0; 23]]),
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
            Store::open(folder.path()).expect("opens").verify().is_err(),
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

proptest! {
    #[test]
    fn a_journal_cut_anywhere_loses_only_the_torn_line(cut in 0usize..400) {
        let folder = tempfile::tempdir().expect("folder");
        write(folder.path(), 3);
        let file = folder.path().join("journal.jsonl");
        let whole = fs::read(&file).expect("reads");
        let cut = cut.min(whole.len());
        fs::write(&file, &whole[..cut]).expect("writes");
        let lines = whole[..cut].split(|&byte| byte == b'\n').count() - 1;
        write(folder.path(), 0);
        prop_assert_eq!(Store::open(folder.path()).expect("opens").rows(), 3 * lines);
        write(folder.path(), 1);
        let store = Store::open(folder.path()).expect("opens");
        prop_assert_eq!(store.rows(), 3 * lines + 3);
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
