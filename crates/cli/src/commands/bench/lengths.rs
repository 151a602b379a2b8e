//! How long the completions that were drawn are, beside what was asked for.

use super::report::Fact;
use super::subject::Subject;
use crate::arguments::WorkArguments;
use crate::terminal::Screen;

/// Figures of the lengths that were drawn; says on the screen where they are not those asked for,
/// beyond what chance does in `count` draws.
pub(super) fn lengths(
    subject: &Subject,
    work: &WorkArguments,
    drawn: &[usize],
    screen: &Screen,
) -> [Fact; 2] {
    let mean = drawn.iter().sum::<usize>() as f64 / drawn.len() as f64;
    let expected = subject.expected_length(work.new_tokens);
    // The law's standard deviation is at most 0.36 of the most tokens; completions of a group
    // are not quite independent, so four of them and a tenth of the mean.
    let chance = 0.36 * work.new_tokens as f64 / (drawn.len() as f64).sqrt();
    if (mean - expected).abs() > 4.0 * chance + 0.1 * expected {
        screen.line(format!(
            "note: completions have {mean:.1} tokens on average, not the {expected:.1} that were \
             asked for; these weights do not draw evenly"
        ));
    }
    [
        Fact::new("mean_new_tokens", "tokens of a completion, mean", mean),
        Fact::new("expected_new_tokens", "by the law asked for", expected),
    ]
}
