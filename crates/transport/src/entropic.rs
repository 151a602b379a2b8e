//! One entropic transport problem between uniform weights.

use crate::newton::newton_step;
use crate::softmin::{softmin, transpose};
use crate::{Options, TransportError};

/// The solution of `OT_ε = min ⟨P, C⟩ + ε·KL(P ‖ a⊗b)` over plans P with uniform marginals a, b.
#[derive(Clone, Debug, PartialEq)]
pub struct Transport {
    /// `OT_ε` with its entropy term, as the value of the dual: a lower bound, right to about the
    /// square of `marginal_error`.
    pub value: f64,
    /// `⟨P, C⟩` alone.
    pub cost: f64,
    /// Dual potential of each source, in units of the cost; the two are unique up to a constant
    /// that moves between them.
    pub source_potential: Vec<f64>,
    /// Dual potential of each target.
    pub target_potential: Vec<f64>,
    /// The plan, sources × targets; its entries sum to 1.
    pub plan: Vec<f64>,
    /// Whether `marginal_error` is within the tolerance asked for.
    pub converged: bool,
    /// Iterations made, over all stages of ε.
    pub iterations: usize,
    /// L1 distance of the plan's marginals from the uniform ones.
    pub marginal_error: f64,
}

/// Entropic transport for a given cost, sources × targets, finite and not negative.
///
/// ε falls in stages from the largest cost to its value; in each, a Sinkhorn sweep is followed by a
/// Newton step until the marginals are right. Cost: about ten to thirty iterations of three passes
/// of exponentials.
///
/// # Errors
/// Where the cost has another shape, no entries, or an entry that is negative or not finite, or ε
/// is not positive.
///
/// # Source
/// The dual and its sweeps: Peyré and Cuturi, "Computational optimal transport" (2019), section
/// 4.4, with stages of ε after Schmitzer, "Stabilized sparse scaling algorithms for entropy
/// regularized transport problems" (2019). That each sweep is followed by a Newton step is [ours].
pub fn entropic(
    cost_nm: &[f64],
    sources: usize,
    targets: usize,
    options: &Options,
) -> Result<Transport, TransportError> {
    check_cost(cost_nm, sources, targets)?;
    let epsilon = options.epsilon.resolve(math::mean(cost_nm))?;
    Ok(solve(cost_nm, sources, targets, epsilon, options))
}

pub(crate) fn check_cost(
    cost_nm: &[f64],
    sources: usize,
    targets: usize,
) -> Result<(), TransportError> {
    if sources == 0 || targets == 0 {
        return Err(TransportError::EmptyCost { sources, targets });
    }
    let found = cost_nm.len();
    if found != sources * targets {
        return Err(TransportError::CostShape {
            found,
            sources,
            targets,
        });
    }
    match cost_nm
        .iter()
        .position(|cost| !(cost.is_finite() && *cost >= 0.0))
    {
        None => Ok(()),
        Some(at) => Err(TransportError::InvalidCost {
            source_point: at / targets,
            target_point: at % targets,
            found: cost_nm[at],
        }),
    }
}

/// ε falls by this factor from stage to stage.
const STAGE_RATIO: f64 = 4.0;
/// A stage before the last only has to bring the potentials near.
const STAGE_TOLERANCE: f64 = 0.05;
/// A Newton step moves no potential by more than this many ε; with 4, nearly separate parts of a
/// cloud took up to 183 iterations to come into balance, with 10 the same took 36.
const STEP_MAX: f64 = 10.0;
/// Newton steps are halved at most this often.
const HALVINGS_MAX: usize = 10;

/// As [`entropic`], for a cost already checked and ε in units of it.
pub(crate) fn solve(
    cost_nm: &[f64],
    sources: usize,
    targets: usize,
    epsilon: f64,
    options: &Options,
) -> Transport {
    let largest = cost_nm.iter().copied().fold(0.0, f64::max);
    let stages = (largest / epsilon).max(1.0).log(STAGE_RATIO).ceil() as i32;
    let mut ascent = Ascent::new(sources, targets);
    for stage in (0..=stages).rev() {
        let tolerance = if stage == 0 {
            options.tolerance
        } else {
            STAGE_TOLERANCE.max(options.tolerance)
        };
        ascent.rescale(cost_nm, epsilon * STAGE_RATIO.powi(stage));
        ascent.climb(tolerance, options.iterations_max);
    }
    ascent.finish(cost_nm, options.tolerance)
}

