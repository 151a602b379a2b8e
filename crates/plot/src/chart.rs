//! What is drawn.

use crate::axis::Axis;

/// How numbers lie along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// Evenly.
    Linear,
    /// By their logarithm; all are positive.
    Logarithmic,
}

/// A named line through points, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Its name in the legend.
    pub name: String,
    /// Points `(x, y)`; one that is not finite breaks the line.
    pub points: Vec<(f64, f64)>,
}

/// A measured point with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    /// Where it was measured.
    pub x: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// What was measured.
    pub value: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// The curve whose colour it has, from 0.
    pub curve: usize,
}

/// Curves and marks over one pair of axes; y is from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// What x is.
    pub x_label: String,
    /// What y is.
    pub y_label: String,
    /// How x is spaced.
    pub x_spacing: Spacing,
    /// Lines.
    pub curves: Vec<Curve>,
    /// Points, drawn over the lines.
    pub marks: Vec<Mark>,
    /// What the marks are; unused without marks.
    pub marks_name: String,
}

impl Chart {
    pub(crate) fn x_axis(&self) -> Axis {
        let curves = self.curves.iter().flat_map(|curve| &curve.points);
        let finite = curves
            .map(|(x, _)| *x)
            .chain(self.marks.iter().map(|mark| mark.x));
        let (low, high) = finite
            .filter(|x| x.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| {
                (low.min(x), high.max(x))
            });
        Axis::new(low, high, self.x_spacing)
    }
}
