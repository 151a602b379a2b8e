//! What a training run changed, for a reader.

use std::time::Duration;

use console::measure_text_width;
use record::{CompletionRecord, Evaluation, Summary};
use trainer::Task;

use crate::terminal::{Screen, Table, duration, grouped, short};

/// Characters to the left of a text, for its name.
const MARGIN: usize = 13;

/// The most characters of a sample.
const SAMPLE_CHARACTERS_MAX: usize = 600;

/// Two completions of one question, before and after: under the positive constitution and, where
/// there is one, under its first negative.
pub(super) fn samples(
    task: &Task,
    before: &[CompletionRecord],
    after: &[CompletionRecord],
    screen: &Screen,
) {
    let Some(first) = before.first() else { return };
    screen.line("");
    paragraph(screen, &screen.bold("question"), &one_line(&first.prompt));
    let principle = task.principles.first();
    for constitution in 0..2 {
        let found = |records: &[CompletionRecord]| {
            let of_it = |record: &&CompletionRecord| {
                record.question == first.question && record.constitution == constitution
            };
            records
                .iter()
                .find(of_it)
                .map(|record| record.completion.clone())
        };
        let (Some(before), Some(after)) = (found(before), found(after)) else {
            continue;
        };
        if let Some(principle) = principle {
            let text = match constitution {
                0 => &principle.positive,
                negative => &principle.negatives[negative - 1],
            };
            paragraph(screen, &screen.bold("constitution"), &one_line(text));
        }
        for (name, text) in [("before", before), ("after", after)] {
            paragraph(
                screen,
                &screen.dim(&format!("  {name}")),
                &shown(text.trim()),
            );
        }
    }
}

/// A name, and beside it the text in as many lines as it takes.
fn paragraph(screen: &Screen, name: &str, text: &str) {
    let width = screen.columns().map(|columns| columns.max(40) - MARGIN);
    let lines = text.lines().flat_map(|line| wrapped(line, width));
    let mut lines = lines.collect::<Vec<_>>().into_iter();
    let margin = " ".repeat(MARGIN - measure_text_width(name));
    let first = lines.next().unwrap_or_default();
    screen.line(format!("{name}{margin}{first}"));
    for line in lines {
        screen.line(format!("{:MARGIN$}{line}", ""));
    }
}

/// A line broken between words where it is wider than `width`, if there is one.
pub(super) fn wrapped(line: &str, width: Option<usize>) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        let last = lines.last_mut().expect("there is a line");
        let wide = measure_text_width(last) + 1 + measure_text_width(word);
        if last.is_empty() {
            last.push_str(word);
        } else if width.is_some_and(|width| wide > width) {
            lines.push(word.to_owned());
        } else {
            *last = format!("{last} {word}");
        }
    }
    lines
}

/// Text of a model on a terminal: cut, and without the characters that would command it.
fn shown(text: &str) -> String {
    let end = text
        .char_indices()
        .nth(SAMPLE_CHARACTERS_MAX)
        .map(|(end, _)| end);
    let kept = text[..end.unwrap_or(text.len())].chars();
    let harmless = |c: char| {
        if c.is_control() && c != '\n' {
            '\u{fffd}'
        } else {
            c
        }
    };
    let mark = if end.is_some() { " …" } else { "" };
    kept.map(harmless).collect::<String>() + mark
}

/// The table of figures, and where everything lies.
pub(super) fn summary(summary: &Summary, screen: &Screen) {
    screen.line("");
    for line in table(&summary.before, &summary.after).lines(screen) {
        screen.line(line);
    }
    screen.line("");
    let memory = summary
        .peak_mib
        .map(|mib| format!(" · {mib:.0} MiB at most"));
    let spent = format!(
        "{} tokens · {}{}",
        grouped(usize::try_from(summary.tokens).unwrap_or(usize::MAX)),
        duration(Duration::from_secs_f64(summary.seconds)),
        memory.unwrap_or_default()
    );
    let lines = [
        ("spent", spent),
        ("run", summary.run.display().to_string()),
        (
            "checkpoint",
            screen.accent(&summary.checkpoint.display().to_string()),
        ),
    ];
    for (name, value) in lines {
        screen.line(format!("{} {value}", screen.dim(&format!("{name:<12}"))));
    }
}

fn table(before: &Evaluation, after: &Evaluation) -> Table {
    let mut table = Table::new(&["", "before", "after"]);
    let mut row = |name: &str, figure: &dyn Fn(&Evaluation) -> String| {
        table.row(vec![name.to_owned(), figure(before), figure(after)]);
    };
    row("format-valid", &|e| {
        share(e.format_valid, e.format_valid_interval)
    });
    row("right answers", &|e| share(e.accuracy, e.accuracy_interval));
    row("bound over constitutions, nats", &|e| {
        nats(
            e.bound_constitutions_nats,
            e.bound_constitutions_nats_interval,
        )
    });
    row("bound over completions, nats", &|e| {
        nats(e.bound_completions_nats, e.bound_completions_nats_interval)
    });
    row("S_ε to the reference", &|e| short(e.s_epsilon));
    row("KL to the reference, nats a token", &|e| {
        short(e.kl_reference)
    });
    table
}

fn share(value: Option<f64>, interval: Option<[f64; 2]>) -> String {
    with_interval(
        value,
        interval,
        |share| format!("{:.1}", 100.0 * share),
        " %",
    )
}

fn nats(value: Option<f64>, interval: Option<[f64; 2]>) -> String {
    with_interval(value, interval, |nats| format!("{nats:.3}"), "")
}

fn with_interval(
    value: Option<f64>,
    interval: Option<[f64; 2]>,
    show: impl Fn(f64) -> String,
    unit: &str,
) -> String {
    let Some(value) = value else {
        return "–".to_owned();
    };
    let interval = interval.map(|[low, high]| format!(" [{}, {}]", show(low), show(high)));
    format!("{}{unit}{}", show(value), interval.unwrap_or_default())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_intervals_and_dashes_for_what_was_not_measured() {
        let before = Evaluation {
            format_valid: Some(0.5),
            format_valid_interval: Some([0.4, 0.6]),
            ..Evaluation::default()
        };
        let after = Evaluation {
            kl_reference: Some(0.25),
            ..before.clone()
        };
        let lines = table(&before, &after).lines(&Screen::new(true));
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let share = ["50.0", "%", "[40.0,", "60.0]"];
        assert_eq!(words(&lines[2])[1..], [share, share].concat());
        assert_eq!(words(&lines[7])[7..], ["–", "0.2500"]);
    }

    #[test]
    fn a_completion_cannot_command_the_terminal() {
        assert_eq!(shown("\u{1b}[2J\rgone"), "\u{fffd}[2J\u{fffd}gone");
    }

    #[test]
    fn words_that_do_not_fit_stand_on_the_next_line() {
        assert_eq!(wrapped("one two three", Some(7)), ["one two", "three"]);
        assert_eq!(wrapped("one two three", None), ["one two three"]);
        assert_eq!(wrapped("unbreakable", Some(4)), ["unbreakable"]);
    }

    #[test]
    fn a_long_completion_is_cut_between_characters() {
        let text = "ε".repeat(SAMPLE_CHARACTERS_MAX + 1);
        assert_eq!(shown(&text).chars().count(), SAMPLE_CHARACTERS_MAX + 2);
        assert_eq!(shown("one\ntwo"), "one\ntwo");
    }
}
