//! A table of text with a rule under its head.

use console::measure_text_width;

use super::Screen;

/// Rows under a head, every row as wide as the head.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    /// What stands behind each row, for the rows that have it.
    notes: Vec<String>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(head: &[&str]) -> Self {
        Self {
            head: head.iter().map(ToString::to_string).collect(),
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If it is not as wide as the head.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.noted(cells, "");
    }

    /// Adds a row with words behind it, dim.
    ///
    /// # Panics
    /// As [`row`](Self::row).
    pub(crate) fn noted(&mut self, cells: Vec<String>, note: &str) {
        assert_eq!(cells.len(), self.head.len(), "a row is as wide as its head");
        self.rows.push(cells);
        self.notes.push(note.to_owned());
    }

    /// The lines: the first column to the left, numbers to the right, the head dim.
    pub(crate) fn lines(&self, screen: &Screen) -> Vec<String> {
        let widths: Vec<usize> = (0..self.head.len())
            .map(|column| {
                let rows = self.rows.iter().chain([&self.head]);
                rows.map(|row| measure_text_width(&row[column]))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let rule = "─".repeat(widths.iter().sum::<usize>() + 3 * (widths.len() - 1));
        let head = [
            screen.dim(&laid_out(&self.head, &widths)),
            screen.dim(&rule),
        ];
        let rows = self.rows.iter().zip(&self.notes).map(|(row, note)| {
            let gap = if note.is_empty() { "" } else { "   " };
            format!("{}{gap}{}", laid_out(row, &widths), screen.dim(note))
        });
        head.into_iter().chain(rows).collect()
    }
}

fn laid_out(row: &[String], widths: &[usize]) -> String {
    let cells = row
        .iter()
        .zip(widths)
        .enumerate()
        .map(|(column, (cell, &width))| {
            let space = " ".repeat(width - measure_text_width(cell));
            if column == 0 {
                format!("{cell}{space}")
            } else {
                format!("{space}{cell}")
            }
        });
    cells.collect::<Vec<_>>().join("   ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_the_characters() {
        let mut table = Table::new(&["", "before", "after"]);
        table.row(vec!["S_ε".to_owned(), "0".to_owned(), "0.123".to_owned()]);
        table.row(vec![
            "format-valid".to_owned(),
            "54.0 %".to_owned(),
            "–".to_owned(),
        ]);
        let expected = [
            "               before   after",
            "─────────────────────────────",
            "S_ε                 0   0.123",
            "format-valid   54.0 %       –",
        ];
        assert_eq!(table.lines(&Screen::new(true)), expected);
    }
}
