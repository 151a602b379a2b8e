//! `enigma principles select`: informative principles that do not say the same, as a constitution
//! file.

use std::path::Path;

use principle::{Candidate, Constitution, Pick, Principle, nearest, select as cover};
use record::{PrincipleScore, Scores, write_atomic};
use serde_json::json;

use super::metrics::INDISTINGUISHABLE;
use crate::arguments::SelectPrinciplesArguments;
use crate::error::{Failure, InputError};
use crate::plan::new_file;
use crate::range::some;
use crate::terminal::{Screen, Table, output};

/// Chooses, says why, and writes the file.
///
/// # Errors
/// Where the scores cannot be read, an id is unknown, or there are fewer principles than asked for.
pub(super) fn select(
    arguments: &SelectPrinciplesArguments,
    screen: &Screen,
) -> Result<(), Failure> {
    some("--size", arguments.size).map_err(InputError::from)?;
    let path = &arguments.scores;
    let scores = Scores::read(path).map_err(|error| InputError::refused(path.display(), &error))?;
    let out = new_file(arguments.out.as_deref(), "selected", ".toml")?;
    let pool = pool(&scores, arguments)?;
    let candidates = candidates(&pool)?;
    let included = arguments.include.iter();
    let included: Vec<usize> = included
        .filter_map(|id| pool.iter().position(|score| &score.id == id))
        .collect();
    let picks = cover(&candidates, &included, arguments.size);
    write(&picks, &pool, &out)?;
    if arguments.json {
        output(&object(&picks, &pool, &out).to_string())?;
    } else {
        for line in table(&picks, &pool).lines(screen) {
            output(&line)?;
        }
        for line in passed_over(&picks, &pool, &candidates) {
            screen.line(screen.dim(&line));
        }
    }
    let shown = screen.accent(&out.display().to_string());
    screen.line(format!("{} {shown}", screen.dim("constitution")));
    Ok(())
}

/// The principles that can be chosen: those told from permuted labels and not excluded, and those
/// included.
fn pool<'a>(
    scores: &'a Scores,
    arguments: &SelectPrinciplesArguments,
) -> Result<Vec<&'a PrincipleScore>, InputError> {
    let SelectPrinciplesArguments {
        include, exclude, ..
    } = arguments;
    let ids: Vec<&str> = scores.principles.iter().map(|p| p.id.as_str()).collect();
    for (number, id) in include.iter().chain(exclude).enumerate() {
        if !ids.contains(&id.as_str()) {
            let known = ids.join(", ");
            let reason = format!("no principle {id:?} in the scores; expected one of {known}");
            return Err(InputError::Said(reason));
        }
        if include
            .iter()
            .chain(exclude)
            .skip(number + 1)
            .any(|other| other == id)
        {
            let reason = format!("{id:?} is given twice to --include and --exclude; expected once");
            return Err(InputError::Said(reason));
        }
    }
    let is_open = |score: &&PrincipleScore| {
        let tells = score.verdict != INDISTINGUISHABLE && !exclude.contains(&score.id);
        tells || include.contains(&score.id)
    };
    let pool: Vec<&PrincipleScore> = scores.principles.iter().filter(is_open).collect();
    let size = arguments.size;
    if include.len() > size {
        let found = include.len();
        return Err(InputError::Said(format!(
            "--size is {size}; expected {found} or more, the principles of --include"
        )));
    }
    if pool.len() < size {
        let found = pool.len();
        return Err(InputError::Said(format!(
            "--size is {size}; expected at most {found}, the principles that are told from \
             permuted labels and not excluded"
        )));
    }
    Ok(pool)
}

