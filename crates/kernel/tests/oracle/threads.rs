//! The number of threads changes the time of a result, never its bits.

use kernel::attention::{Heads, Rule};
use kernel::glu::{self, Gate};
use kernel::rope::{Direction, Table};
use kernel::{Device, Matrix, Mode, Norm};
use kernel::{
    adamw, add, embedding, head, head_norm, linear, norm, rms_norm, rope, sample, scale, softcap,
};

use crate::attention::{layout, run};
use crate::check::hashed_on;

const ROWS: usize = 300;
const WIDTH: usize = 160;

fn linear_and_norms(device: &Device) -> Vec<Matrix> {
    let hashed = |seed, rows, columns| hashed_on(device, seed, rows, columns, 1.0);
    let (x, weight) = (hashed(1, ROWS, WIDTH), hashed(2, WIDTH, 700));
    let mut y = hashed(3, ROWS, 700);
    linear::forward(&x, &weight, Some(&hashed(4, 1, 700)), &mut y, Mode::Add);
    let (mut grad_x, mut grad_weight) = (device.zeros(ROWS, WIDTH), device.zeros(WIDTH, 700));
    linear::backward_input(&y, &weight, &mut grad_x, Mode::Write);
    let mut grad_bias = device.zeros(1, 700);
    linear::backward_weight(&x, &y, &mut grad_weight, Some(&mut grad_bias));
    let mut few = device.zeros(7, 700);
    linear::forward(&hashed(5, 7, WIDTH), &weight, None, &mut few, Mode::Write);
    let mut deep = device.zeros(16, 200);
    linear::forward(
        &hashed(5, 16, 1400),
        &hashed(6, 1400, 200),
        None,
        &mut deep,
        Mode::Write,
    );
    let (mut normed, mut inverse) = (device.zeros(ROWS, WIDTH), device.zeros(ROWS, 1));
    let scale = hashed(6, 1, WIDTH);
    let rule = Norm {
        epsilon: 1e-5,
        offset: 1.0,
    };
    rms_norm::forward(&x, &scale, rule, &mut normed, &mut inverse);
    let mut grad_scale = device.zeros(1, WIDTH);
    rms_norm::backward(
        &x,
        &scale,
        rule,
        &inverse,
        &normed,
        &mut grad_x,
        &mut grad_scale,
    );
    let (scale, mut inverse, mut grad_head) =
        (hashed(7, 1, 16), device.zeros(ROWS, 8), device.zeros(1, 16));
    head_norm::forward(&x, 16..144, &scale, rule, &mut normed, &mut inverse);
    let (at, grad_y) = (16..144, normed.clone());
    head_norm::backward(
        &x,
        at,
        &scale,
        rule,
        &inverse,
        &grad_y,
        &mut normed,
        &mut grad_head,
    );
    vec![
        y,
        grad_x,
        grad_weight,
        grad_bias,
        few,
        deep,
        normed,
        grad_scale,
        grad_head,
    ]
}

