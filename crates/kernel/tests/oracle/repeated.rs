//! Work that is repeated, as one launch where the device can.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use kernel::attention::{self, Heads, RowSpans, Rule};
use kernel::rope::{self, Direction};
use kernel::{
    CudaOptions, Device, Dispatch, Matrix, Mode, Norm, Precision, Repeated, embedding, linear,
    rms_norm,
};

use crate::check::{EXACT, device, hashed_on, is_card};

const HEADS: Heads = Heads {
    query: 6,
    key_value: 2,
    size: 8,
};
const WIDTH: usize = 20;
const VOCABULARY: usize = 50;
/// Keys of the prompt that rows share, and steps of a row at most.
const PROMPT: usize = 300;
const STEPS_MAX: usize = 40;
/// Rows of the steps one after another: some come, some leave, one that is left shares with none.
const ROWS: [usize; 19] = [2, 2, 5, 5, 5, 5, 5, 3, 3, 3, 2, 3, 3, 1, 1, 1, 1, 5, 5];

/// A layer that decodes: what it reads, and what it writes.
struct Layer {
    embedding: Matrix,
    norm: Matrix,
    qkv: Matrix,
    output: Matrix,
    table: rope::Table,
    cache: Matrix,
    stream: Matrix,
    normed: Matrix,
    inverse_rms: Matrix,
    kept: Matrix,
    attended: Matrix,
    sums: Matrix,
}

impl Layer {
    fn new(device: &Device) -> Layer {
        let hashed = |seed, rows, columns| hashed_on(device, seed, rows, columns, 1.0);
        let frequencies = [1.0, 0.1, 0.01, 0.001];
        Layer {
            embedding: hashed(1, WIDTH, VOCABULARY),
            norm: hashed(2, 1, WIDTH),
            qkv: hashed(3, WIDTH, HEADS.columns()),
            output: hashed(4, HEADS.query_columns(), WIDTH),
            table: rope::Table::new(device, HEADS.size, &frequencies, 1.0, PROMPT + STEPS_MAX),
            cache: hashed(5, PROMPT + 5 * STEPS_MAX, 2 * HEADS.key_value * HEADS.size),
            stream: device.zeros(0, WIDTH),
            normed: device.zeros(0, WIDTH),
            inverse_rms: device.zeros(0, 1),
            kept: device.zeros(0, HEADS.columns()),
            attended: device.zeros(0, HEADS.query_columns()),
            sums: device.zeros(0, HEADS.query),
        }
    }

    /// One step of so many rows.
    fn step(&mut self, step: usize, rows: usize) {
        let list = |of: &dyn Fn(usize) -> usize| (0..rows).map(|row| of(row) as u32).collect();
        let own = |row: usize| PROMPT + row * STEPS_MAX;
        let tokens: Vec<u32> = list(&|row| (7 * step + 11 * row) % VOCABULARY);
        let positions: Vec<u32> = list(&|_| PROMPT + step);
        let at: Vec<u32> = list(&|row| own(row) + step);
        let spans = |row: usize| RowSpans {
            shared: 0..PROMPT,
            own: own(row)..own(row) + step + 1,
        };
        let spans: Vec<RowSpans> = (0..rows).map(spans).collect();
        let norm = Norm {
            epsilon: 1e-5,
            offset: 0.0,
        };
        self.stream.resize_rows(rows);
        embedding::forward(&self.embedding, &tokens, &mut self.stream);
        for matrix in [&mut self.normed, &mut self.inverse_rms, &mut self.kept] {
            matrix.resize_rows(rows);
        }
        self.attended.resize_rows(rows);
        self.sums.resize_rows(rows);
        let (normed, inverse_rms) = (&mut self.normed, &mut self.inverse_rms);
        rms_norm::forward(&self.stream, &self.norm, norm, normed, inverse_rms);
        // A temporary of the host's, and zeros: memory that is taken and given back in a step.
        let mut qkv = self.stream.device().zeros(rows, HEADS.columns());
        linear::forward(&self.normed, &self.qkv, None, &mut qkv, Mode::Add);
        let turned: Range<usize> = 0..(HEADS.query + HEADS.key_value) * HEADS.size;
        rope::rotate(
            &self.table,
            &positions,
            &mut qkv,
            turned,
            Direction::Forward,
        );
        self.kept.copy_from(&qkv);
        attention::append(&HEADS, &self.kept, &mut self.cache, &at);
        let (rule, out) = (Rule::plain(&HEADS), &mut self.attended);
        attention::cached(
            &HEADS,
            &rule,
            &qkv,
            &self.cache,
            &spans,
            out,
            &mut self.sums,
        );
        linear::forward(
            &self.attended,
            &self.output,
            None,
            &mut self.stream,
            Mode::Add,
        );
    }
}

/// Bits of what each step leaves, and the first letter of how it reached the device.
fn decode(device: &Device, mut turns: Option<Repeated>) -> (Vec<Vec<u32>>, String) {
    let mut layer = Layer::new(device);
    let (mut found, mut dispatches) = (Vec::new(), String::new());
    for (step, &rows) in ROWS.iter().enumerate() {
        let mut work = || layer.step(step, rows);
        let dispatch = match &mut turns {
            None => {
                work();
                Dispatch::Eager
            }
            Some(turns) => turns.turn(work),
        };
        dispatches.extend(format!("{dispatch:?}").chars().next());
        let values = [&layer.stream, &layer.sums].map(Matrix::to_vec).concat();
        found.push(values.into_iter().map(f32::to_bits).collect());
    }
    (found, dispatches)
}

#[track_caller]
fn assert_repeats(device: &Device, dispatches: &str) {
    let (expected, _) = decode(device, None);
    let found = decode(device, Some(Repeated::new(device)));
    assert_eq!(found, (expected, dispatches.to_owned()));
}

#[test]
fn repeated_work_gives_the_bits_of_work_done_once_and_is_replayed_where_only_tables_change() {
    if !is_card() {
        return assert_repeats(&device(), "EEEEEEEEEEEEEEEEEEE");
    }
    // Two rows of three have the same nodes as three; one row reads no keys that it shares.
    assert_repeats(&device(), "ECEURRREURERRECRREC");
    let rounding = CudaOptions {
        precision: Precision::Bfloat16,
        ..EXACT
    };
    let rounding = Device::cuda(rounding).expect("the card that the environment asks for");
    // The first step rounds the weights, and no other does.
    assert_repeats(&rounding, "EEECRRREURERRECRREC");
}

#[test]
fn what_is_given_up_inside_of_repeated_work_is_there_until_the_work_is_done() {
    let device = device();
    let mut turns = Repeated::new(&device);
    let mut target = device.zeros(2, 3);
    for seed in 0..4 {
        let source = hashed_on(&device, seed, 2, 3, 1.0);
        let expected = source.to_vec();
        turns.turn(|| {
            target.copy_from(&source);
            drop(source);
        });
        assert_eq!(target.to_vec(), expected);
    }
}

#[test]
fn a_turn_that_reads_a_card_asserts_and_leaves_the_next_one_whole() {
    if !is_card() {
        return;
    }
    let device = device();
    let (mut turns, mut matrix) = (Repeated::new(&device), device.zeros(2, 2));
    let read = || turns.turn(|| assert_eq!(matrix.to_vec(), [0.0; 4]));
    let payload = catch_unwind(AssertUnwindSafe(read)).expect_err("it reads");
    let expected = "the host waits, or writes, inside of repeated work";
    assert_eq!(payload.downcast_ref(), Some(&expected));
    turns.turn(|| matrix.fill(3.0));
    assert_eq!(matrix.to_vec(), [3.0; 4]);
}