/// The pool with its margins on the prompts that all of it was read on.
fn candidates(pool: &[&PrincipleScore]) -> Result<Vec<Candidate>, InputError> {
    let shared = |id: &usize| pool.iter().all(|score| score.prompt_ids.contains(id));
    let shared: Vec<usize> = pool[0].prompt_ids.iter().copied().filter(shared).collect();
    if shared.len() < 2 {
        return Err(InputError::Said(
            "the principles were scored on different prompts; expected shared ones, to see which \
             say the same"
                .to_owned(),
        ));
    }
    let candidate = |score: &&PrincipleScore| {
        let margin = |id: &usize| {
            let at = score.prompt_ids.iter().position(|other| other == id);
            at.and_then(|at| score.margins.get(at).copied())
        };
        let margins: Option<Vec<f64>> = shared.iter().map(margin).collect();
        let margins_q = margins.ok_or_else(|| {
            let id = &score.id;
            InputError::Said(format!(
                "the scores of {id:?} lack margins; expected one a prompt"
            ))
        })?;
        let si = score.si.unwrap_or(0.0);
        Ok(Candidate { si, margins_q })
    };
    pool.iter().map(candidate).collect()
}

fn table(picks: &[Pick], pool: &[&PrincipleScore]) -> Table {
    let mut table = Table::new(&["chosen", "SI", "adds", "of what it is alone", "most like"]);
    for pick in picks {
        let score = pool[pick.candidate];
        let nearest = pick.nearest.map_or("–".to_owned(), |(other, correlation)| {
            format!("{} (r = {correlation:.2})", pool[other].id)
        });
        let share = if pick.alone > 0.0 {
            format!("{:.0} %", 100.0 * pick.gain / pick.alone)
        } else {
            "–".to_owned()
        };
        table.row(vec![
            score.id.clone(),
            score.si.map_or("–".to_owned(), |si| format!("{si:.3}")),
            format!("{:.3}", pick.gain.max(0.0)),
            share,
            nearest,
        ]);
    }
    table
}

/// The principles of a higher index than some chosen one, and what they are like.
fn passed_over(picks: &[Pick], pool: &[&PrincipleScore], candidates: &[Candidate]) -> Vec<String> {
    let members: Vec<usize> = picks.iter().map(|pick| pick.candidate).collect();
    let chosen = members.iter().map(|&member| candidates[member].si);
    let lowest = chosen.fold(f64::INFINITY, f64::min);
    let over = (0..pool.len()).filter(|c| !members.contains(c) && candidates[*c].si > lowest);
    let line = |candidate: usize| {
        let (other, correlation) = nearest(candidates, &members, candidate)?;
        let (id, si, other) = (
            &pool[candidate].id,
            candidates[candidate].si,
            &pool[other].id,
        );
        Some(format!(
            "passed over {id} (SI {si:.3}): like {other} (r = {correlation:.2})"
        ))
    };
    over.filter_map(line).collect()
}

fn object(picks: &[Pick], pool: &[&PrincipleScore], out: &Path) -> serde_json::Value {
    let pick = |pick: &Pick| {
        let nearest = pick
            .nearest
            .map(|(other, correlation)| json!({"id": pool[other].id, "correlation": correlation}));
        let score = pool[pick.candidate];
        json!({
            "id": score.id,
            "si": score.si,
            "gain": pick.gain,
            "gain_alone": pick.alone,
            "nearest": nearest,
        })
    };
    let picks: Vec<_> = picks.iter().map(pick).collect();
    json!({"principles": picks, "constitution": out})
}

/// A constitution file of scored principles.
pub(crate) fn constitution_text(members: &[&PrincipleScore]) -> String {
    let principle = |score: &&PrincipleScore| Principle {
        id: score.id.clone(),
        name: score.name.clone().unwrap_or_else(|| score.id.clone()),
        positive: score.positive.clone(),
        negatives: score.negatives.clone(),
        identifiers: None,
        source: score.source.clone(),
    };
    let principles = members.iter().map(principle).collect();
    Constitution { principles }.to_toml()
}

fn write(picks: &[Pick], pool: &[&PrincipleScore], path: &Path) -> Result<(), InputError> {
    let members: Vec<&PrincipleScore> = picks.iter().map(|pick| pool[pick.candidate]).collect();
    let text = constitution_text(&members);
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let refused = |reason: String| InputError::FileNotWritable {
        path: path.to_owned(),
        reason,
    };
    let made = folder.map_or(Ok(()), std::fs::create_dir_all);
    made.map_err(|error| refused(error.to_string()))?;
    write_atomic(path, text.as_bytes()).map_err(|error| refused(error.to_string()))
}
