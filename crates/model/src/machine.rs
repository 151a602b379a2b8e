//! What a machine does at most, by measurement: the limits that a model's speed is held against.

use std::time::Instant;

use kernel::{Device, Matrix, Mode, linear, norm};

/// The rates of one device with all its threads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MachineRates {
    /// Floating-point operations a second of large products of float32 matrices, through the
    /// product that the decoder uses; on a card, that rounds its operands to bfloat16.
    pub matrix_product_flops: f64,
    /// Bytes a second that are read from memory.
    pub memory_bandwidth: f64,
}

/// Rows, inputs and outputs of the products: a square, and the shape of a batch and a layer.
const PRODUCTS: [[usize; 3]; 2] = [[2048, 2048, 2048], [4096, 512, 2816]];
/// As large as it takes until launching and rounding count for little on a card.
const CARD_PRODUCTS: [[usize; 3]; 1] = [[8192, 8192, 8192]];
/// Values of the array that is read, 512 MiB: far more than caches hold.
const STREAMED: usize = 1 << 27;
/// On a card 4 GiB, beside which starting and ending count for little.
const CARD_STREAMED: usize = 1 << 30;
/// Each product and each reading is repeated; the best counts.
const REPEATS: usize = 4;

impl MachineRates {
    /// Measures for some seconds; nothing else should run meanwhile. Holds 512 MiB, or 4 GiB of a
    /// card.
    pub fn measure(device: &Device) -> Self {
        let (shapes, streamed) = match device {
            Device::Cpu(_) => (&PRODUCTS[..], STREAMED),
            Device::Cuda(_) => (&CARD_PRODUCTS[..], CARD_STREAMED),
        };
        let products = shapes.iter().map(|shape| product_flops(device, *shape));
        Self {
            matrix_product_flops: products.fold(0.0, f64::max),
            memory_bandwidth: bandwidth(device, streamed),
        }
    }
}

fn product_flops(device: &Device, [rows, inputs, outputs]: [usize; 3]) -> f64 {
    let filled = |rows, columns| {
        let mut matrix = device.zeros(rows, columns);
        matrix.fill(0.5);
        matrix
    };
    let (x_ni, weight_io) = (filled(rows, inputs), filled(inputs, outputs));
    let mut y_no = device.zeros(rows, outputs);
    let seconds = best_seconds(|| {
        linear::forward(&x_ni, &weight_io, None, &mut y_no, Mode::Write);
        device.wait();
    });
    2.0 * (rows * inputs * outputs) as f64 / seconds
}

/// Bytes a second of a sum that reads each value once.
fn bandwidth(device: &Device, count: usize) -> f64 {
    let mut values = device.zeros(1, count);
    // Pages that were never written may be one and the same page.
    values.fill(1.0);
    let seconds = best_seconds(|| read(&values, count));
    size_of_val(&1.0_f32) as f64 * count as f64 / seconds
}

fn read(values: &Matrix, count: usize) {
    let sum = norm::squared(values);
    assert!(
        (sum - count as f64).abs() < 0.5,
        "the squares of {count} ones sum to {sum}"
    );
}

fn best_seconds(mut run: impl FnMut()) -> f64 {
    let timed = (0..REPEATS).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    timed.fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_work_that_was_done() {
        let device = Device::cpu(Some(1));
        // No processor of one thread is that fast; an emulated one may be very slow.
        let flops = product_flops(&device, [64, 256, 256]);
        assert!((1.0..1e15).contains(&flops), "{flops} operations a second");
        let bytes = bandwidth(&device, 1 << 20);
        assert!((1.0..1e13).contains(&bytes), "{bytes} bytes a second");
    }
}
