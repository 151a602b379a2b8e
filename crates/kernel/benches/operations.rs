//! Time of each operation at the shapes of two decoders, and its share of a step.
//!
//! `cargo bench -p kernel` prints a table; `cargo test` runs the same code once at a small size,
//! where only the asserted answers matter.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use kernel::attention::{self, Heads, Layout, RowSpans, Rule, Segment};
use kernel::glu::{self, Gate};
use kernel::rope::{Direction, Table};
use kernel::{
    Device, Matrix, Mode, Norm, adamw, add, embedding, head, linear, rms_norm, rope, sample,
};

/// The shape of a decoder and of its batch.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    width: usize,
    layers: usize,
    heads: Heads,
    inner: usize,
    vocabulary: usize,
    sequences: usize,
    length: usize,
}

const SHAPES: [Shape; 2] = [
    Shape {
        name: "3M",
        width: 192,
        layers: 6,
        heads: Heads {
            query: 6,
            key_value: 2,
            size: 32,
        },
        inner: 512,
        vocabulary: 512,
        sequences: 16,
        length: 128,
    },
    Shape {
        name: "25M",
        width: 512,
        layers: 8,
        heads: Heads {
            query: 8,
            key_value: 4,
            size: 64,
        },
        inner: 1408,
        vocabulary: 4096,
        sequences: 16,
        length: 128,
    },
];

/// The norm that is timed.
const NORM: Norm = Norm {
    epsilon: 1e-5,
    offset: 0.0,
};
/// The head that is timed.
const HEAD: head::Settings = head::Settings {
    inverse_temperature: 1.0,
    softcap: None,
};

/// Rows of a table, and how long to measure each.
struct Bench {
    device: Device,
    repeats: usize,
    lines: Vec<Line>,
}

struct Line {
    name: String,
    calls: usize,
    seconds: f64,
    /// Multiplications and additions of one call.
    operations: f64,
}

impl Bench {
    /// Times `body`, of which a step has `calls`.
    fn time(&mut self, name: &str, calls: usize, operations: usize, mut body: impl FnMut()) {
        body();
        let mut run = || {
            let start = Instant::now();
            body();
            start.elapsed().as_secs_f64()
        };
        // The shortest, in which other work on the machine shows least.
        let seconds = (0..self.repeats)
            .map(|_| run())
            .fold(f64::INFINITY, f64::min);
        self.lines.push(Line {
            name: name.into(),
            calls,
            seconds,
            operations: operations as f64,
        });
    }

    fn report(&mut self, title: &str) {
        let total: f64 = self
            .lines
            .iter()
            .map(|line| line.seconds * line.calls as f64)
            .sum();
        let operations: f64 = self
            .lines
            .iter()
            .map(|l| l.operations * l.calls as f64)
            .sum();
        println!(
            "\n{title}: {:.2} ms, {:.0} GFLOP/s",
            total * 1e3,
            operations / total / 1e9
        );
        for line in self.lines.drain(..) {
            let share = 100.0 * line.seconds * line.calls as f64 / total;
            let rate = line.operations / line.seconds / 1e9;
            let (calls, micros) = (line.calls, line.seconds * 1e6);
            println!(
                "{:28} {calls:3} x {micros:9.1} us {rate:6.1} GFLOP/s {share:5.1} %",
                line.name
            );
        }
    }

    fn ones(&self, rows: usize, columns: usize) -> Matrix {
        self.device.matrix(rows, columns, vec![1.0; rows * columns])
    }

    /// Small values that differ.
    fn waves(&self, rows: usize, columns: usize) -> Matrix {
        let values = (0..rows * columns)
            .map(|i| (i as f32 * 0.7).sin())
            .collect();
        self.device.matrix(rows, columns, values)
    }

