//! What a policy gave, for people and for scripts.

use std::collections::BTreeMap;
use std::path::Path;

use principle::Constitution;
use principle::draft::Statement;
use serde_json::{Value, json};

use super::{Chosen, Drafted};
use crate::arguments::CreatePrinciplesArguments;
use crate::terminal::Screen;

/// Principles that a person is shown; the file holds all.
const ROWS_MAX: usize = 16;

/// Characters of a rule that a person is shown.
const RULE_CHARACTERS: usize = 88;

/// The comment at the top of the constitution file.
pub(super) fn heading(arguments: &CreatePrinciplesArguments) -> String {
    let by = match (&arguments.endpoint, &arguments.model) {
        (Some(url), Some(model)) => format!("proposed by {model} at {url}"),
        _ => "by rules of polarity [ours]".to_owned(),
    };
    format!(
        "# Drafted from {} by `enigma principles create`; negatives {by}.\n# Read every pair \
         before you train on it.\n",
        arguments.from.display()
    )
}

/// Everything, as one object.
pub(super) fn json(
    constitution: &Constitution,
    chosen: &[Chosen],
    drafted: &Drafted,
    out: &Path,
) -> Value {
    let principles = constitution.principles.iter().zip(chosen);
    let principles = principles.map(|(principle, chosen)| {
        json!({
            "id": principle.id,
            "source": principle.source,
            "line": chosen.statement.line,
            "kind": chosen.statement.kind,
            "statement": chosen.statement.text,
            "positive": principle.positive,
            "negatives": principle.negatives,
            "rule": chosen.pair.negative.rule,
            "si": chosen.score.as_ref().and_then(|score| score.si),
            "si_interval": chosen.score.as_ref().and_then(|score| score.si_interval),
            "si_permuted": chosen.score.as_ref().and_then(|score| score.si_permuted),
            "verdict": chosen.score.as_ref().map(|score| &score.verdict),
        })
    });
    let told = |statements: &[Statement]| {
        let told = statements.iter();
        told.map(|s| json!({"line": s.line, "text": s.text}))
            .collect::<Vec<_>>()
    };
    let passed = drafted.passed.iter();
    let passed =
        passed.map(|p| json!({"line": p.line, "text": p.text, "reason": p.reason.to_string()}));
    let refused = drafted.refused.iter();
    let refused = refused.map(|(line, reason)| json!({"line": line, "reason": reason}));
    json!({
        "principles": principles.collect::<Vec<_>>(),
        "not_negated": told(&drafted.without),
        "not_distinguishable": told(&drafted.silent),
        "passed_over": passed.collect::<Vec<_>>(),
        "refused": refused.collect::<Vec<_>>(),
        "file": out,
    })
}

/// The first principles, what was left out and why, and the file.
pub(super) fn lines(
    constitution: &Constitution,
    chosen: &[Chosen],
    drafted: &Drafted,
    out: &Path,
    screen: &Screen,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (principle, chosen) in constitution.principles.iter().zip(chosen).take(ROWS_MAX) {
        let si = chosen.score.as_ref().and_then(|score| score.si);
        let si = si.map_or(String::new(), |si| format!("   SI {si:.3}"));
        let line = screen.dim(&format!("{:>6}", chosen.statement.line));
        lines.push(format!("{line}  {}{si}", shortened(&principle.positive)));
        let negative = shortened(&principle.negatives[0]);
        lines.push(format!("{:>8}{}", "", screen.dim(&negative)));
    }
    let count = constitution.principles.len();
    if count > ROWS_MAX {
        let more = format!("{:>8}… {} more in the file", "", count - ROWS_MAX);
        lines.push(screen.dim(&more));
    }
    lines.push(String::new());
    let rows = [("principles", count.to_string())]
        .into_iter()
        .chain(left_out(drafted))
        .chain([("file", screen.accent(&out.display().to_string()))]);
    lines.extend(
        rows.map(|(name, value)| format!("{} {value}", screen.dim(&format!("{name:<12}")))),
    );
    lines
}

fn left_out(drafted: &Drafted) -> Vec<(&'static str, String)> {
    let reasons = |reasons: Vec<String>| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for reason in reasons {
            *counts.entry(reason).or_default() += 1;
        }
        let told = counts
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"));
        told.collect::<Vec<_>>().join(" · ")
    };
    let passed = drafted
        .passed
        .iter()
        .map(|p| p.reason.to_string())
        .collect();
    let refused = drafted
        .refused
        .iter()
        .map(|(_, reason)| reason.clone())
        .collect();
    let on_lines = |statements: &[Statement]| match statements.len() {
        0 => String::new(),
        count => {
            let lines: Vec<String> = statements.iter().map(|s| s.line.to_string()).collect();
            format!("{count}, on lines {}", lines.join(", "))
        }
    };
    [
        ("no negative", on_lines(&drafted.without)),
        ("not heard", on_lines(&drafted.silent)),
        ("passed over", reasons(passed)),
        ("refused", reasons(refused)),
    ]
    .into_iter()
    .filter(|(_, text)| !text.is_empty())
    .collect()
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(RULE_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
