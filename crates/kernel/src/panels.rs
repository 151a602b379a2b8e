//! The linear map whose weight is copied into panels, for decoding on a processor: what a step
//! reads lies one after another, which a core fetches by itself.

use crate::device::{Cpu, Device};
use crate::linear::begin;
use crate::matrix::{Matrix, Mode};
use crate::packed::{self, PANEL, Place, Right};
use crate::product::{WORK_MIN, ranges};

/// A copy of a weight `[in, out]`, which does not follow it.
#[derive(Clone, Debug)]
pub struct Weight {
    cpu: Cpu,
    inputs: usize,
    outputs: usize,
    /// Of each [`PANEL`] outputs all inputs.
    places: Vec<Place>,
}

impl Weight {
    /// Copies.
    ///
    /// # Panics
    /// Where the weight is not on a processor.
    pub fn new(weight_io: &Matrix) -> Weight {
        let Device::Cpu(cpu) = weight_io.device() else {
            panic!("panels are a processor's");
        };
        let (inputs, outputs) = (weight_io.rows(), weight_io.columns());
        let count = inputs * outputs.div_ceil(PANEL);
        let mut places = Vec::with_capacity(count);
        let panels = places.spare_capacity_mut()[..count].chunks_mut(inputs.max(1));
        let weight = weight_io.view();
        cpu.threads()
            .for_each(panels.enumerate(), |(index, panel)| {
                let columns = index * PANEL..((index + 1) * PANEL).min(outputs);
                for (input, place) in panel.iter_mut().enumerate() {
                    place.write(Place::new(&weight.row(input)[columns.clone()]));
                }
            });
        // SAFETY: each of these places has been written.
        unsafe { places.set_len(count) };
        Weight {
            cpu: cpu.clone(),
            inputs,
            outputs,
            places,
        }
    }
}

/// `y = x W + b`, or `y += x W + b`: bit for bit what [`crate::linear::forward`] gives for as many
/// rows as are decoded at once.
pub fn forward(
    x_ni: &Matrix,
    weight: &Weight,
    bias_1o: Option<&Matrix>,
    y_no: &mut Matrix,
    mode: Mode,
) {
    let (rows, outputs) = (x_ni.rows(), weight.outputs);
    x_ni.expect_shape("x", rows, weight.inputs);
    y_no.expect_shape("y", rows, outputs);
    if let Some(bias) = bias_1o {
        bias.expect_shape("bias", 1, outputs);
    }
    let threads = weight.cpu.threads();
    let useful = rows * weight.inputs * outputs / WORK_MIN;
    let ranges = ranges(outputs, threads.count().min(useful));
    let parts = ranges.iter().zip(y_no.target().divide_columns(&ranges));
    threads.for_each(parts, |(columns, mut target)| {
        let bias = bias_1o.map(|bias| &bias.values()[columns.clone()]);
        let mode = bias.map_or(mode, |bias| begin(&mut target, bias, mode));
        let places = &weight.places[columns.start / PANEL * weight.inputs..];
        let right = Right::Panels(places, weight.inputs);
        packed::multiply(x_ni.view(), right, &mut target, mode);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear;

    #[test]
    fn panels_change_no_bit() {
        for (rows, inputs, outputs) in [(1, 1, 1), (3, 70, 37), (8, 512, 256), (40, 301, 530)] {
            for threads in [1, 2] {
                let device = Device::cpu(Some(threads));
                let wave = |rows: usize, columns: usize, by: f32| {
                    let values = (0..rows * columns).map(|i| (i as f32 * by).sin());
                    device.matrix(rows, columns, values.collect())
                };
                let (x, w) = (wave(rows, inputs, 0.61), wave(inputs, outputs, 0.37));
                let (bias, weight) = (wave(1, outputs, 0.11), Weight::new(&w));
                for (bias, mode) in [(None, Mode::Write), (Some(&bias), Mode::Add)] {
                    let mut found = wave(rows, outputs, 0.23);
                    let mut expected = found.clone();
                    forward(&x, &weight, bias, &mut found, mode);
                    linear::forward(&x, &w, bias, &mut expected, mode);
                    assert_eq!(
                        found.to_vec(),
                        expected.to_vec(),
                        "{rows} x {inputs} x {outputs}, {threads} threads"
                    );
                }
            }
        }
    }
}