    /// A linear map, forward and backward, `calls` times a step.
    fn linear(&mut self, name: &str, calls: usize, rows: usize, inputs: usize, outputs: usize) {
        let operations = 2 * rows * inputs * outputs;
        let (x, weight) = (self.ones(rows, inputs), self.ones(inputs, outputs));
        let mut y = self.ones(rows, outputs);
        self.time(&format!("{name} forward"), calls, operations, || {
            linear::forward(&x, &weight, None, &mut y, Mode::Write);
        });
        assert!(
            y.to_vec().iter().all(|y| (y - inputs as f32).abs() < 0.5),
            "{name} is wrong"
        );
        let mut grad_x = self.ones(rows, inputs);
        self.time(&format!("{name} backward input"), calls, operations, || {
            linear::backward_input(&y, &weight, &mut grad_x, Mode::Write);
        });
        let expected = (inputs * outputs) as f32;
        let found = grad_x.to_vec()[0];
        assert!(
            (found / expected - 1.0).abs() < 1e-3,
            "{name}: {found}, expected {expected}"
        );
        let mut grad_weight = self.ones(inputs, outputs);
        self.time(
            &format!("{name} backward weight"),
            calls,
            operations,
            || {
                linear::backward_weight(&x, &y, &mut grad_weight, None);
            },
        );
        assert!(
            grad_weight.to_vec()[0] > (rows * inputs) as f32,
            "{name}: nothing was added"
        );
    }

    /// Everything between the products, forward and backward.
    fn elementwise(&mut self, shape: &Shape) {
        let Shape {
            width,
            layers,
            inner,
            heads,
            ..
        } = *shape;
        let rows = shape.sequences * shape.length;
        let (x, weight) = (self.waves(rows, width), self.ones(1, width));
        let (mut y, mut inverse) = (self.ones(rows, width), self.ones(rows, 1));
        let mut grad_weight = self.ones(1, width);
        self.time("rms_norm forward", 2 * layers + 1, 4 * rows * width, || {
            rms_norm::forward(&x, &weight, NORM, &mut y, &mut inverse);
        });
        let mut grad_x = self.ones(rows, width);
        self.time(
            "rms_norm backward",
            2 * layers + 1,
            8 * rows * width,
            || {
                rms_norm::backward(
                    &x,
                    &weight,
                    NORM,
                    &inverse,
                    &y,
                    &mut grad_x,
                    &mut grad_weight,
                );
            },
        );
        self.time("add", 2 * layers, rows * width, || add::into(&x, &mut y));
        let gate_up = self.waves(rows, 2 * inner);
        let (mut act, mut grad) = (self.ones(rows, inner), self.ones(rows, 2 * inner));
        self.time("swiglu forward", layers, 20 * rows * inner, || {
            glu::forward(Gate::Silu, &gate_up, &mut act);
        });
        self.time("swiglu copy, backward", layers, 25 * rows * inner, || {
            grad.copy_from(&gate_up);
            glu::backward(Gate::Silu, &mut grad, &act);
        });
        let frequencies = vec![0.1; heads.size / 2];
        let table = Table::new(&self.device, heads.size, &frequencies, 1.0, shape.length);
        let positions: Vec<u32> = (0..rows).map(|row| (row % shape.length) as u32).collect();
        let mut qkv = self.waves(rows, heads.columns());
        let columns = (heads.query + heads.key_value) * heads.size;
        self.time("rope", 2 * layers, 3 * rows * columns, || {
            rope::rotate(&table, &positions, &mut qkv, 0..columns, Direction::Forward);
        });
        let (mut table, mut out) = (self.waves(width, shape.vocabulary), self.ones(rows, width));
        let ids: Vec<u32> = (0..rows)
            .map(|row| (row * 7 % shape.vocabulary) as u32)
            .collect();
        self.time("embedding forward", 1, 0, || {
            embedding::forward(&table, &ids, &mut out);
        });
        assert!(
            (out.to_vec()[0] - table.to_vec()[0]).abs() < 1e-9,
            "a wrong embedding"
        );
        self.time("embedding backward", 1, 0, || {
            embedding::backward(&ids, &out, &mut table);
        });
    }

