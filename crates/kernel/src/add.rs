//! Residual addition.

use crate::matrix::Matrix;

/// `y += x`, entry by entry.
pub fn into(x_nd: &Matrix, y_nd: &mut Matrix) {
    x_nd.expect_shape("x", y_nd.rows(), y_nd.columns());
    for (y, x) in y_nd.values_mut().iter_mut().zip(x_nd.values()) {
        *y += x;
    }
}
