//! The mistakes a caller can make.

/// Why a transport problem was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TransportError {
    /// A cloud too small for a divergence: its self-transport says nothing about its shape.
    #[error("cloud {cloud} is degenerate: it has {found} points, expected at least 2")]
    Degenerate {
        /// `x` or `y`.
        cloud: &'static str,
        /// Its number of points.
        found: usize,
    },
    /// Points of different dimension.
    #[error("{cloud}[{point}] has {found} coordinates, expected {expected}")]
    Width {
        /// `x` or `y`.
        cloud: &'static str,
        /// Number of the point.
        point: usize,
        /// Its coordinates.
        found: usize,
        /// Coordinates of the first point of x.
        expected: usize,
    },
    /// A coordinate that is NaN or infinite.
    #[error("{cloud}[{point}][{coordinate}] is {found}, expected a finite number")]
    NotFinite {
        /// `x` or `y`.
        cloud: &'static str,
        /// Number of the point.
        point: usize,
        /// Number of the coordinate.
        coordinate: usize,
        /// What stands there.
        found: f64,
    },
    /// A problem without sources or without targets.
    #[error("the cost is {sources} x {targets}, expected at least 1 x 1")]
    EmptyCost {
        /// Rows.
        sources: usize,
        /// Columns.
        targets: usize,
    },
    /// A cost matrix of another size.
    #[error("the cost has {found} entries, expected {sources} x {targets}")]
    CostShape {
        /// Entries given.
        found: usize,
        /// Rows.
        sources: usize,
        /// Columns.
        targets: usize,
    },
    /// A cost that is negative, NaN or infinite (squared distances can overflow).
    #[error(
        "the cost from {source_point} to {target_point} is {found}, expected a finite one >= 0"
    )]
    InvalidCost {
        /// Row.
        source_point: usize,
        /// Column.
        target_point: usize,
        /// What stands there.
        found: f64,
    },
    /// A regularisation that is not a positive number.
    #[error("epsilon is {found}, expected a finite number > 0")]
    Epsilon {
        /// What was given.
        found: f64,
    },
}
