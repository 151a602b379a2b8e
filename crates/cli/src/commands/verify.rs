//! `enigma verify`: the model and its training step, held against independent computations.

use std::path::Path;
use std::time::Instant;

use math::Key;
use model::{
    ChatTokenizer, Config, Device, Dtype, Family, ModelError, OptimizerOptions, Shape, Source,
    Transformer,
};
use policy::{Probe, TextCodec};
use serde_json::json;
use verify::{AdamW, Bench, Decoder, Finding, Letters, Subject, TINY, checks};

use crate::arguments::{ModelArguments, VerifyArguments};
use crate::error::{Failure, InputError};
use crate::machine::{self, Opened};
use crate::terminal::{Bars, Screen, Table, duration, output};

/// What a check found, with its whole name.
type Named = (String, Finding);

/// Makes every check, and prints a table or a JSON object a finding.
///
/// # Errors
/// Where the model cannot be opened or a check cannot be made; and, after the table, where a check
/// fails.
pub(crate) fn verify(arguments: &VerifyArguments, screen: &Screen) -> Result<(), Failure> {
    let start = Instant::now();
    let device = machine::exact_device(&arguments.machine)?;
    let opened = open(arguments)?;
    let refused = |error: &dyn std::error::Error| InputError::refused(&arguments.model, error);
    let own = opened.weights(&device, Key::new(0));
    let mut own = own.map_err(|error| refused(&error))?;
    // What is verified is the step over all weights; an adapter is a part of them.
    own.merge_adapter();
    own.set_end_tokens(opened.tokenizer.end_tokens());
    own.keep_reference();
    let findings =
        findings(&mut own, &opened, &device, screen).map_err(|error| refused(&*error))?;
    if arguments.json {
        for (name, finding) in &findings {
            output(&object(name, finding).to_string())?;
        }
    } else {
        table(&findings, screen)?;
    }
    verdict(&findings, start, screen)
}

fn open(arguments: &VerifyArguments) -> Result<Opened, InputError> {
    let model = ModelArguments {
        model: arguments.model.clone(),
        base: None,
        chat: true,
        chat_template: arguments.chat_template.clone(),
    };
    machine::open_arguments(&model, true)
}

fn findings(
    own: &mut Transformer,
    opened: &Opened,
    device: &Device,
    screen: &Screen,
) -> Result<Vec<Named>, Box<dyn std::error::Error>> {
    let checks = checks();
    let bars = Bars::new(screen, checks.len() + 1);
    let mut tiny = tiny(device)?;
    let decoder = Decoder::new(TINY, &tiny.tensors());
    let subject = Subject {
        policy: own,
        codec: &opened.tokenizer,
        context: opened.config.context(1),
    };
    let tiny = Subject {
        policy: &mut tiny,
        codec: &Letters,
        context: TINY.context,
    };
    let mut bench = Bench::new(subject, tiny, &decoder, adamw())?;
    let mut findings = Vec::new();
    for (done, check) in checks.iter().enumerate() {
        bars.steps(done);
        // A check that cannot be made has failed: the bench itself could be prepared.
        let found = (check.run)(&mut bench)
            .unwrap_or_else(|error| vec![Finding::new("", f64::INFINITY, 0.0, error.to_string())]);
        findings.extend(found.into_iter().map(|finding| named(check.name, finding)));
    }
    bars.steps(checks.len());
    findings.push(named("folder", folder(own, &opened.tokenizer, device)?));
    bars.finish();
    Ok(findings)
}

fn named(check: &str, finding: Finding) -> Named {
    let separator = if finding.name.is_empty() { "" } else { "/" };
    (format!("{check}{separator}{}", finding.name), finding)
}

/// The tiny policy, with random weights large enough to make every layer felt.
fn tiny(device: &Device) -> Result<Transformer, ModelError> {
    let config = Config::fresh(&Shape {
        family: Family::Llama,
        hidden_size: TINY.width,
        layers: TINY.layers,
        query_heads: TINY.query_heads,
        key_value_heads: TINY.key_value_heads,
        intermediate_size: TINY.inner,
        vocabulary: Letters::VOCABULARY,
        max_position_embeddings: TINY.context,
        eos_token_ids: vec![Letters::END],
    })?;
    let mut tiny = Transformer::random(config, device, Key::new(3));
    let louder: Vec<f64> = tiny.parameters().iter().map(|&value| loud(value)).collect();
    tiny.set_parameters(&louder);
    tiny.keep_reference();
    Ok(tiny)
}

