//! The Sufficiency Index of a principle: how much of what `k` constitutions could tell apart a
//! model's reasoning does tell apart, before any training. Each figure comes with an interval over
//! prompts and beside what the same scores give to labels that mean nothing.
//!
//! Start at [`sufficiency`].

use information::{Reading, channel_information, club, permuted_readings, reading};
use math::{Interval, Key, bootstrap, bootstrap_mean, central};

/// The fewest prompts for an interval: a bootstrap over fewer units is far too narrow. \[ours\]
pub const PROMPTS_MIN: usize = 20;

/// From this index on a principle that can be told from permuted labels is informative: a tenth of
/// what its constitutions could tell. \[ours\]
pub const INFORMATIVE: f64 = 0.1;

/// The fewest labellings behind the figures of permuted labels.
const LABELLINGS: usize = 1000;

/// The first number of prompts of the convergence; it doubles from there.
const CONVERGENCE_START: usize = 25;

/// The scores of one prompt, `[i][j]` completion `j` under constitution `i`, in nats.
#[derive(Clone, Debug, PartialEq)]
pub struct Contrast {
    /// Means over the scored tokens: the matrix `M` of training.
    pub means_kk: Vec<Vec<f64>>,
    /// Sums over all tokens: what the model holds of the whole completion.
    pub logprobs_kk: Vec<Vec<f64>>,
}

/// A figure, and what it is where labels mean nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// With its 95 % bootstrap interval over prompts.
    pub interval: Interval,
    /// Its mean over labellings in which every prompt's completions are permuted among its
    /// constitutions, and the ends between which 95 % of the labellings lie.
    pub permuted: Interval,
}

/// What can be said of a principle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The index is above what permuted labels give, and at least [`INFORMATIVE`].
    Informative,
    /// It is above what permuted labels give, but less than that.
    Weak,
    /// Its interval reaches into what permuted labels give.
    Indistinguishable,
}

/// The metrics of a principle before training.
#[derive(Clone, Debug, PartialEq)]
pub struct Sufficiency {
    /// Prompts that were read.
    pub prompts: usize,
    /// Half the sum of both bounds over `ln k`: 0 says nothing, 1 is all that can be said, below 0
    /// the scores do worse than none.
    pub si: Figure,
    /// The smaller bound over `ln k`.
    pub si_min: Figure,
    /// Bound from the contrast over constitutions, nats: a lower bound on what a completion tells.
    pub over_constitutions: Figure,
    /// Bound from the contrast over completions, nats. With one completion of each constitution it
    /// bounds `k` times the information, not the information.
    pub over_completions: Figure,
    /// Mean margin of a prompt over its standard deviation between prompts; not finite where all
    /// prompts have one margin.
    pub margin_z: Figure,
    /// Share of completions whose own constitution scores highest; chance is `1/k`.
    pub retrieval: Figure,
    /// `si` less its permuted mean: free of any constant that a completion or a constitution adds
    /// to its scores.
    pub si_corrected: Interval,
    /// What a whole completion tells of its constitution, nats: for completions of the model itself
    /// an estimate without bias, for others a lower bound.
    pub information: Interval,
    /// An upper bound on the same; `None` for completions of another origin, which it does not
    /// bound.
    pub upper: Option<Interval>,
    /// Whether the index can be told from permuted labels.
    pub verdict: Verdict,
    /// The index on the first so many prompts, doubling up to all.
    pub convergence: Vec<(usize, Interval)>,
    /// For each prompt, its mean margin in nats a token.
    pub margins_q: Vec<f64>,
}