    fn attention(&mut self, shape: &Shape) {
        let Shape {
            heads,
            layers,
            sequences,
            length,
            ..
        } = *shape;
        let rows = sequences * length;
        let segment = |i| Segment {
            start: i * length,
            length,
            parent: None,
        };
        let layout = Layout::new((0..sequences).map(segment).collect());
        let qkv = self.waves(rows, heads.columns());
        let (mut out, mut sums) = (
            self.ones(rows, heads.query_columns()),
            self.ones(rows, heads.query),
        );
        let rule = Rule::plain(&heads);
        // Half of the scores are seen.
        let operations = 2 * rows * length * heads.query_columns();
        self.time("attention forward", layers, operations, || {
            attention::forward(&layout, &heads, &rule, &qkv, &mut out, &mut sums);
        });
        let first = heads.columns() - heads.key_value * heads.size;
        let (found, expected) = (out.to_vec()[0], qkv.to_vec()[first]);
        assert!(
            (found - expected).abs() < 1e-6,
            "the first row sees itself alone"
        );
        let (grad_out, mut grad) = (self.waves(rows, heads.query_columns()), qkv.clone());
        self.time("attention backward", layers, operations * 5 / 2, || {
            attention::backward(
                &layout, &heads, &rule, &qkv, &out, &sums, &grad_out, &mut grad,
            );
        });
    }

    fn head(&mut self, shape: &Shape) {
        let (
            rows,
            Shape {
                width, vocabulary, ..
            },
        ) = (shape.sequences * shape.length, *shape);
        let (hidden, weight) = (self.ones(rows, width), self.ones(width, vocabulary));
        let targets: Vec<u32> = (0..rows).map(|row| (row % vocabulary) as u32).collect();
        let operations = 2 * rows * width * vocabulary;
        let mut scores = None;
        self.time("head forward", 1, operations, || {
            scores = Some(head::forward(&hidden, &weight, &targets, HEAD));
        });
        let scores = scores.expect("the head ran");
        let expected = -(vocabulary as f32).ln();
        assert!(
            scores
                .logprobs_m
                .iter()
                .all(|x| (x - expected).abs() < 1e-3),
            "wrong scores"
        );
        let (mut grad_hidden, mut grad_weight) = (hidden.clone(), weight.clone());
        let grad = vec![1.0; rows];
        self.time("head backward", 1, 3 * operations, || {
            head::backward(
                &hidden,
                &weight,
                &targets,
                HEAD,
                &scores.log_sum_exp_m,
                &grad,
                &mut grad_hidden,
                Some(&mut grad_weight),
            );
        });
    }

    fn optimizer(&mut self, shape: &Shape) {
        let parameters = shape.layers
            * shape.width
            * (shape.heads.columns() + shape.heads.query_columns() + 3 * shape.inner)
            + shape.width * shape.vocabulary;
        let (mut weight, grad) = (self.ones(1, parameters), self.ones(1, parameters));
        let (mut first, mut second) = (grad.clone(), grad.clone());
        let settings = adamw::Settings {
            learning_rate: 0.1,
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-8,
            weight_decay: 0.0,
        };
        self.time("adamw", 1, 12 * parameters, || {
            adamw::update(
                &mut weight,
                &grad,
                &mut first,
                &mut second,
                &settings,
                1000,
                1.0,
            );
        });
        assert!(weight.to_vec()[0] < 1.0, "the weight did not move");
    }

    fn training(&mut self, shape: &Shape) {
        let Shape {
            width,
            layers,
            inner,
            heads,
            ..
        } = *shape;
        let rows = shape.sequences * shape.length;
        self.linear("qkv", layers, rows, width, heads.columns());
        self.linear("out", layers, rows, heads.query_columns(), width);
        self.linear("gate_up", layers, rows, width, 2 * inner);
        self.linear("down", layers, rows, inner, width);
        self.elementwise(shape);
        self.attention(shape);
        self.head(shape);
        self.optimizer(shape);
        self.report(&format!("training step, {}", shape.name));
    }

