//! The Sufficiency Index held against closed forms, its laws, and confounds.

use math::{Interval, Key};
use policy::{Batch, PolicyError, SamplingOptions, Scorer, Signals, TabularPolicy};
use principle::{Asked, Completion, Contrast, Sufficiency, Verdict, draw, score, sufficiency};

/// A model whose tokens do not depend on each other: under context `c` (a prefix's last id), token
/// `v` has the probability `[c][v]`.
struct Words(Vec<Vec<f64>>);

impl Scorer for Words {
    fn signals(&self, batch: &Batch) -> Result<Signals, PolicyError> {
        let row = |row: &policy::Row| {
            let context = *batch.prefixes[row.prefix].last().expect("a prefix");
            let logprob = |&token: &u32| self.0[context as usize][token as usize].ln();
            row.tokens_t.iter().map(logprob).collect()
        };
        Ok(Signals {
            logprobs_nt: batch.rows.iter().map(row).collect(),
            points_nd: vec![Vec::new(); batch.rows.len()],
        })
    }
}

fn asked(count: usize, k: usize) -> Vec<Asked> {
    let asked = |id: usize| Asked {
        id,
        prefixes_k: (0..k).map(|c| vec![id as u32, c as u32]).collect(),
    };
    (0..count).map(asked).collect()
}

/// All of its tokens count but the last.
fn completion(tokens_t: Vec<u32>) -> Completion {
    Completion {
        scored: Some(0..tokens_t.len() - 1),
        tokens_t,
    }
}

fn contrasts(scorer: &dyn Scorer, completions_qk: &[Vec<Completion>]) -> Vec<Contrast> {
    let asked = asked(completions_qk.len(), completions_qk[0].len());
    let found = score(scorer, &asked, completions_qk, 1.0, 64, &mut |_, _| {});
    found.expect("known tokens").contrasts
}

fn measure(contrasts: &[Contrast]) -> Sufficiency {
    sufficiency(contrasts, true, 400, Key::new(1))
}

/// Contrasts of `count` prompts whose scores are drawn around `margin` for pairs that belong
/// together and 0 for others.
fn drawn(count: usize, k: usize, margin: f64, noise: f64) -> Vec<Contrast> {
    let contrast = |q: usize| {
        let key = Key::new(9).child(q as u64);
        let entry = |i: usize, j: usize| {
            let own = if i == j { margin } else { 0.0 };
            own + noise * key.normal((i * k + j) as u64)
        };
        let means_kk: Vec<Vec<f64>> = (0..k)
            .map(|i| (0..k).map(|j| entry(i, j)).collect())
            .collect();
        Contrast {
            logprobs_kk: means_kk.clone(),
            means_kk,
        }
    };
    (0..count).map(contrast).collect()
}

#[test]
fn constitutions_that_never_share_a_word_have_an_index_of_one() {
    for k in 2..5 {
        let mut logits_cv = vec![vec![0.0; k + 1]; k];
        (0..k).for_each(|c| logits_cv[c][c] = 60.0);
        let policy = TabularPolicy::new(k + 1, &logits_cv, &[k as u32]);
        let asked = asked(30, k);
        let options = SamplingOptions {
            temperature: 1.0,
            top_k: None,
            top_p: None,
            max_completion_length: 2,
        };
        let first = |tokens_t: &[u32]| (tokens_t.len() > 1).then_some(0..1);
        let drawn = draw(&policy, &asked, &options, Key::new(2), &first, &mut |_| {});
        let drawn = drawn.expect("known tokens");
        let scored = score(&policy, &asked, &drawn, 1.0, 64, &mut |_, _| {});
        let found = measure(&scored.expect("known tokens").contrasts);
        let most = f64::ln(k as f64);
        for (name, value, expected) in [
            ("si", found.si.interval.value, 1.0),
            ("si_min", found.si_min.interval.value, 1.0),
            (
                "constitutions",
                found.over_constitutions.interval.value,
                most,
            ),
            ("completions", found.over_completions.interval.value, most),
            ("information", found.information.value, most),
            ("retrieval", found.retrieval.interval.value, 1.0),
        ] {
            assert!((value - expected).abs() < 1e-9, "{name} of {k}: {value}");
        }
        assert_eq!(found.verdict, Verdict::Informative);
        assert!(found.upper.expect("own completions").value > most);
    }
}

