//! `enigma principles create`: principles with matched negatives from a policy document.

mod endpoint;
mod report;

use std::collections::BTreeSet;
use std::path::Path;

use math::Key;
use policy::TextCodec;
use principle::draft::{Candidate, Pair, Passed, Statement, candidates, statements};
use principle::{Constitution, Principle};
use record::PrincipleScore;

use super::measure::{measure, room};
use super::score::introduce;
use crate::arguments::{CreatePrinciplesArguments, ScoringArguments};
use crate::data::Source;
use crate::error::{Failure, InputError};
use crate::machine;
use crate::plan::{ScoringPlan, new_file};
use crate::range::some;
use crate::recipe::FormatPreset;
use crate::terminal::{Bars, Phase, Screen, output};
use endpoint::{Endpoint, parts};

/// Ways to become a principle that are scored for each rule.
const PAIRS_MAX: usize = 3;

/// What a document gave before anything was scored.
#[derive(Debug, Default)]
struct Drafted {
    candidates: Vec<Candidate>,
    /// Rules without a matched negative.
    without: Vec<Statement>,
    passed: Vec<Passed>,
    /// Rules that the scoring model does not tell from their negatives.
    silent: Vec<Statement>,
    /// Lines and reasons of what a language model proposed in vain.
    refused: Vec<(usize, String)>,
}

/// A rule that became a principle.
#[derive(Debug)]
struct Chosen {
    statement: Statement,
    pair: Pair,
    score: Option<PrincipleScore>,
}

/// Writes the constitution file and tells what it rests on.
///
/// # Errors
/// Where an argument or a file is wrong, no rule became a principle, or the server refuses.
pub(super) fn create(
    arguments: &CreatePrinciplesArguments,
    screen: &Screen,
) -> Result<(), Failure> {
    let out = new_file(arguments.out.as_deref(), "principles", ".toml")?;
    if let Some(max) = arguments.max {
        some("--max", max).map_err(InputError::from)?;
    }
    let document = Source::File(arguments.from.clone()).text()?;
    let mut drafted = match (&arguments.endpoint, &arguments.model) {
        (Some(url), Some(model)) => proposed(&Endpoint::new(url, model)?, &document, screen)?,
        _ => by_rules(&document),
    };
    let candidates = std::mem::take(&mut drafted.candidates);
    if candidates.is_empty() {
        return Err(InputError::Said(format!(
            "{}: no rule with a matched negative; expected headings, list items or sentences that \
             say what should, must or must not be done",
            arguments.from.display()
        ))
        .into());
    }
    let mut chosen = match &arguments.score_with {
        Some(model) => scored(arguments, model, candidates, &mut drafted.silent, screen)?,
        None => candidates.into_iter().map(first).collect(),
    };
    chosen.truncate(arguments.max.unwrap_or(usize::MAX));
    if chosen.is_empty() {
        return Err(InputError::Said(
            "no principle is distinguishable from permuted labels on this model; nothing was \
             written: score on more --prompts-max, or create without --score-with"
                .to_owned(),
        )
        .into());
    }
    let constitution = constitution(&arguments.from, &chosen);
    write(&out, &report::heading(arguments), &constitution)?;
    if arguments.json {
        output(&report::json(&constitution, &chosen, &drafted, &out).to_string())?;
        return Ok(());
    }
    for line in report::lines(&constitution, &chosen, &drafted, &out, screen) {
        output(&line)?;
    }
    Ok(())
}

fn by_rules(document: &str) -> Drafted {
    let statements = statements(document);
    let (candidates, without) = candidates(statements.found);
    Drafted {
        candidates,
        without,
        passed: statements.passed,
        ..Drafted::default()
    }
}

/// What a language model proposes, held to the same checks.
fn proposed(endpoint: &Endpoint, document: &str, screen: &Screen) -> Result<Drafted, Failure> {
    let parts = parts(document);
    let mut drafted = Drafted::default();
    let mut known = BTreeSet::new();
    let mut bars = Bars::new(screen, 0);
    for (done, part) in parts.iter().enumerate() {
        bars.phase(Phase::Evaluation, 0, done, parts.len());
        let answer = endpoint.propose(part)?;
        for proposal in answer.proposals {
            let line = proposal.line;
            match proposal.check(document) {
                Ok(candidate) if known.insert(candidate.statement.text.to_lowercase()) => {
                    drafted.candidates.push(candidate);
                }
                Ok(_) => drafted.refused.push((line, "repeats a rule".to_owned())),
                Err(error) => drafted.refused.push((line, error.to_string())),
            }
        }
        let unread = "expected line, positive and negatives".to_owned();
        let unread = std::iter::repeat_n((0, unread), answer.unread);
        drafted.refused.extend(unread);
    }
    bars.finish();
    drafted.candidates.sort_by_key(|found| found.statement.line);
    Ok(drafted)
}

