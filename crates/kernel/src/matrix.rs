//! A row-major matrix of `f32` that lives on a device.

use std::fmt;
use std::ops::Range;

use crate::cuda::{self, CardMatrix};
use crate::device::Device;
use crate::product::{Target, View};

/// A row-major matrix of `f32`; its values are reached by operations and by copies alone.
pub struct Matrix {
    rows: usize,
    columns: usize,
    device: Device,
    values: Values,
}

/// Where the values are.
pub(crate) enum Values {
    /// In the host's memory.
    Host(Vec<f32>),
    /// In the memory of a card, with room for the matrix or more.
    Card(CardMatrix),
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

impl Clone for Matrix {
    fn clone(&self) -> Matrix {
        let values = match &self.values {
            Values::Host(values) => Values::Host(values.clone()),
            Values::Card(values) => Values::Card(values.copied(self.rows * self.columns)),
        };
        Matrix::new(self.device.clone(), self.rows, self.columns, values)
    }
}

impl Matrix {
    pub(crate) fn new(device: Device, rows: usize, columns: usize, values: Values) -> Matrix {
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
        match &self.values {
            Values::Host(values) => values.clone(),
            Values::Card(values) => values.to_vec(self.rows * self.columns),
        }
    }

    /// Overwrites all values from the host, row after row.
    pub fn write(&mut self, values: &[f32]) {
        let (found, rows, columns) = (values.len(), self.rows, self.columns);
        assert_eq!(
            found,
            rows * columns,
            "{found} values, expected {rows} x {columns}"
        );
        match &mut self.values {
            Values::Host(own) => own.copy_from_slice(values),
            Values::Card(own) => own.write(values),
        }
    }

    /// Overwrites all values by those of a matrix of the same shape.
    pub fn copy_from(&mut self, from: &Matrix) {
        from.expect_shape("source", self.rows, self.columns);
        self.copy_rows(0, from, 0..from.rows);
    }

    /// Overwrites the rows from `at` on by the given rows of another matrix of the same width.
    pub fn copy_rows(&mut self, at: usize, from: &Matrix, rows: Range<usize>) {
        from.expect_shape("source", from.rows, self.columns);
        let inside = at + rows.len() <= self.rows && rows.end <= from.rows;
        assert!(inside, "rows {rows:?} to {at} of {}", self.rows);
        let width = self.columns;
        let (to, start, count) = (at * width, rows.start * width, rows.len() * width);
        match &mut self.values {
            Values::Host(own) => {
                own[to..to + count].copy_from_slice(&from.values()[start..start + count]);
            }
            Values::Card(own) => own.copy(to, from.card(), start, count),
        }
    }

    /// Sets every value.
    pub fn fill(&mut self, value: f32) {
        match self.device.clone() {
            Device::Cpu(_) => self.values_mut().fill(value),
            Device::Cuda(card) => cuda::elements::fill(&card, self, value),
        }
    }

    /// Changes the number of rows, keeping the allocation where it is large enough; the values
    /// are unspecified afterwards.
    pub fn resize_rows(&mut self, rows: usize) {
        self.rows = rows;
        match &mut self.values {
            Values::Host(values) => values.resize(rows * self.columns, 0.0),
            Values::Card(values) => values.resize(rows * self.columns),
        }
    }

    /// Appends rows of zeros up to this number of rows; those there are stay.
    pub fn grow_rows(&mut self, rows: usize) {
        let old = self.rows;
        assert!(rows >= old, "{rows} rows of {old}");
        match &mut self.values {
            Values::Host(values) => {
                values.resize(rows * self.columns, 0.0);
                self.rows = rows;
            }
            Values::Card(_) => {
                let mut grown = self.device.zeros(rows, self.columns);
                grown.copy_rows(0, self, 0..old);
                *self = grown;
            }
        }
    }

    #[track_caller]
    pub(crate) fn values(&self) -> &[f32] {
        match &self.values {
            Values::Host(values) => values,
            Values::Card(_) => panic!("a matrix of the processor was expected, {self:?} was found"),
        }
    }

    #[track_caller]
    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        match &mut self.values {
            Values::Host(values) => values,
            Values::Card(_) => panic!("a matrix of the processor was expected"),
        }
    }

    #[track_caller]
    pub(crate) fn card(&self) -> &CardMatrix {
        match &self.values {
            Values::Card(values) => values,
            Values::Host(_) => panic!("a matrix of the card was expected, {self:?} was found"),
        }
    }

    #[track_caller]
    pub(crate) fn card_mut(&mut self) -> &mut CardMatrix {
        match &mut self.values {
            Values::Card(values) => values,
            Values::Host(_) => panic!("a matrix of the card was expected"),
        }
    }

    pub(crate) fn view(&self) -> View<'_> {
        View::new(self.values(), self.columns)
    }

    pub(crate) fn target(&mut self) -> Target<'_> {
        let columns = self.columns;
        Target::new(self.values_mut(), columns)
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
