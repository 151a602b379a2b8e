//! A chart as lines of text.

use crate::Chart;
use crate::axis::label;

/// One for each curve; further ones begin again.
const SIGNS: [char; 8] = ['●', '▲', '■', '◆', '○', '△', '□', '◇'];

impl Chart {
    /// The chart in `width` columns and `height` rows of plot, axes and legend around it. Where
    /// curves meet, the first is seen.
    pub fn lines(&self, width: usize, height: usize) -> Vec<String> {
        let (width, height) = (width.max(8), height.max(4));
        let mut cells = vec![vec![' '; width]; height];
        let axis = self.x_axis();
        for (index, curve) in self.curves.iter().enumerate().rev() {
            for &(x, y) in curve
                .points
                .iter()
                .filter(|(x, y)| x.is_finite() && y.is_finite())
            {
                let column = (axis.place(x).clamp(0.0, 1.0) * (width - 1) as f64).round() as usize;
                let up = (y.clamp(0.0, 1.0) * (height - 1) as f64).round() as usize;
                cells[height - 1 - up][column] = SIGNS[index % SIGNS.len()];
            }
        }
        let mut lines = vec![format!("{}  ({})", self.title, self.y_label)];
        for (row, cells) in cells.iter().enumerate() {
            let scale = match row {
                0 => "1",
                _ if row == height - 1 => "0",
                _ if 2 * row == height - 1 => "0.5",
                _ => "",
            };
            let line = format!("{scale:>4} │{}", cells.iter().collect::<String>());
            lines.push(line.trim_end().to_owned());
        }
        lines.push(format!("     └{}", "─".repeat(width)));
        lines.push(self.tick_line(width));
        let names = self.curves.iter().enumerate();
        let names = names.map(|(index, c)| format!("{} {}", SIGNS[index % SIGNS.len()], c.name));
        lines.push(format!("      {}", names.collect::<Vec<_>>().join("   ")));
        lines
    }

    fn tick_line(&self, width: usize) -> String {
        let axis = self.x_axis();
        let mut line = vec![' '; width + 12];
        let mut free = 0;
        for tick in axis.ticks() {
            let text = label(tick);
            let middle = (axis.place(tick) * (width - 1) as f64).round() as usize;
            let start = (middle + 6).saturating_sub(text.len() / 2);
            if start < free || start + text.len() > line.len() {
                continue;
            }
            free = start + text.len() + 1;
            for (cell, character) in line[start..].iter_mut().zip(text.chars()) {
                *cell = character;
            }
        }
        let ticks: String = line.into_iter().collect();
        format!("{}  {}", ticks.trim_end(), self.x_label)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Chart, Curve, Spacing};

    #[test]
    fn a_rising_line_runs_from_corner_to_corner() {
        let chart = Chart {
            title: "rise".to_owned(),
            x_label: "x".to_owned(),
            y_label: "y".to_owned(),
            x_spacing: Spacing::Linear,
            curves: vec![Curve {
                name: "line".to_owned(),
                points: (0..9).map(|i| (i as f64, i as f64 / 8.0)).collect(),
            }],
            marks: Vec::new(),
            marks_name: String::new(),
        };
        let expected = [
            "rise  (y)",
            "   1 │       ●●",
            "     │     ●●",
            " 0.5 │   ●●",
            "     │ ●●",
            "   0 │●",
            "     └─────────",
            "      0 2 4 6 8  x",
            "      ● line",
        ];
        let found = chart.lines(9, 5);
        assert_eq!(found[0], expected[0]);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        assert!(
            found[1].ends_with('●') && found[5].contains("│●"),
            "{found:#?}"
        );
        assert_eq!(found[7..], expected[7..]);
    }
}