fn first(candidate: Candidate) -> Chosen {
    let pair = candidate.pairs.into_iter().next();
    Chosen {
        statement: candidate.statement,
        pair: pair.expect("a candidate has a pair"),
        score: None,
    }
}

/// Scores the first pairs of every candidate and keeps the best of each that is distinguishable
/// from permuted labels, the best first; what has none is `silent`.
fn scored(
    arguments: &CreatePrinciplesArguments,
    model: &str,
    mut candidates: Vec<Candidate>,
    silent: &mut Vec<Statement>,
    screen: &Screen,
) -> Result<Vec<Chosen>, Failure> {
    let mut principles = Vec::new();
    for (number, candidate) in candidates.iter_mut().enumerate() {
        candidate.pairs.truncate(PAIRS_MAX);
        let pairs = candidate.pairs.iter().enumerate();
        principles.extend(pairs.map(|(way, pair)| Principle {
            id: format!("{number}/{way}"),
            ..principle(String::new(), String::new(), pair)
        }));
    }
    let scoring = scoring(arguments, model);
    let plan = ScoringPlan::resolve(&scoring, principles, None)?;
    let device = machine::device(&arguments.machine, &room(&plan))?;
    let policy = plan.opened.weights(&device, Key::new(0));
    let mut policy = policy.map_err(|error| InputError::refused(model, &error))?;
    policy.set_end_tokens(plan.opened.tokenizer.end_tokens());
    introduce(&plan, model, screen);
    let mut bars = Bars::new(screen, plan.subjects.len());
    let measured = measure(&plan, &policy, &mut bars);
    bars.finish();
    let mut scores = measured
        .map_err(|error| error.of(model))?
        .principles
        .into_iter();
    let mut chosen = Vec::new();
    for Candidate { statement, pairs } in candidates {
        let with_scores = pairs.into_iter().zip(scores.by_ref());
        let informative = with_scores.filter(|(_, score)| is_distinguishable(score));
        let best = informative.max_by(|(_, a), (_, b)| index(a).total_cmp(&index(b)));
        match best {
            None => silent.push(statement),
            Some((pair, score)) => chosen.push(Chosen {
                statement,
                pair,
                score: Some(score),
            }),
        }
    }
    let of = |chosen: &Chosen| chosen.score.as_ref().map_or(0.0, index);
    chosen.sort_by(|a, b| of(b).total_cmp(&of(a)));
    Ok(chosen)
}

fn scoring(arguments: &CreatePrinciplesArguments, model: &str) -> ScoringArguments {
    ScoringArguments {
        model: model.to_owned(),
        prompts: arguments.prompts.clone().unwrap_or_default(),
        prompts_max: arguments.prompts_max,
        format: FormatPreset::default(),
        instruction: None,
        max_completion_length: None,
        chat_template: None,
        seed: arguments.seed,
    }
}

fn is_distinguishable(score: &PrincipleScore) -> bool {
    !score.verdict.starts_with("not ")
}

fn index(score: &PrincipleScore) -> f64 {
    score.si_corrected.unwrap_or(f64::NEG_INFINITY)
}

fn principle(id: String, source: String, pair: &Pair) -> Principle {
    Principle {
        name: id.clone(),
        id,
        positive: pair.positive.clone(),
        negatives: vec![pair.negative.text.clone()],
        identifiers: None,
        source: Some(source),
    }
}

fn constitution(from: &Path, chosen: &[Chosen]) -> Constitution {
    let mut principles: Vec<Principle> = Vec::with_capacity(chosen.len());
    for Chosen {
        statement, pair, ..
    } in chosen
    {
        let id = statement.id(|id| principles.iter().any(|known| known.id == id));
        let source = format!("{}:{}", from.display(), statement.line);
        principles.push(principle(id, source, pair));
    }
    Constitution { principles }
}

fn write(path: &Path, heading: &str, constitution: &Constitution) -> Result<(), InputError> {
    let refused = |reason: String| InputError::FileNotWritable {
        path: path.to_owned(),
        reason,
    };
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let made = folder.map_or(Ok(()), std::fs::create_dir_all);
    made.map_err(|error| refused(error.to_string()))?;
    let text = format!("{heading}\n{}", constitution.to_toml());
    record::write_atomic(path, text.as_bytes()).map_err(|error| refused(error.to_string()))
}