/// Measures a principle by the contrasts of some prompts, all of `k` constitutions.
///
/// `is_own` says that the scoring model itself drew the completions, at the temperature of the
/// scores. `resamples` are those of each interval; all figures see the same ones. Cost:
/// `resamples · prompts`, and `prompts · k!` readings for up to six constitutions.
///
/// The index is \[ours\], after ENIGMA's "Sufficiency Index", whose formula is not known; so are
/// the labellings: every prompt meets each permutation equally often, so the permuted mean of a
/// figure that is a mean over prompts is exact.
///
/// # Panics
/// Without contrasts, or for one of fewer than two constitutions.
///
/// # Source
/// Bounds: [`information::contrast_losses`]. ENIGMA (arXiv 2510.11278) names the index.
pub fn sufficiency(
    contrasts: &[Contrast],
    is_own: bool,
    resamples: usize,
    key: Key,
) -> Sufficiency {
    let k = contrasts.first().expect("a contrast").means_kk.len();
    let most = (k as f64).ln();
    let readings_q: Vec<Reading> = contrasts.iter().map(|c| reading(&c.means_kk)).collect();
    let labellings = labellings(contrasts, key.child(1));
    let resampled = |statistic: &dyn Fn(&Totals) -> f64, prompts: usize| {
        bootstrap(prompts, resamples, key.child(0), |drawn| {
            statistic(&Totals::of(drawn.iter().map(|&q| &readings_q[q])))
        })
    };
    let figure = |statistic: &dyn Fn(&Totals) -> f64| Figure {
        interval: resampled(statistic, contrasts.len()),
        permuted: spread(labellings.iter().map(statistic).collect()),
    };
    let mean = |value: &dyn Fn(&Contrast) -> f64| {
        let values: Vec<(usize, f64)> = contrasts.iter().map(value).enumerate().collect();
        bootstrap_mean(&values, resamples, key.child(0))
    };
    let si_of = |totals: &Totals| totals.si(most);
    let si = figure(&si_of);
    Sufficiency {
        prompts: contrasts.len(),
        si_min: figure(&|t| t.over_constitutions().min(t.over_completions()) / most),
        over_constitutions: figure(&Totals::over_constitutions),
        over_completions: figure(&Totals::over_completions),
        margin_z: figure(&Totals::margin_z),
        retrieval: figure(&|t| t.sums.retrieval / t.count),
        si_corrected: resampled(&|t| t.sums.contrast / t.count / most, contrasts.len()),
        information: mean(&|c| channel_information(&c.logprobs_kk)),
        upper: is_own.then(|| mean(&|c| club(&c.logprobs_kk))),
        verdict: verdict(&si),
        convergence: convergence_points(contrasts.len())
            .map(|prompts| (prompts, resampled(&si_of, prompts)))
            .collect(),
        margins_q: readings_q.iter().map(|reading| reading.margin).collect(),
        si,
    }
}

/// The index is above what permuted labels give where its whole interval is above theirs.
fn verdict(si: &Figure) -> Verdict {
    if si.interval.low <= si.permuted.high {
        Verdict::Indistinguishable
    } else if si.interval.value < INFORMATIVE {
        Verdict::Weak
    } else {
        Verdict::Informative
    }
}

fn convergence_points(prompts: usize) -> impl Iterator<Item = usize> {
    let doubling = std::iter::successors(Some(CONVERGENCE_START), |n| Some(2 * n));
    let doubling = doubling.take_while(move |&n| n < prompts);
    doubling.chain(std::iter::once(prompts))
}

/// The sums over prompts of each labelling; a prompt meets each permutation equally often.
fn labellings(contrasts: &[Contrast], key: Key) -> Vec<Totals> {
    let mut totals = Vec::new();
    for (prompt, contrast) in contrasts.iter().enumerate() {
        let key = key.child(prompt as u64);
        let readings = permuted_readings(&contrast.means_kk, key.child(0));
        let count = readings.len() * LABELLINGS.div_ceil(readings.len());
        totals.resize(count, Totals::default());
        let order = key.child(1).permutation(count);
        for (labelling, number) in totals.iter_mut().zip(order) {
            labelling.add(&readings[number % readings.len()]);
        }
    }
    totals
}

/// Mean, and the ends of the central 95 %, of the values that are finite.
fn spread(mut values: Vec<f64>) -> Interval {
    values.retain(|value| value.is_finite());
    let value = math::mean(&values);
    let [low, high] = central(values);
    Interval { low, value, high }
}

/// Sums of readings.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    count: f64,
    sums: Reading,
    margin_squares: f64,
}

impl Totals {
    fn of<'a>(readings: impl Iterator<Item = &'a Reading>) -> Self {
        let mut totals = Self::default();
        readings.for_each(|reading| totals.add(reading));
        totals
    }

    fn add(&mut self, reading: &Reading) {
        self.count += 1.0;
        self.sums.over_constitutions += reading.over_constitutions;
        self.sums.over_completions += reading.over_completions;
        self.sums.margin += reading.margin;
        self.sums.retrieval += reading.retrieval;
        self.sums.contrast += reading.contrast;
        self.margin_squares += reading.margin * reading.margin;
    }

    fn over_constitutions(&self) -> f64 {
        self.sums.over_constitutions / self.count
    }

    fn over_completions(&self) -> f64 {
        self.sums.over_completions / self.count
    }

    fn si(&self, most: f64) -> f64 {
        0.5 * (self.over_constitutions() + self.over_completions()) / most
    }

    fn margin_z(&self) -> f64 {
        let mean = self.sums.margin / self.count;
        let variance = (self.margin_squares - self.count * mean * mean) / (self.count - 1.0);
        mean / variance.sqrt()
    }
}
