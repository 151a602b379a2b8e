//! Operations that move or average rows: embedding, gathering, pooling, residual addition.

use kernel::{add, embedding, pool, rows};

use crate::check::{assert_close, device, hashed, wide};

#[test]
fn an_embedded_token_is_its_column_and_its_gradient_returns_there() {
    for (d, v) in [(35, 9), (16, 40), (3, 5)] {
        let table = hashed(1, d, v, 1.0);
        let ids: Vec<u32> = (0..23).map(|i| (i * i) % v as u32).collect();
        let mut out = device().zeros(ids.len(), d);
        embedding::forward(&table, &ids, &mut out);
        let (columns, found) = (wide(&table), wide(&out));
        for (n, id) in ids.iter().enumerate() {
            for j in 0..d {
                let expected = columns[j * v + *id as usize];
                assert!(
                    (found[n * d + j] - expected).abs() < 1e-9,
                    "row {n}, entry {j}"
                );
            }
        }
        let (grad_out, mut grad_table) = (hashed(2, ids.len(), d, 1.0), hashed(3, d, v, 1.0));
        let mut expected = wide(&grad_table);
        for (row, id) in wide(&grad_out).chunks(d).zip(&ids) {
            (0..d).for_each(|j| expected[j * v + *id as usize] += row[j]);
        }
        embedding::backward(&ids, &grad_out, &mut grad_table);
        assert_close("grad_table", &wide(&grad_table), &expected, 1e-6);
    }
}

#[test]
#[should_panic(expected = "token Some(9) in a vocabulary of 9")]
fn a_token_outside_the_vocabulary_asserts() {
    embedding::forward(&hashed(1, 4, 9, 1.0), &[3, 9], &mut device().zeros(2, 4));
}

#[test]
fn scattering_is_the_transpose_of_gathering() {
    let indices = [4, 0, 4, 2];
    let (x, grad_out) = (hashed(1, 5, 7, 1.0), hashed(2, 4, 7, 1.0));
    let (mut out, mut grad_x) = (device().zeros(4, 7), device().zeros(5, 7));
    rows::gather(&x, &indices, &mut out);
    assert_eq!(out.to_vec()[7..14], x.to_vec()[..7]);
    rows::scatter_add(&indices, &grad_out, &mut grad_x);
    let inner = |a: Vec<f64>, b: Vec<f64>| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (left, right) = (
        inner(wide(&out), wide(&grad_out)),
        inner(wide(&x), wide(&grad_x)),
    );
    assert!((left - right).abs() < 1e-5, "{left} against {right}");
}

#[test]
fn a_pooled_point_is_the_mean_of_its_span_and_its_gradient_is_shared_equally() {
    let hidden = device().matrix(4, 2, vec![1.0, 2.0, 3.0, 4.0, 5.0, 9.0, -1.0, 0.0]);
    let spans = [0..2, 1..4];
    let mut points = device().zeros(2, 2);
    pool::forward(&hidden, &spans, &mut points);
    assert_close(
        "points",
        &wide(&points),
        &[2.0, 3.0, 7.0 / 3.0, 13.0 / 3.0],
        1e-6,
    );
    let grad_points = device().matrix(2, 2, vec![2.0, 4.0, 3.0, 6.0]);
    let mut grad_hidden = device().zeros(4, 2);
    grad_hidden.fill(10.0);
    pool::backward(&spans, &grad_points, &mut grad_hidden);
    assert_eq!(
        grad_hidden.to_vec(),
        [11.0, 12.0, 12.0, 14.0, 11.0, 12.0, 11.0, 12.0]
    );
}

#[test]
#[should_panic(expected = "span 3..3 has no rows to average")]
fn an_empty_span_asserts() {
    let (hidden, mut points) = (device().zeros(4, 2), device().zeros(1, 2));
    pool::forward(&hidden, std::slice::from_ref(&(3..3)), &mut points);
}

#[test]
fn arranged_rows_are_those_that_gathering_picks() {
    for (rows, width) in [(5, 1), (700, 33), (900, 400)] {
        let mut x = hashed(1, rows, width, 1.0);
        // All but every fifth, the last first.
        let kept = (0..rows as u32).rev().filter(|row| row % 5 > 0);
        let indices: Vec<u32> = kept.collect();
        let mut expected = device().zeros(indices.len(), width);
        rows::gather(&x, &indices, &mut expected);
        rows::arrange(&mut x, &indices);
        assert_eq!((x.rows(), x.to_vec()), (indices.len(), expected.to_vec()));
    }
}

#[test]
fn rows_are_put_where_their_pairs_say_and_no_other_row_changes() {
    let (narrow, wide_rows) = (hashed(1, 3, 2, 1.0), hashed(2, 3, 700, 1.0));
    let (mut x, mut y) = (device().zeros(4, 2), device().zeros(4, 700));
    let matrices = [(&mut x, &narrow), (&mut y, &wide_rows)];
    rows::put(&device(), &[(2, 0), (0, 3)], matrices.into_iter());
    for (found, from) in [(x, narrow), (y, wide_rows)] {
        let (found, from, width) = (found.to_vec(), from.to_vec(), from.columns());
        let row = |row: usize| &from[row * width..(row + 1) * width];
        let zeros = vec![0.0; 2 * width];
        assert_eq!(found, [row(2), &zeros, row(0)].concat());
    }
}

#[test]
fn adding_adds_every_entry() {
    let (x, mut y) = (hashed(1, 90, 101, 1.0), hashed(2, 90, 101, 1.0));
    let expected: Vec<f64> = wide(&x).iter().zip(wide(&y)).map(|(x, y)| x + y).collect();
    add::into(&x, &mut y);
    assert_close("y", &wide(&y), &expected, 1e-6);
}

#[test]
fn a_matrix_keeps_what_is_written_copied_and_filled() {
    let mut x = device().zeros(3, 2);
    x.write(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let mut y = device().zeros(4, 2);
    y.copy_rows(2, &x, 1..3);
    assert_eq!(y.to_vec(), [0.0, 0.0, 0.0, 0.0, 3.0, 4.0, 5.0, 6.0]);
    y.grow_rows(5);
    assert_eq!(
        y.to_vec(),
        [0.0, 0.0, 0.0, 0.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0]
    );
    y.resize_rows(3);
    y.copy_from(&x);
    assert_eq!((y.rows(), y.to_vec()), (3, x.to_vec()));
    x.fill(0.5);
    assert_eq!(
        (x.to_vec(), format!("{x:?}")),
        (vec![0.5; 6], format!("Matrix 3 x 2 on {}", device().name()))
    );
}
