//! Rotary position embedding.

use kernel::rope::{self, Direction, Table};

use crate::check::{assert_close, cases, device, hashed, wide};

#[test]
fn rotated_heads_equal_those_of_transformers() {
    for case in cases(include_str!("fixtures/rope.json")) {
        let [n, heads, size] = case.counts("shape");
        let positions: Vec<u32> = case.values("positions").iter().map(|x| *x as u32).collect();
        let frequencies = case.values("inverse_frequencies");
        let frequencies: Vec<f32> = frequencies.iter().map(|x| *x as f32).collect();
        let scale = case.values("scale")[0] as f32;
        let table = Table::new(&device(), size, &frequencies, scale, 131_072);
        let mut x = hashed(1, n, heads * size, 1.0);
        rope::rotate(
            &table,
            &positions,
            &mut x,
            0..heads * size,
            Direction::Forward,
        );
        case.expect("y", &x, 1e-6);
    }
}

#[test]
fn rotating_back_restores_the_heads_and_leaves_other_columns_alone() {
    let table = Table::new(&device(), 6, &[1.0, 0.1, 0.01], 1.0, 64);
    let positions: Vec<u32> = (0..40).map(|i| i * 7 % 64).collect();
    let before = hashed(1, 40, 20, 1.0);
    let mut x = before.clone();
    rope::rotate(&table, &positions, &mut x, 3..15, Direction::Forward);
    for (turned, before) in wide(&x).chunks(20).zip(wide(&before).chunks(20)) {
        assert_eq!((&turned[..3], &turned[15..]), (&before[..3], &before[15..]));
    }
    rope::rotate(&table, &positions, &mut x, 3..15, Direction::Backward);
    assert_close("x", &wide(&x), &wide(&before), 1e-6);
}

#[test]
fn products_of_two_rotated_heads_depend_on_their_distance_alone() {
    let table = Table::new(&device(), 8, &[1.0, 0.3, 0.05, 0.004], 1.0, 200);
    let product = |positions: [u32; 2]| {
        let mut x = device().zeros(2, 8);
        x.write(&[hashed(1, 1, 8, 1.0).to_vec(), hashed(2, 1, 8, 1.0).to_vec()].concat());
        rope::rotate(&table, &positions, &mut x, 0..8, Direction::Forward);
        let x = wide(&x);
        x[..8].iter().zip(&x[8..]).map(|(a, b)| a * b).sum::<f64>()
    };
    let (near, far) = (product([5, 2]), product([155, 152]));
    assert!(
        (near - far).abs() < 1e-5,
        "{near} at 5 and 2, {far} at 155 and 152"
    );
}

#[test]
fn the_attention_scale_multiplies_the_rotated_heads() {
    let mut lengths = Vec::new();
    for scale in [1.0, 1.5] {
        let table = Table::new(&device(), 4, &[1.0, 0.1], scale, 8);
        let mut x = hashed(1, 3, 4, 1.0);
        rope::rotate(&table, &[1, 4, 7], &mut x, 0..4, Direction::Forward);
        lengths.push(wide(&x).iter().map(|x| x * x).sum::<f64>().sqrt());
    }
    assert!(
        (lengths[1] / lengths[0] - 1.5).abs() < 1e-6,
        "lengths {lengths:?}"
    );
}

#[test]
fn entries_of_a_head_that_do_not_turn_stay() {
    let table = Table::new(&device(), 10, &[1.0, 0.1, 0.01], 1.0, 8);
    let before = hashed(1, 5, 20, 1.0);
    let mut x = before.clone();
    rope::rotate(&table, &[0, 2, 4, 6, 7], &mut x, 0..20, Direction::Forward);
    for (row, (turned, before)) in wide(&x)
        .chunks(10)
        .zip(wide(&before).chunks(10))
        .enumerate()
    {
        assert_eq!(turned[6..], before[6..], "head {row}");
        assert!(
            row < 2 || turned[..6] != before[..6],
            "head {row} stands still"
        );
    }
}

#[test]
fn positions_of_a_table_that_follows_come_after_those_of_the_first() {
    let table = |frequency, positions| Table::new(&device(), 4, &[frequency, 0.1], 1.0, positions);
    let both = table(1.0, 3).followed_by(&table(0.2, 5));
    let turned = |table: &Table, position| {
        let mut x = hashed(1, 1, 4, 1.0);
        rope::rotate(table, &[position], &mut x, 0..4, Direction::Forward);
        x.to_vec()
    };
    assert_eq!(turned(&both, 2), turned(&table(1.0, 3), 2));
    assert_eq!(turned(&both, 3 + 4), turned(&table(0.2, 5), 4));
}