#[test]
fn completions_that_are_equally_likely_everywhere_have_an_index_of_zero() {
    let words = Words(vec![vec![0.25; 4]; 2]);
    let one = |q: usize| {
        (0..2)
            .map(|c| completion(vec![q as u32 % 4, c, 3]))
            .collect()
    };
    let completions_qk: Vec<Vec<Completion>> = (0..40).map(one).collect();
    let found = measure(&contrasts(&words, &completions_qk));
    let si = found.si.interval;
    assert!(
        si.low.abs() < 1e-15 && si.value.abs() < 1e-15 && si.high.abs() < 1e-15,
        "{si:?}"
    );
    assert!((found.retrieval.interval.value - 0.5).abs() < 1e-15);
    assert_eq!(found.verdict, Verdict::Indistinguishable);
}

/// Under one law for both constitutions; some completions are likelier than others, and over
/// completions that alone pulls the index below 0.
#[test]
fn labels_that_mean_nothing_leave_the_corrected_index_at_zero_whatever_is_fluent() {
    let law = vec![0.6, 0.3, 0.05, 0.05];
    let words = Words(vec![law.clone(), law]);
    let key = Key::new(4);
    let one = |q: u64| {
        let token = |c: u64| key.child(c).below(q, 4) as u32;
        (0..2).map(|c| completion(vec![token(c), 3])).collect()
    };
    let completions_qk: Vec<Vec<Completion>> = (0..60).map(one).collect();
    let found = measure(&contrasts(&words, &completions_qk));
    assert!(found.si.interval.high < 0.0, "{:?}", found.si);
    let corrected = found.si_corrected;
    assert!(
        corrected.low.abs() < 1e-12 && corrected.high.abs() < 1e-12,
        "{corrected:?}"
    );
    assert_eq!(found.verdict, Verdict::Indistinguishable);
}

#[test]
fn noise_alone_has_an_index_whose_interval_holds_zero() {
    let found = measure(&drawn(200, 2, 0.0, 0.05));
    let si = found.si.interval;
    assert!(si.low < 0.0 && 0.0 < si.high, "{si:?}");
    assert_eq!(found.verdict, Verdict::Indistinguishable);
}

#[test]
fn permuted_labels_take_an_informative_principle_to_zero_and_to_chance() {
    for k in [2, 3, 4] {
        let informative = drawn(300, k, 1.5, 0.4);
        let before = measure(&informative);
        assert_eq!(before.verdict, Verdict::Informative);
        let permute = |(q, contrast): (usize, &Contrast)| {
            let order = Key::new(6).child(q as u64).permutation(k);
            let columns = |matrix_kk: &[Vec<f64>]| {
                let row = |row: &Vec<f64>| order.iter().map(|&j| row[j]).collect();
                matrix_kk.iter().map(row).collect()
            };
            Contrast {
                means_kk: columns(&contrast.means_kk),
                logprobs_kk: columns(&contrast.logprobs_kk),
            }
        };
        let permuted: Vec<Contrast> = informative.iter().enumerate().map(permute).collect();
        let found = measure(&permuted);
        assert_eq!(found.verdict, Verdict::Indistinguishable, "{:?}", found.si);
        // Within the width of an interval, four standard errors.
        let near = |found: &Interval, expected: f64| {
            let distance = (found.value - expected).abs();
            assert!(distance < found.high - found.low, "{found:?}");
        };
        let chance = 1.0 / k as f64;
        near(&found.si_corrected, 0.0);
        near(&found.retrieval.interval, chance);
        assert!(found.si.interval.value <= 0.0, "{:?}", found.si);
        let baseline = before.retrieval.permuted.value;
        assert!((baseline - chance).abs() < 1e-12, "{baseline}");
    }
}

#[test]
fn the_corrected_index_is_the_index_less_its_permuted_mean() {
    for k in [2, 3, 5] {
        let found = measure(&drawn(40, k, 0.7, 0.5));
        let expected = found.si.interval.value - found.si.permuted.value;
        let corrected = found.si_corrected.value;
        assert!(
            (corrected - expected).abs() < 1e-12,
            "{corrected} {expected}"
        );
    }
}

/// Words 0 and 2 belong to the first constitution, 1 and 3 to the second; 2 and 3 are twenty times
/// as common as 0 and 1, and just as telling. Word 4 is filler, word 5 ends.
fn styles() -> Words {
    let rest = 1.0 - 21.0 * 0.04;
    let law = |[first, second]: [f64; 2]| {
        let common = [20.0 * first, 20.0 * second];
        vec![first, second, common[0], common[1], rest / 2.0, rest / 2.0]
    };
    Words(vec![law([0.03, 0.01]), law([0.01, 0.03])])
}