/// The dual being climbed; costs and potentials are in units of `epsilon`.
struct Ascent {
    epsilon: f64,
    cost_nm: Vec<f64>,
    cost_mn: Vec<f64>,
    source_n: Vec<f64>,
    target_m: Vec<f64>,
    /// Targets are its rows, and each row's sum is exact.
    plan_mn: Vec<f64>,
    error: f64,
    iterations: usize,
}

impl Ascent {
    fn new(sources: usize, targets: usize) -> Self {
        Self {
            epsilon: 1.0,
            cost_nm: Vec::new(),
            cost_mn: Vec::new(),
            source_n: vec![0.0; sources],
            target_m: vec![0.0; targets],
            plan_mn: vec![0.0; sources * targets],
            error: f64::INFINITY,
            iterations: 0,
        }
    }

    /// Goes on with the same potentials under another ε.
    fn rescale(&mut self, cost_nm: &[f64], epsilon: f64) {
        let ratio = self.epsilon / epsilon;
        self.source_n.iter_mut().for_each(|f| *f *= ratio);
        self.target_m.iter_mut().for_each(|g| *g *= ratio);
        self.cost_nm = cost_nm.iter().map(|cost| cost / epsilon).collect();
        self.cost_mn = transpose(&self.cost_nm, self.target_m.len());
        self.epsilon = epsilon;
    }

    fn climb(&mut self, tolerance: f64, iterations_max: usize) {
        loop {
            softmin(
                &self.cost_nm,
                &self.target_m,
                &mut self.source_n,
                &mut self.plan_mn,
            );
            softmin(
                &self.cost_mn,
                &self.source_n,
                &mut self.target_m,
                &mut self.plan_mn,
            );
            let residual_n = residual(&self.plan_mn, self.source_n.len());
            self.error = residual_n.iter().map(|r| r.abs()).sum();
            self.iterations += 1;
            if self.error <= tolerance || self.iterations >= iterations_max {
                return;
            }
            self.newton(&residual_n);
        }
    }

    /// Moves along the Newton direction, halving the step while it lands far beyond the top.
    ///
    /// The slope along the direction is compared, not the value: near the top the value's rise
    /// drowns in rounding. A direction that keeps failing is dropped; the sweeps climb on.
    fn newton(&mut self, residual_n: &[f64]) {
        let direction_n = newton_step(&self.plan_mn, residual_n);
        let slope = math::dot(residual_n, &direction_n);
        let furthest = direction_n.iter().fold(0.0, |far: f64, d| far.max(d.abs()));
        let mut length = (STEP_MAX / furthest).min(1.0);
        let mut target_m = vec![0.0; self.target_m.len()];
        for _ in 0..HALVINGS_MAX {
            let pairs = self.source_n.iter().zip(&direction_n);
            let source_n: Vec<f64> = pairs.map(|(f, d)| f + length * d).collect();
            softmin(&self.cost_mn, &source_n, &mut target_m, &mut self.plan_mn);
            let residual_after_n = residual(&self.plan_mn, source_n.len());
            if math::dot(&residual_after_n, &direction_n) >= -0.5 * slope {
                self.target_m = target_m;
                return;
            }
            length *= 0.5;
        }
    }

    fn finish(self, cost_nm: &[f64], tolerance: f64) -> Transport {
        let plan = transpose(&self.plan_mn, self.source_n.len());
        let unscale = |potential: Vec<f64>| -> Vec<f64> {
            potential.iter().map(|p| p * self.epsilon).collect()
        };
        let source_potential = unscale(self.source_n);
        let target_potential = unscale(self.target_m);
        Transport {
            value: math::mean(&source_potential) + math::mean(&target_potential),
            cost: math::dot(&plan, cost_nm),
            source_potential,
            target_potential,
            plan,
            converged: self.error <= tolerance,
            iterations: self.iterations,
            marginal_error: self.error,
        }
    }
}

/// What each source still lacks of its uniform weight.
fn residual(plan_mn: &[f64], sources: usize) -> Vec<f64> {
    let mut residual_n = vec![1.0 / sources as f64; sources];
    for plan_n in plan_mn.chunks_exact(sources) {
        for (residual, plan) in residual_n.iter_mut().zip(plan_n) {
            *residual -= plan;
        }
    }
    residual_n
}
