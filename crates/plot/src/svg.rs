//! A chart as SVG, readable on light and dark pages.

use std::fmt::Write;

use crate::Chart;
use crate::axis::label;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
/// Room left of, above, right of and below the plot.
const ROOM: [f64; 4] = [60.0, 44.0, 150.0, 52.0];
/// Okabe and Ito's colours, which differ also for colour-blind readers.
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f",
];

impl Chart {
    /// The chart as a whole SVG document.
    pub fn svg(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\" fill=\"#333\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
        );
        let middle = f64::midpoint(left(), right());
        text(
            &mut svg,
            (middle, 24.0),
            "middle",
            "font-size=\"14\"",
            &self.title,
        );
        text(
            &mut svg,
            (middle, HEIGHT - 14.0),
            "middle",
            "",
            &self.x_label,
        );
        let turned = format!(
            "transform=\"rotate(-90 16 {0})\"",
            f64::midpoint(top(), bottom())
        );
        text(
            &mut svg,
            (16.0, f64::midpoint(top(), bottom())),
            "middle",
            &turned,
            &self.y_label,
        );
        self.axes(&mut svg);
        for (index, curve) in self.curves.iter().enumerate() {
            for piece in curve
                .points
                .split(|(x, y)| !(x.is_finite() && y.is_finite()))
            {
                self.line(&mut svg, piece, colour(index));
            }
        }
        for mark in &self.marks {
            let (x, colour) = (self.x(mark.x), colour(mark.curve));
            let [low, value, high] = [mark.low, mark.value, mark.high].map(y);
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {low:.1}V{high:.1}M{0:.1} {low:.1}h8M{0:.1} {high:.1}h8\" \
                 stroke=\"{colour}\" stroke-width=\"1.2\" fill=\"none\"/>\
                 <circle cx=\"{x:.1}\" cy=\"{value:.1}\" r=\"3.5\" fill=\"#fff\" \
                 stroke=\"{colour}\" stroke-width=\"1.8\"/>",
                x - 4.0
            );
        }
        self.legend(&mut svg);
        svg + "</svg>\n"
    }

    fn x(&self, number: f64) -> f64 {
        left() + self.x_axis().place(number) * (right() - left())
    }

    fn axes(&self, svg: &mut String) {
        for tick in [0.0, 0.2, 0.4, 0.6, 0.8, 1.0] {
            let (l, r, at) = (left(), right(), y(tick));
            let _ = writeln!(svg, "<path d=\"M{l} {at:.1}H{r}\" stroke=\"#ddd\"/>");
            text(svg, (left() - 8.0, at + 4.0), "end", "", &label(tick));
        }
        for tick in self.x_axis().ticks() {
            let (at, b) = (self.x(tick), bottom());
            let _ = writeln!(svg, "<path d=\"M{at:.1} {b}v5\" stroke=\"#333\"/>");
            text(svg, (at, bottom() + 19.0), "middle", "", &label(tick));
        }
        let (l, t, r, b) = (left(), top(), right(), bottom());
        let _ = writeln!(
            svg,
            "<path d=\"M{l} {t}V{b}H{r}\" stroke=\"#333\" fill=\"none\"/>"
        );
    }

    fn line(&self, svg: &mut String, points: &[(f64, f64)], colour: &str) {
        let mut places = String::new();
        for &(at, value) in points {
            let _ = write!(places, "{:.1},{:.1} ", self.x(at), y(value));
        }
        let places = places.trim_end();
        let _ = writeln!(
            svg,
            "<polyline points=\"{places}\" fill=\"none\" stroke=\"{colour}\" \
             stroke-width=\"1.8\" stroke-linejoin=\"round\"/>"
        );
    }

    fn legend(&self, svg: &mut String) {
        let at = right() + 16.0;
        let mut line = top() + 8.0;
        for (index, curve) in self.curves.iter().enumerate() {
            let colour = colour(index);
            let _ = writeln!(
                svg,
                "<path d=\"M{at} {line}h18\" stroke=\"{colour}\" stroke-width=\"1.8\"/>"
            );
            text(svg, (at + 25.0, line + 4.0), "start", "", &curve.name);
            line += 20.0;
        }
        if !self.marks.is_empty() {
            let _ = writeln!(
                svg,
                "<path d=\"M{0} {1}v14\" stroke=\"#333\"/><circle cx=\"{0}\" cy=\"{line}\" \
                 r=\"3.5\" fill=\"#fff\" stroke=\"#333\" stroke-width=\"1.8\"/>",
                at + 9.0,
                line - 7.0
            );
            text(svg, (at + 25.0, line + 4.0), "start", "", &self.marks_name);
        }
    }
}

fn left() -> f64 {
    ROOM[0]
}

fn top() -> f64 {
    ROOM[1]
}

fn right() -> f64 {
    WIDTH - ROOM[2]
}

fn bottom() -> f64 {
    HEIGHT - ROOM[3]
}

fn y(number: f64) -> f64 {
    bottom() - number.clamp(0.0, 1.0) * (bottom() - top())
}

fn colour(curve: usize) -> &'static str {
    COLOURS[curve % COLOURS.len()]
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, more: &str, words: &str) {
    let words = words
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {more}>{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use crate::{Chart, Curve, Mark, Spacing};

    #[test]
    fn a_document_has_a_line_for_each_curve_and_escapes_its_names() {
        let curve = |name: &str, points: &[(f64, f64)]| Curve {
            name: name.to_owned(),
            points: points.to_vec(),
        };
        let chart = Chart {
            title: "a < b & c".to_owned(),
            x_label: "β".to_owned(),
            y_label: "probability".to_owned(),
            x_spacing: Spacing::Logarithmic,
            curves: vec![
                curve("one", &[(0.1, 0.0), (1.0, 1.0)]),
                curve("gap", &[(0.1, 0.5), (0.5, f64::NAN), (1.0, 0.5)]),
            ],
            marks: vec![Mark {
                x: 1.0,
                low: 0.4,
                value: 0.5,
                high: 0.6,
                curve: 0,
            }],
            marks_name: "trained".to_owned(),
        };
        let svg = chart.svg();
        assert_eq!(svg.matches("<polyline").count(), 3, "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2, "{svg}");
        assert!(
            svg.contains("a &lt; b &amp; c") && !svg.contains("NaN"),
            "{svg}"
        );
        // The corners of the plot.
        assert!(svg.contains("points=\"60.0,348.0 490.0,44.0\""), "{svg}");
    }
}
