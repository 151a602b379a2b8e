//! Curves and measured points as a picture: an SVG for documents, lines of text for the terminal.
//!
//! A chart is data; nothing is written or printed here. Start at [`Chart`].

mod axis;
mod chart;
mod svg;
mod text;

pub use chart::{Chart, Curve, Mark, Spacing};