/// Three words, one of them of the other style now and then; those of the second constitution go on
/// for twice as long in common words, as mixed as what came before.
fn written(is_longer: bool) -> Vec<Vec<Completion>> {
    let one = |q: usize| {
        let of = |c: u32| {
            let slip = if q.is_multiple_of(4) { 1 - c } else { c };
            let mut tokens_t = vec![c, c, slip];
            if is_longer && c == 1 {
                let common = [c + 2, c + 2, slip + 2];
                tokens_t.extend(common.iter().chain(&common));
            }
            tokens_t.push(5);
            completion(tokens_t)
        };
        (0..2).map(of).collect()
    };
    (0..60).map(one).collect()
}

/// The longer completions tell as much a word, in words that come more easily.
#[test]
fn longer_completions_under_one_constitution_move_the_index_but_not_the_corrected_one() {
    let words = styles();
    let plain = measure(&contrasts(&words, &written(false)));
    let longer = measure(&contrasts(&words, &written(true)));
    let [before, after] = [&plain, &longer].map(|found| found.si.interval.value);
    assert!(before - after > 0.1, "{before} {after}");
    let [before, after] = [&plain, &longer].map(|found| found.si_corrected.value);
    assert!((before - after).abs() < 1e-12, "{before} {after}");
    let [before, after] = [&plain, &longer].map(|f| f.over_constitutions.interval.value);
    assert!((before - after).abs() < 1e-12, "{before} {after}");
}

/// What no permutation can undo: words that tell nothing thin out a mean over words. They lower the
/// index and cannot raise it.
#[test]
fn filler_under_one_constitution_thins_the_corrected_index_by_its_share() {
    let words = styles();
    let plain = measure(&contrasts(&words, &written(false)));
    let filled = |completions_k: &Vec<Completion>| {
        let filler = |(c, given): (usize, &Completion)| {
            let mut tokens_t = given.tokens_t.clone();
            if c == 1 {
                tokens_t.splice(3..3, [4; 3]);
            }
            completion(tokens_t)
        };
        completions_k.iter().enumerate().map(filler).collect()
    };
    let filled: Vec<Vec<Completion>> = written(false).iter().map(filled).collect();
    let found = measure(&contrasts(&words, &filled));
    let share = found.si_corrected.value / plain.si_corrected.value;
    assert!((share - 0.75).abs() < 1e-12, "{share}");
    let [before, after] = [&plain, &found].map(|f| f.information.value);
    assert!(
        (before - after).abs() < 1e-12,
        "the words still tell it: {before} {after}"
    );
}

#[test]
fn a_prompt_is_computed_once_for_all_constitutions_completions() {
    let words = Words(vec![vec![0.25; 4]; 3]);
    let asked = asked(5, 3);
    let one = |_| (0..3).map(|c| completion(vec![c, 1, 2, 3])).collect();
    let completions_qk: Vec<Vec<Completion>> = (0..5).map(one).collect();
    let found = score(
        &words,
        &asked,
        &completions_qk,
        1.0,
        usize::MAX,
        &mut |_, _| {},
    );
    let found = found.expect("known tokens");
    // Fifteen prompts of two tokens; of each completion the last token is not read.
    assert_eq!(found.tokens, 15 * 2 + 5 * 9 * 3);
    assert_eq!((found.forward_passes, found.incomplete), (1, 0));
}

#[test]
fn a_prompt_with_nothing_to_score_is_counted_and_left_out() {
    let words = Words(vec![vec![0.5; 2]; 2]);
    let mut completions_qk = vec![vec![completion(vec![0, 1]); 2]; 3];
    completions_qk[1][0].scored = None;
    let asked = asked(3, 2);
    let found = score(&words, &asked, &completions_qk, 1.0, 64, &mut |_, _| {});
    let found = found.expect("known tokens");
    assert_eq!((found.contrasts.len(), found.incomplete), (2, 1));
}

#[test]
fn the_index_converges_from_the_first_prompts_to_all_of_them() {
    let found = measure(&drawn(70, 2, 0.7, 0.5));
    let prompts: Vec<usize> = found
        .convergence
        .iter()
        .map(|(prompts, _)| *prompts)
        .collect();
    assert_eq!(prompts, [25, 50, 70]);
    assert_eq!(found.convergence[2].1, found.si.interval);
    let width = |n: usize| found.convergence[n].1.high - found.convergence[n].1.low;
    assert!(width(2) < width(0), "{:?}", found.convergence);
}
