//! Theory as a line, training as points with their intervals.

use std::path::Path;

use math::Interval;
use plot::{Chart, Curve, Mark, Spacing};

/// Points of a line.
const POINTS: usize = 80;

/// A chart in the making.
pub(super) struct Figure(Chart);

/// The range that lines are drawn over: a little more than that of the trained points.
pub(super) fn betas(trained: &[f64]) -> [f64; 2] {
    let low = trained.iter().copied().fold(f64::INFINITY, f64::min);
    let high = trained.iter().copied().fold(0.0, f64::max);
    [low / 1.6, high * 1.6]
}

impl Figure {
    /// Probabilities over β.
    pub(super) fn over_beta(title: &str) -> Self {
        Self(Chart {
            title: title.to_owned(),
            x_label: "β".to_owned(),
            y_label: "probability".to_owned(),
            x_spacing: Spacing::Logarithmic,
            curves: Vec::new(),
            marks: Vec::new(),
            marks_name: "trained, 95 %".to_owned(),
        })
    }

    /// Adds a line; marks that follow have its colour.
    pub(super) fn curve(
        &mut self,
        name: &str,
        [low, high]: [f64; 2],
        theory: &dyn Fn(f64) -> Result<f64, String>,
    ) -> Result<(), String> {
        let at = |i: usize| low * (high / low).powf(i as f64 / (POINTS - 1) as f64);
        let points = (0..POINTS).map(|i| Ok((at(i), theory(at(i))?)));
        self.0.curves.push(Curve {
            name: name.to_owned(),
            points: points.collect::<Result<_, String>>()?,
        });
        Ok(())
    }

    /// Adds a trained point.
    pub(super) fn mark(&mut self, x: f64, Interval { low, value, high }: Interval) {
        self.0.marks.push(Mark {
            x,
            low,
            value,
            high,
            curve: self.0.curves.len() - 1,
        });
    }

    /// Writes the figure as SVG.
    pub(super) fn write(&self, out: &Path, file: &str) -> Result<(), String> {
        let path = out.join(file);
        std::fs::write(&path, self.0.svg()).map_err(|error| format!("{}: {error}", path.display()))
    }
}
