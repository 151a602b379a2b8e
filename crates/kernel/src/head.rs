//! Log-probabilities of given tokens, without the matrix of logits.

use crate::matrix::Matrix;

/// What the head gives for each row: nothing of the size of the vocabulary.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Log-probability of the target, in nats.
    pub logprobs_m: Vec<f32>,
    /// Logarithm of the sum of exponentials of the row's logits times the inverse temperature.
    pub log_sum_exp_m: Vec<f32>,
}

fn logits(hidden: &[f32], weight_dv: &Matrix, inverse_temperature: f32) -> Vec<f32> {
    let mut logits = vec![0.0; weight_dv.columns()];
    for (x, weight) in hidden.iter().zip(weight_dv.values().chunks(weight_dv.columns())) {
        logits.iter_mut().zip(weight).for_each(|(y, w)| *y += x * w * inverse_temperature);
    }
    logits
}

/// Scores `targets[m]` under `softmax(hidden[m, :] W · inverse_temperature)`.
pub fn forward(
    hidden_md: &Matrix,
    weight_dv: &Matrix,
    targets: &[u32],
    inverse_temperature: f32,
) -> Scores {
    let mut scores = Scores { logprobs_m: Vec::new(), log_sum_exp_m: Vec::new() };
    for (hidden, &target) in hidden_md.values().chunks(hidden_md.columns()).zip(targets) {
        let logits = logits(hidden, weight_dv, inverse_temperature);
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum = max + logits.iter().map(|x| (x - max).exp()).sum::<f32>().ln();
        scores.logprobs_m.push(logits[target as usize] - sum);
        scores.log_sum_exp_m.push(sum);
    }
    scores
}

/// Adds the gradients in the hidden states and the weight, from the gradient in the
/// log-probabilities: `dlogits = g (onehot − softmax) · inverse_temperature`.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    hidden_md: &Matrix,
    weight_dv: &Matrix,
    targets: &[u32],
    inverse_temperature: f32,
    log_sum_exp_m: &[f32],
    grad_logprobs_m: &[f32],
    grad_hidden_md: &mut Matrix,
    grad_weight_dv: &mut Matrix,
) {
    let (width, vocabulary) = (weight_dv.rows(), weight_dv.columns());
    for m in 0..hidden_md.rows() {
        let hidden = &hidden_md.values()[m * width..][..width];
        let mut grad = logits(hidden, weight_dv, inverse_temperature);
        let slope = grad_logprobs_m[m] * inverse_temperature;
        grad.iter_mut().for_each(|x| *x = -slope * (*x - log_sum_exp_m[m]).exp());
        grad[targets[m] as usize] += slope;
        let grad_weight = grad_weight_dv.values_mut().chunks_mut(vocabulary);
        for (i, grad_weight) in grad_weight.enumerate() {
            let weight = &weight_dv.values()[i * vocabulary..][..vocabulary];
            grad_hidden_md.values_mut()[m * width + i] +=
                grad.iter().zip(weight).map(|(g, w)| g * w).sum::<f32>();
            grad_weight.iter_mut().zip(&grad).for_each(|(w, g)| *w += hidden[i] * g);
        }
    }
}
