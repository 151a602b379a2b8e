//! A row-major matrix of `f32` that lives on a device.

use std::fmt;
use std::ops::Range;

use crate::device::Device;
use crate::product::{Target, View};

/// A row-major matrix of `f32`; its values are reached by operations and by copies alone.
#[derive(Clone)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    device: Device,
    values: Vec<f32>,
}

/// Whether an operation overwrites its output or adds to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The output's old values are ignored.
    Write,
    /// The result is added to the output's old values.
    Add,
}

impl fmt::Debug for Matrix {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(
            formatter,
            "Matrix {} x {} on {}",
            self.rows,
            self.columns,
            self.device.name()
        )
    }
}

impl Matrix {
    pub(crate) fn new(device: Device, rows: usize, columns: usize, values: Vec<f32>) -> Matrix {
        let found = values.len();
        assert_eq!(
            found,
            rows * columns,
            "{found} values, expected {rows} x {columns}"
        );
        Matrix {
            rows,
            columns,
            device,
            values,
        }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The device that holds the values.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// A copy of the values on the host, row after row.
    pub fn to_vec(&self) -> Vec<f32> {
        self.values.clone()
    }

    /// Overwrites all values from the host, row after row.
    pub fn write(&mut self, values: &[f32]) {
        let (found, rows, columns) = (values.len(), self.rows, self.columns);
        assert_eq!(
            found,
            rows * columns,
            "{found} values, expected {rows} x {columns}"
        );
        self.values.copy_from_slice(values);
    }

    /// Overwrites all values by those of a matrix of the same shape.
    pub fn copy_from(&mut self, from: &Matrix) {
        from.expect_shape("source", self.rows, self.columns);
        self.values.copy_from_slice(&from.values);
    }

    /// Overwrites the rows from `at` on by the given rows of another matrix of the same width.
    pub fn copy_rows(&mut self, at: usize, from: &Matrix, rows: Range<usize>) {
        from.expect_shape("source", from.rows, self.columns);
        let width = self.columns;
        let target = at * width..(at + rows.len()) * width;
        self.values[target].copy_from_slice(&from.values[rows.start * width..rows.end * width]);
    }

    /// Sets every value.
    pub fn fill(&mut self, value: f32) {
        self.values.fill(value);
    }

    /// Changes the number of rows, keeping the allocation where it is large enough; the values
    /// are unspecified afterwards.
    pub fn resize_rows(&mut self, rows: usize) {
        self.rows = rows;
        self.values.resize(rows * self.columns, 0.0);
    }

    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    pub(crate) fn view(&self) -> View<'_> {
        View::new(&self.values, self.columns)
    }

    pub(crate) fn target(&mut self) -> Target<'_> {
        Target::new(&mut self.values, self.columns)
    }

    /// Asserts the shape; `name` says which argument is meant.
    #[track_caller]
    pub(crate) fn expect_shape(&self, name: &str, rows: usize, columns: usize) {
        let found = (self.rows, self.columns);
        assert!(
            found == (rows, columns),
            "{name} is {} x {}, expected {rows} x {columns}",
            found.0,
            found.1,
        );
    }
}
