//! The area under the ROC curve, of resamples of groups.

use rayon::prelude::*;

use super::error::ProbeError;
use super::workers::{Run, Workers};

/// AUROC (ties count half) of each resample: row i counts `counts[b][group[i]]` times. NaN where one side is empty.
///
/// `scores`, `positive` and `group` have one entry per row, `counts` is (resamples, groups). The scores are sorted once.
///
/// # Errors
///
/// Threads that cannot be started.
///
/// # Panics
///
/// A group beyond the counts, lengths that differ.
pub fn resampled_auroc(
    scores: &[f64],
    positive: &[bool],
    group: &[u32],
    counts: &[u32],
    groups: usize,
    run: Run,
) -> Result<Vec<f64>, ProbeError> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    // Rows of one score, from the lowest; a row is its group and its side.
    let rows: Vec<(usize, bool)> = (order.iter())
        .map(|&i| (group[i] as usize, positive[i]))
        .collect();
    #[allow(clippy::float_cmp)]
    let ties: Vec<&[(usize, bool)]> = {
        let mut ends: Vec<usize> = (1..order.len())
            .filter(|&i| scores[order[i]] != scores[order[i - 1]])
            .collect();
        ends.push(order.len());
        let mut start = 0;
        let spans = ends
            .into_iter()
            .map(|end| std::mem::replace(&mut start, end)..end);
        spans.map(|span| &rows[span]).collect()
    };
    let auroc = |counts: &[u32]| {
        let (mut below, mut wins, mut positives) = (0.0, 0.0, 0.0);
        for tie in &ties {
            let mut sides = [0.0; 2];
            for &(group, positive) in *tie {
                sides[usize::from(positive)] += f64::from(counts[group]);
            }
            wins += sides[1] * (below + sides[0] / 2.0);
            below += sides[0];
            positives += sides[1];
        }
        wins / (positives * below)
    };
    Workers::new(run, counts.len())?
        .install(|| counts.par_chunks_exact(groups.max(1)).map(auroc).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_counting_pairs(
            rows in prop::collection::vec((0..5_i32, any::<bool>(), 0..4_u32), 0..30),
            counts in prop::collection::vec(0..4_u32, 4 * 3),
        ) {
            let scores: Vec<f64> = rows.iter().map(|r| f64::from(r.0)).collect();
            let positive: Vec<bool> = rows.iter().map(|r| r.1).collect();
            let group: Vec<u32> = rows.iter().map(|r| r.2).collect();
            let run = Run { threads: 1, interrupted: &|| false };
            let found = resampled_auroc(&scores, &positive, &group, &counts, 4, run).expect("a thread");
            for (found, counts) in found.into_iter().zip(counts.chunks(4)) {
                let (mut wins, mut pairs) = (0.0, 0.0);
                for p in rows.iter().filter(|r| r.1) {
                    for n in rows.iter().filter(|r| !r.1) {
                        let weight = f64::from(counts[p.2 as usize] * counts[n.2 as usize]);
                        wins += weight * (1.0 + f64::from((p.0 - n.0).signum())) / 2.0;
                        pairs += weight;
                    }
                }
                prop_assert!(found.is_nan() && pairs == 0.0 || (found - wins / pairs).abs() < 1e-12);
            }
        }
    }
}
