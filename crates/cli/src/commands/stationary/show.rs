//! One stationary policy as a table or as JSON.

use ::stationary::{Method, Stationary, divergence, nlhf, rlhf, solve, win_rate};
use serde_json::{Value, json};

use super::variant::group_name;
use super::{Inquiry, refused};
use crate::error::Failure;
use crate::terminal::{Screen, Table, output, short};

/// Answers that a table lists; the likeliest of more.
const ROWS_MAX: usize = 24;

/// A policy with its name in the table and in JSON.
struct Column {
    head: &'static str,
    key: &'static str,
    policy: Vec<f64>,
}

/// Solves and prints.
///
/// # Errors
/// Where question and variant contradict each other, or standard output is closed.
pub(super) fn show(inquiry: &Inquiry, is_json: bool, screen: &Screen) -> Result<(), Failure> {
    let found = solve(&inquiry.question, &inquiry.variant).map_err(|error| refused(&error))?;
    let columns = columns(inquiry, &found);
    if is_json {
        output(&object(inquiry, &found, &columns).to_string())?;
        return Ok(());
    }
    for line in answers_table(inquiry, &found, &columns).lines(screen) {
        output(&line)?;
    }
    output("")?;
    for line in figures_table(inquiry, &columns).lines(screen) {
        output(&line)?;
    }
    output("")?;
    for line in remarks(&found) {
        output(&line)?;
    }
    Ok(())
}

fn columns(inquiry: &Inquiry, found: &Stationary) -> Vec<Column> {
    let Inquiry {
        question, variant, ..
    } = inquiry;
    let column = |head, key, policy: &[f64]| Column {
        head,
        key,
        policy: policy.to_vec(),
    };
    let mut columns = vec![
        column("reference", "reference", question.reference()),
        column("GRPO", "policy", &found.policy),
    ];
    columns.extend(rlhf(question, variant).map(|policy| column("RLHF", "rlhf", &policy)));
    columns.push(column("NLHF", "nlhf", &nlhf(question, variant)));
    columns
}

fn answers_table(inquiry: &Inquiry, found: &Stationary, columns: &[Column]) -> Table {
    let rewards = inquiry.question.rewards();
    let interval = found.interval.as_ref();
    let mut head = vec!["answer"];
    head.extend(rewards.map(|_| "reward"));
    for column in columns {
        head.push(column.head);
        if column.key == "policy" {
            head.extend(interval.map(|_| "95 % interval"));
        }
    }
    let mut table = Table::new(&head);
    let mut listed: Vec<usize> = (0..inquiry.names.len()).collect();
    if listed.len() > ROWS_MAX {
        listed.sort_by(|a, b| found.policy[*b].total_cmp(&found.policy[*a]));
        listed.truncate(ROWS_MAX);
    }
    for k in listed {
        let mut cells = vec![inquiry.names[k].clone()];
        cells.extend(rewards.map(|rewards| format!("{}", rewards[k])));
        for column in columns {
            cells.push(probability(column.policy[k]));
            if column.key == "policy" {
                cells.extend(interval.map(|all| {
                    format!("{} – {}", probability(all[k].low), probability(all[k].high))
                }));
            }
        }
        table.row(cells);
    }
    let left = inquiry.names.len().saturating_sub(ROWS_MAX);
    if left > 0 {
        let mut cells = vec![String::new(); head.len()];
        cells[0] = format!("{left} more");
        table.row(cells);
    }
    table
}

fn figures_table(inquiry: &Inquiry, columns: &[Column]) -> Table {
    let question = &inquiry.question;
    let mut head = vec![""];
    head.extend(columns.iter().map(|column| column.head));
    let mut table = Table::new(&head);
    let mut row = |name: &str, figure: &dyn Fn(&[f64]) -> f64| {
        let figures = columns.iter().map(|column| figure(&column.policy));
        let figures = figures.map(|f| {
            if f.is_finite() {
                short(Some(f))
            } else {
                "∞".to_owned()
            }
        });
        table.row([name.to_owned()].into_iter().chain(figures).collect());
    };
    let reference = question.reference();
    if let Some(rewards) = question.rewards() {
        row("expected reward", &|policy| math::dot(policy, rewards));
    }
    row("wins against the reference", &|policy| {
        win_rate(question, policy, reference)
    });
    row("KL(policy ‖ reference), nats", &|policy| {
        divergence(policy, reference)
    });
    row("KL(reference ‖ policy), nats", &|policy| {
        divergence(reference, policy)
    });
    table
}

/// How the policy was found, and what else there is.
fn remarks(found: &Stationary) -> Vec<String> {
    if found.method == Method::Collapse {
        return vec![
            "collapse: below its critical beta the penalty cannot hold the policy, and the best \
             answer takes all"
                .to_owned(),
        ];
    }
    let mut lines = vec![format!(
        "{}, residual {:.0e}{}",
        found.method.name(),
        found.residual,
        match found.iterations {
            0 => String::new(),
            iterations => format!(" after {iterations} iterations"),
        }
    )];
    if !found.converged {
        lines.push("not converged: the policy above does not solve its equation".to_owned());
    }
    for other in &found.others {
        let kind = if other.attracting {
            "attracting"
        } else {
            "repelling"
        };
        let policy: Vec<String> = other.policy.iter().map(|p| probability(*p)).collect();
        lines.push(format!(
            "another stationary policy, {kind}: {}",
            policy.join(", ")
        ));
    }
    if !found.unique && found.others.is_empty() {
        lines.push("not every start of the solver led to this policy".to_owned());
    }
    lines
}

fn object(inquiry: &Inquiry, found: &Stationary, columns: &[Column]) -> Value {
    let question = &inquiry.question;
    let rewards = question.rewards();
    let mut object = json!({
        "beta": inquiry.variant.beta(),
        "group": group_name(inquiry.variant.group()),
        "answers": inquiry.names,
        "residual": finite(found.residual),
        "converged": found.converged,
        "iterations": found.iterations,
        "unique": found.unique,
        "method": found.method.name(),
        "rlhf": null,
        "interval": found.interval.as_ref().map(|all| {
            all.iter().map(|i| [i.low, i.high]).collect::<Vec<_>>()
        }),
        "others": found.others.iter().map(|other| json!({
            "policy": other.policy,
            "attracting": other.attracting,
        })).collect::<Vec<_>>(),
    });
    for column in columns {
        object[column.key] = json!(column.policy);
    }
    let reference = question.reference();
    let by_policy = |figure: &dyn Fn(&[f64]) -> Option<f64>| -> Value {
        let pairs = columns
            .iter()
            .map(|c| (c.key.to_owned(), json!(figure(&c.policy))));
        Value::Object(pairs.collect())
    };
    object["expected_reward"] = by_policy(&|policy| rewards.map(|r| math::dot(policy, r)));
    object["win_rate"] = by_policy(&|policy| Some(win_rate(question, policy, reference)));
    object["kl_policy_reference"] = by_policy(&|policy| finite(divergence(policy, reference)));
    object["kl_reference_policy"] = by_policy(&|policy| finite(divergence(reference, policy)));
    object
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Six digits after the point; small ones keep theirs.
pub(super) fn probability(value: f64) -> String {
    if value.abs() > 0.0 && value.abs() < 1e-4 {
        format!("{value:.2e}")
    } else {
        format!("{value:.6}")
    }
}