/// Ten times the usual deviation of 0.02; norms stay 1.
fn loud(value: f64) -> f64 {
    if value.abs() < 0.5 {
        10.0 * value
    } else {
        value
    }
}

fn adamw() -> AdamW {
    let OptimizerOptions {
        adam_beta1,
        adam_beta2,
        adam_epsilon,
        max_grad_norm,
        ..
    } = OptimizerOptions::default();
    AdamW {
        beta1: adam_beta1,
        beta2: adam_beta2,
        epsilon: adam_epsilon,
        max_grad_norm,
    }
}

/// Saves weights that no number format of two bytes holds, opens them again, and compares logits.
fn folder(
    own: &mut Transformer,
    tokenizer: &ChatTokenizer,
    device: &Device,
) -> Result<Finding, Box<dyn std::error::Error>> {
    let changed: Vec<f64> = own.parameters().iter().map(|value| 1.001 * value).collect();
    own.set_parameters(&changed);
    let place = std::env::temp_dir().join(format!("enigma-verify-{}", std::process::id()));
    std::fs::create_dir_all(&place)?;
    let reopened = reopened(own, tokenizer, &place, device);
    std::fs::remove_dir_all(&place)?;
    let tokens = tokenizer.encode("Ben has 2 jars of 6 stones each.")?;
    let (before, after) = (own.logits(&tokens)?, reopened?.logits(&tokens)?);
    let differ = before
        .iter()
        .zip(&after)
        .filter(|(a, b)| a.to_bits() != b.to_bits());
    let unlike = before.len().abs_diff(after.len()) + differ.count();
    let detail = format!(
        "of {} logits, those that differ after save and load",
        before.len()
    );
    Ok(Finding::new("", unlike as f64, 0.0, detail))
}

fn reopened(
    own: &Transformer,
    tokenizer: &ChatTokenizer,
    place: &Path,
    device: &Device,
) -> Result<Transformer, ModelError> {
    own.save(place, Dtype::F32)?;
    tokenizer.save(place)?;
    Transformer::open(&Source::Folder(place.to_owned()), device)
}

fn object(name: &str, finding: &Finding) -> serde_json::Value {
    json!({
        "check": name,
        "figure": finding.figure,
        "tolerance": finding.tolerance,
        "passes": finding.passes(),
        "detail": finding.detail,
    })
}

fn table(findings: &[Named], screen: &Screen) -> Result<(), Failure> {
    let mut table = Table::new(&["check", "figure", "at most", "verdict"]);
    for (name, finding) in findings {
        let verdict = if finding.passes() { "ok" } else { "FAILED" };
        let cells = [
            figure(finding.figure),
            figure(finding.tolerance),
            verdict.to_owned(),
        ];
        let cells = [vec![name.clone()], cells.to_vec()].concat();
        table.noted(cells, &finding.detail);
    }
    for line in table.lines(screen) {
        output(&line)?;
    }
    Ok(())
}

fn figure(value: f64) -> String {
    if value.abs() <= 0.0 {
        return "0".to_owned();
    }
    format!("{value:.1e}")
}

fn verdict(findings: &[Named], start: Instant, screen: &Screen) -> Result<(), Failure> {
    let failed = findings.iter().filter(|(_, finding)| !finding.passes());
    let failed: Vec<&str> = failed.map(|(name, _)| name.as_str()).collect();
    if failed.is_empty() {
        let took = duration(start.elapsed());
        screen.line(format!(
            "all {} figures within tolerance · {took}",
            findings.len()
        ));
        return Ok(());
    }
    Err(Failure::Run(format!(
        "{} of {} figures out of tolerance: {}",
        failed.len(),
        findings.len(),
        failed.join(", ")
    )))
}