fn attention_and_head(device: &Device) -> Vec<Matrix> {
    let heads = Heads {
        query: 6,
        key_value: 2,
        size: 16,
    };
    let layout = layout(&[(150, None), (60, Some(0)), (40, Some(0)), (50, None)]);
    let mut qkv = hashed_on(device, 1, ROWS, heads.columns(), 2.0);
    let table = Table::new(
        device,
        16,
        &[1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005],
        1.0,
        ROWS,
    );
    let positions: Vec<u32> = (0..ROWS as u32).collect();
    rope::rotate(&table, &positions, &mut qkv, 0..128, Direction::Forward);
    let grad_out = hashed_on(device, 2, ROWS, 96, 1.0);
    let plain = Rule::plain(&heads);
    let bent = Rule {
        softcap: Some(1.5),
        window: Some(50),
        ..plain
    };
    let run = |rule| run(device, &layout, &heads, rule, &qkv, &grad_out);
    let mut results: Vec<_> = [&plain, &bent].into_iter().flat_map(run).collect();
    let (hidden, weight) = (
        hashed_on(device, 3, ROWS, 96, 1.0),
        hashed_on(device, 4, 96, 1500, 1.0),
    );
    let targets: Vec<u32> = positions.iter().map(|i| i * 4).collect();
    let settings = head::Settings {
        inverse_temperature: 0.9,
        softcap: Some(3.0),
    };
    let scores = head::forward(&hidden, &weight, &targets, settings);
    let (mut grad_hidden, mut grad_weight) = (device.zeros(ROWS, 96), device.zeros(96, 1500));
    let (sums, grads) = (&scores.log_sum_exp_m, &scores.logprobs_m);
    head::backward(
        &hidden,
        &weight,
        &targets,
        settings,
        sums,
        grads,
        &mut grad_hidden,
        Some(&mut grad_weight),
    );
    results.extend([
        grad_hidden,
        grad_weight,
        device.matrix(1, ROWS, scores.logprobs_m),
    ]);
    results
}

fn the_rest(device: &Device) -> Vec<Matrix> {
    let hashed = |seed, rows, columns| hashed_on(device, seed, rows, columns, 1.0);
    let (mut gate_up, grad_act) = (hashed(1, ROWS, 2 * WIDTH), hashed(2, ROWS, WIDTH));
    let mut act = device.zeros(ROWS, WIDTH);
    glu::forward(Gate::GeluTanh, &gate_up, &mut act);
    glu::backward(Gate::GeluTanh, &mut gate_up, &grad_act);
    softcap::apply(&mut act, 0.5);
    scale::by(&mut act, 1.7);
    add::into(&grad_act, &mut act);
    let ids: Vec<u32> = (0..ROWS as u32).map(|i| i * i % 200).collect();
    let mut table = hashed(3, WIDTH, 200);
    embedding::backward(&ids, &grad_act, &mut table);
    let mut out = device.zeros(ROWS, WIDTH);
    embedding::forward(&table, &ids, &mut out);
    let (mut first, mut second) = (hashed(4, ROWS, WIDTH), device.zeros(ROWS, WIDTH));
    let settings = adamw::Settings {
        learning_rate: 0.01,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-8,
        weight_decay: 0.1,
    };
    adamw::update(&mut out, &act, &mut first, &mut second, &settings, 3, 0.5);
    let options = sample::Options {
        temperature: 0.8,
        top_k: Some(50),
        top_p: Some(0.9),
    };
    let draws = sample::draw(&act, &options, &[0.3; ROWS]);
    let draws = draws
        .iter()
        .flat_map(|d| [d.token as f32, d.logprob, d.entropy])
        .collect();
    let squared = norm::squared(&gate_up);
    let squared = device.matrix(1, 2, vec![squared as f32, (squared * 1e6).fract() as f32]);
    vec![
        act,
        gate_up,
        table,
        out,
        first,
        second,
        device.matrix(ROWS, 3, draws),
        squared,
    ]
}

#[test]
fn one_two_and_five_threads_and_a_second_run_give_the_same_bits() {
    let all = |threads: usize| {
        let device = Device::cpu(Some(threads));
        assert_eq!(device.threads(), threads);
        let results = [
            linear_and_norms(&device),
            attention_and_head(&device),
            the_rest(&device),
        ];
        let bits = |matrix: Matrix| matrix.to_vec().into_iter().map(f32::to_bits).collect();
        results
            .into_iter()
            .flatten()
            .map(bits)
            .collect::<Vec<Vec<u32>>>()
    };
    let expected = all(1);
    for threads in [1, 2, 5] {
        for (index, (found, expected)) in all(threads).iter().zip(&expected).enumerate() {
            let differ = found.iter().zip(expected).filter(|(a, b)| a != b).count();
            assert_eq!(
                differ, 0,
                "result {index} with {threads} threads: entries that differ"
            );
        }
    }
}