    fn decoding_attention(&mut self, shape: &Shape) {
        let Shape {
            layers,
            heads,
            sequences,
            length,
            ..
        } = *shape;
        let qkv = self.waves(sequences, heads.columns());
        let mut cache = self.waves(sequences * length, 2 * heads.key_value * heads.size);
        let span = |i| RowSpans {
            shared: 0..0,
            own: i * length..(i + 1) * length,
        };
        let spans: Vec<_> = (0..sequences).map(span).collect();
        let at: Vec<u32> = (0..sequences).map(|i| (i * length) as u32).collect();
        let mut out = self.ones(sequences, heads.query_columns());
        let mut sums = self.ones(sequences, heads.query);
        self.time("append", layers, 0, || {
            attention::append(&heads, &qkv, &mut cache, &at);
        });
        let rule = Rule::plain(&heads);
        let operations = 4 * sequences * length * heads.query_columns();
        self.time("cached", layers, operations, || {
            attention::cached(&heads, &rule, &qkv, &cache, &spans, &mut out, &mut sums);
        });
        let shared: Vec<_> = spans
            .iter()
            .map(|span| RowSpans {
                shared: 0..length,
                own: span.own.clone(),
            })
            .collect();
        self.time("cached, shared prefix", 0, 2 * operations, || {
            attention::cached(&heads, &rule, &qkv, &cache, &shared, &mut out, &mut sums);
        });
    }

    fn decoding(&mut self, shape: &Shape) {
        let Shape {
            width,
            layers,
            inner,
            heads,
            vocabulary,
            sequences,
            ..
        } = *shape;
        // Distinct weights a layer, so that they come from memory as in a decoder.
        let linear =
            |bench: &mut Bench, name: &str, calls: usize, inputs: usize, outputs: usize| {
                let (x, mut y) = (
                    bench.ones(sequences, inputs),
                    bench.ones(sequences, outputs),
                );
                let weights: Vec<_> = (0..calls).map(|_| bench.ones(inputs, outputs)).collect();
                bench.time(name, 1, 2 * sequences * inputs * outputs * calls, || {
                    for weight in &weights {
                        linear::forward(&x, weight, None, &mut y, Mode::Write);
                    }
                });
                assert!(
                    (y.to_vec()[0] - inputs as f32).abs() < 0.5,
                    "{name} is wrong"
                );
            };
        linear(self, "qkv", layers, width, heads.columns());
        linear(self, "out", layers, heads.query_columns(), width);
        linear(self, "gate_up", layers, width, 2 * inner);
        linear(self, "down", layers, inner, width);
        linear(self, "head", 1, width, vocabulary);
        self.decoding_attention(shape);
        let (x, weight) = (self.waves(sequences, width), self.ones(1, width));
        let (mut y, mut inverse) = (self.ones(sequences, width), self.ones(sequences, 1));
        self.time("rms_norm", 2 * layers + 1, 4 * sequences * width, || {
            rms_norm::forward(&x, &weight, NORM, &mut y, &mut inverse);
        });
        let (gate_up, mut act) = (
            self.waves(sequences, 2 * inner),
            self.ones(sequences, inner),
        );
        self.time("swiglu", layers, 20 * sequences * inner, || {
            glu::forward(Gate::Silu, &gate_up, &mut act);
        });
        self.time("add", 2 * layers, sequences * width, || {
            add::into(&x, &mut y);
        });
        let logits = self.waves(sequences, vocabulary);
        let options = sample::Options {
            temperature: 1.0,
            top_k: None,
            top_p: None,
        };
        let mut draws = Vec::new();
        self.time("sample", 1, 0, || {
            draws = sample::draw(&logits, &options, &vec![0.5; sequences]);
        });
        assert_eq!(draws.len(), sequences);
        self.report(&format!("decoding {sequences} rows, {}", shape.name));
    }
}

fn main() {
    let whole = std::env::args().any(|argument| argument == "--bench");
    let repeats = if whole { 15 } else { 1 };
    let mut bench = Bench {
        device: Device::cpu(None),
        repeats,
        lines: Vec::new(),
    };
    for mut shape in SHAPES {
        if !whole {
            (shape.sequences, shape.length, shape.layers) = (2, 16, 1);
            (shape.inner, shape.vocabulary) = (96, 96);
        }
        bench.training(&shape);
        bench.decoding(&shape);
    }
}
