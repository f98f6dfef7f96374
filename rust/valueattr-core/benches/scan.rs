//! Megabytes a second of the scanner on a dump of your own, one thread, CPU time:
//!
//! ```text
//! cargo bench --bench scan -- DUMP.txt [LEXICON.toml]
//! ```
//! DUMP.txt holds one text a line. Without one it scans a seeded text of its own.

use cpu_time::ThreadTime;

use valueattr_core::scan::{ENGLISH, Lexicon, Scratch};

const REPEATS: usize = 5;

fn main() {
    let mut paths = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"));
    let dump = paths.next().map_or_else(made_up, |path| {
        String::from_utf8_lossy(&std::fs::read(path).expect("a readable dump")).into_owned()
    });
    let lexicon = paths.next().map_or_else(
        || ENGLISH.to_owned(),
        |path| std::fs::read_to_string(path).expect("a readable lexicon"),
    );
    let lexicon = Lexicon::parse(&lexicon, false, false).expect("a valid lexicon");
    let texts: Vec<&str> = dump.lines().collect();
    let mut scratch = Scratch::default();

    let mut tally = 0;
    let seconds = fastest(|| {
        tally = texts
            .iter()
            .map(|text| lexicon.count(text, &mut scratch).kinds.iter().sum::<u32>())
            .sum();
    });
    report("counts", &dump, tally, seconds);
    let mut tally = 0;
    let seconds = fastest(|| {
        let lengths = texts
            .iter()
            .map(|text| lexicon.spans(text, &mut scratch).len());
        tally = u32::try_from(lengths.sum::<usize>()).unwrap_or(u32::MAX);
    });
    report("spans", &dump, tally, seconds);
}

fn fastest(mut work: impl FnMut()) -> f64 {
    (0..REPEATS)
        .map(|_| {
            let start = ThreadTime::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::MAX, f64::min)
}

#[allow(clippy::cast_precision_loss)]
fn report(name: &str, dump: &str, tally: u32, seconds: f64) {
    let megabytes = dump.len() as f64 / 1e6;
    println!(
        "{name:8} {:8.1} MB/s  {:6.1} phrases per 10 kB  {tally} phrases",
        megabytes / seconds,
        f64::from(tally) / megabytes / 100.0,
    );
}

/// 64 MB of plain words with a hedge here and there.
fn made_up() -> String {
    const WORDS: [&str; 16] = [
        "the", "answer", "of", "a", "river", "it", "was", "measured", "in", "copper", "and",
        "people", "found", "there", "every", "winter",
    ];
    let mut state = 7u64;
    let mut text = String::new();
    while text.len() < 64_000_000 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let random = (state >> 33) as usize;
        text.push_str(match random % 160 {
            0 => "I think it may be ",
            1..=9 => "end. ",
            10 => "end.\n",
            _ => WORDS[random % 16],
        });
        text.push(' ');
    }
    text
}
