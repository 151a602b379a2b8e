//! Two updates against AdamW written out.

use crate::{AdamW, Bench, Finding, VerifyError};

const RATE: f64 = 1e-2;

/// Of the learning rate: a parameter near 1 is stored to 6e-8, six millionths of it.
const TOLERANCE: f64 = 1e-3;

pub(crate) fn run(bench: &mut Bench) -> Result<Vec<Finding>, VerifyError> {
    let policy = &mut bench.own.policy;
    let played = &bench.played;
    policy.set_parameters(&bench.moved);
    let mut expected = Expected::new(bench.adamw, policy.parameters());
    let mut worst = 0.0_f64;
    for step in 1..=2 {
        policy.forward(&played.batch)?;
        policy.backward(&played.signal_gradient);
        expected.update(&policy.gradient(), step);
        policy.update(RATE);
        let found = policy.parameters();
        for (found, expected) in found.iter().zip(&expected.parameters) {
            worst = worst.max((found - expected).abs() / RATE);
        }
        expected.parameters = found;
    }
    policy.set_parameters(&bench.start);
    let detail = "largest difference of two updates, in learning rates; f32";
    Ok(vec![Finding::new("", worst, TOLERANCE, detail)])
}

struct Expected {
    options: AdamW,
    parameters: Vec<f64>,
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Expected {
    fn new(options: AdamW, parameters: Vec<f64>) -> Self {
        let zeros = vec![0.0; parameters.len()];
        Self {
            options,
            first: zeros.clone(),
            second: zeros,
            parameters,
        }
    }

    fn update(&mut self, gradient: &[f64], step: i32) {
        let AdamW {
            beta1,
            beta2,
            epsilon,
            max_grad_norm,
        } = self.options;
        let norm = math::norm(gradient);
        let scale = if max_grad_norm > 0.0 && norm > max_grad_norm {
            max_grad_norm / norm
        } else {
            1.0
        };
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((parameter, gradient), (first, second)) in
            self.parameters.iter_mut().zip(gradient).zip(moments)
        {
            let gradient = scale * gradient;
            *first = beta1 * *first + (1.0 - beta1) * gradient;
            *second = beta2 * *second + (1.0 - beta2) * gradient * gradient;
            let first = *first / (1.0 - beta1.powi(step));
            let second = *second / (1.0 - beta2.powi(step));
            *parameter -= RATE * first / (second.sqrt() + epsilon);
        }
    }
}
