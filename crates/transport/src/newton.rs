//! The Newton direction of the semi-dual, by elimination.

/// What ties each potential to its place, as a share of its point's weight. Parts of a cloud that
/// share less mass than this move by their imbalance over it, rather than by rounding over nothing.
const DAMPING: f64 = 1e-12;

/// Solves `(diag(P·1) − m·P·Pᵀ + damping)·step = residual` for the step of the sources' potentials.
///
/// `plan_mn` is the plan with the targets as its rows, each summing to 1/m. The matrix is the
/// Laplacian of a graph on the sources, whose edges span dozens of orders of magnitude at small ε.
/// Points are eliminated one by one, their edges handed on to the others; sums of positive numbers
/// only, so every edge keeps its relative accuracy. Cost: `n²·(m/2 + n/6)` multiplications.
///
/// # Source
/// Newton for the dual: Brauer, Clason, Lorenz and Wirth, "A Sinkhorn–Newton method for entropic
/// optimal transport" (2017). Elimination without subtraction: Grassmann, Taksar and
/// Heyman, "Regenerative analysis and steady state distributions for Markov chains" (1985).
pub(crate) fn newton_step(plan_mn: &[f64], residual_n: &[f64]) -> Vec<f64> {
    let n = residual_n.len();
    let mut edges_nn = edges(plan_mn, n);
    let mut ground_n = vec![DAMPING / n as f64; n];
    let mut degrees_n = vec![0.0; n];
    let mut step_n = residual_n.to_vec();
    for last in (0..n).rev() {
        let (kept, last_edges) = edges_nn.split_at_mut(last * n);
        let last_edges = &last_edges[..last];
        degrees_n[last] = ground_n[last] + last_edges.iter().sum::<f64>();
        for (i, edges) in kept.chunks_exact_mut(n).enumerate() {
            let share = last_edges[i] / degrees_n[last];
            step_n[i] += share * step_n[last];
            ground_n[i] += share * ground_n[last];
            for (edge, through) in edges[..i].iter_mut().zip(last_edges) {
                *edge += share * through;
            }
        }
    }
    for i in 0..n {
        let inflow = math::dot(&edges_nn[i * n..][..i], &step_n[..i]);
        step_n[i] = (step_n[i] + inflow) / degrees_n[i];
    }
    step_n
}

/// The mass two sources send to the same targets, `m·P·Pᵀ`, below the diagonal; else 0.
fn edges(plan_mn: &[f64], n: usize) -> Vec<f64> {
    let m = (plan_mn.len() / n) as f64;
    let mut edges_nn = vec![0.0; n * n];
    for plan_n in plan_mn.chunks_exact(n) {
        for (i, edges_n) in edges_nn.chunks_exact_mut(n).enumerate() {
            let weight = m * plan_n[i];
            for (edge, plan) in edges_n[..i].iter_mut().zip(plan_n) {
                *edge += weight * plan;
            }
        }
    }
    edges_nn
}
