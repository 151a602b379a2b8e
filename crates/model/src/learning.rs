//! How a transformer scores given completions and learns from them.

use kernel::{Device, Matrix, head, pool, rows};
use policy::{
    Batch, Policy, PolicyError, Request, Sample, SampleProgress, SamplingOptions, Scorer, Signals,
    UpdateReport,
};
use ranks::{RankError, Ranks};

use crate::decoder::{Gradients, Packing, Parameters, Scratch, Selection, Trace};
use crate::generation::Kept;
use crate::lora::Lora;
use crate::optimizer::Optimizer;
use crate::transformer::Reference;
use crate::{Dtype, Transformer};

/// Everything that only training needs.
#[derive(Debug)]
pub(crate) struct Training {
    optimizer: Optimizer,
    trace: Trace,
    /// From the first pass to the update; while completions are drawn, nothing is held of it.
    work: Option<Work>,
    /// What the trace holds of the last rollout, with the present weights.
    kept: Option<Kept>,
    pending: Option<Pending>,
}

/// What an update needs beside the trace.
#[derive(Debug)]
struct Work {
    /// Gathered so far.
    gradient: Parameters,
    gradients: Gradients,
    scratch: Scratch,
}

/// A forward pass whose backward pass is still to come.
#[derive(Debug)]
struct Pending {
    packing: Packing,
    head: HeadPass,
}

/// The head's part of a forward pass.
#[derive(Debug)]
struct HeadPass {
    hidden_md: Matrix,
    settings: head::Settings,
    log_sum_exp_m: Vec<f32>,
}

impl Transformer {
    /// The optimiser, once training has begun.
    pub(crate) fn optimizer(&self) -> Option<&Optimizer> {
        self.training.as_ref().map(|training| &training.optimizer)
    }

    /// Goes on with the present parameters from these moments, with the options that were chosen.
    pub(crate) fn restore(&mut self, [first, second]: [Parameters; 2], step: u64) {
        self.training = Some(Training {
            optimizer: Optimizer::kept(self.optimizer_options, first, second, step),
            ..Training::new(self)
        });
    }

    fn score(
        &self,
        parameters: &Parameters,
        selection: Selection,
        batch: &Batch,
    ) -> Result<Signals, PolicyError> {
        self.check_batch(batch)?;
        let packing = Packing::new(batch, |prompt| self.config.first_position(prompt));
        let trace = self.run(parameters, selection, &packing);
        let settings = self.head_settings(batch.temperature);
        signals(parameters, &packing, &trace.hidden_nd, settings).map(|(s, _)| s)
    }

    fn head_settings(&self, temperature: f64) -> head::Settings {
        head::Settings {
            inverse_temperature: temperature.recip() as f32,
            softcap: self.decoder.logit_softcap,
        }
    }

    /// Whether the sampler computes in `f32` on the processor all that a forward pass keeps.
    fn passes_agree(&self) -> bool {
        let is_cpu = matches!(self.device(), Device::Cpu(_));
        let dropped = self.lora.as_ref().is_some_and(Lora::drops);
        is_cpu && self.sampling_dtype == Dtype::F32 && !self.gradient_checkpointing && !dropped
    }
}

impl Training {
    fn new(model: &Transformer) -> Self {
        let parameters = &model.parameters;
        Self {
            optimizer: Optimizer::new(model.optimizer_options, parameters),
            trace: model
                .decoder
                .training_trace(parameters, model.gradient_checkpointing),
            work: None,
            kept: None,
            pending: None,
        }
    }

    /// The gradient gathered so far.
    pub(crate) fn gradient(&self) -> Option<&Parameters> {
        self.work.as_ref().map(|work| &work.gradient)
    }
}

impl Work {
    fn new(model: &Transformer) -> Self {
        let parameters = &model.parameters;
        Self {
            gradient: parameters.gradient(),
            gradients: Gradients::new(parameters, &model.decoder.heads),
            scratch: Scratch::new(parameters),
        }
    }
}

impl Scorer for Transformer {
    fn signals(&self, batch: &Batch) -> Result<Signals, PolicyError> {
        self.score(&self.parameters, Selection::Trained, batch)
    }
}

impl Policy for Transformer {
    fn reference_signals(&self, batch: &Batch) -> Result<Signals, PolicyError> {
        let reference = self.reference.as_ref();
        match reference.expect("keep_reference comes before training") {
            Reference::Weights(weights) => self.score(weights, Selection::Trained, batch),
            Reference::Adapters => self.score(&self.parameters, Selection::Reference, batch),
        }
    }

    /// Keeps on a processor what is computed of the first requests, in the buffers of the forward
    /// pass, where that pass would compute the same.
    fn roll_out(
        &mut self,
        requests: &[Request],
        options: &SamplingOptions,
        tokens_max: usize,
        progress: &mut dyn FnMut(SampleProgress),
    ) -> Result<Vec<Vec<Sample>>, PolicyError> {
        let copy = self.copy_kind(true);
        if tokens_max == 0 || !self.passes_agree() {
            return self
                .draw(requests, options, copy, None, progress)
                .map(|(samples, _)| samples);
        }
        let mut training = self.training.take().unwrap_or_else(|| Training::new(self));
        training.kept = None;
        let keep = Some((&mut training.trace, tokens_max));
        let drawn = self.draw(requests, options, copy, keep, progress);
        let drawn = drawn.map(|(samples, kept)| {
            training.kept = kept;
            samples
        });
        self.training = Some(training);
        drawn
    }

    fn forward(&mut self, batch: &Batch) -> Result<Signals, PolicyError> {
        self.check_batch(batch)?;
        let mut training = self.training.take().unwrap_or_else(|| Training::new(self));
        let packing = Packing::new(batch, |prompt| self.config.first_position(prompt));
        let updates = training.optimizer.steps();
        let kept = training.kept.take();
        let Training { trace, work, .. } = &mut training;
        let Work { scratch, .. } = work.get_or_insert_with(|| Work::new(self));
        let lora = self.lora.as_ref();
        scratch.adapters.dropout = lora.and_then(|lora| lora.dropout(&packing, updates));
        if let Some(rows_n) = kept.and_then(|kept| kept.rows(batch)) {
            scratch.resize(rows_n.len());
            trace.arrange(&rows_n);
        } else {
            self.decoder
                .forward_tree(&self.parameters, &packing, trace, scratch);
        }
        let settings = self.head_settings(batch.temperature);
        let read = signals(&self.parameters, &packing, &trace.hidden_nd, settings);
        let read = read.map(|(signals, head)| {
            training.pending = Some(Pending { packing, head });
            signals
        });
        self.training = Some(training);
        read
    }

    fn backward(&mut self, gradient: &Signals) {
        let training = self
            .training
            .as_mut()
            .expect("a backward pass follows a forward pass");
        let pending = training
            .pending
            .take()
            .expect("a backward pass follows a forward pass");
        let Pending {
            packing,
            head: pass,
        } = pending;
        let (grad_m, grad_points) = flatten(gradient, &packing);
        let device = self.parameters.norm_1d.device();
        let width = self.parameters.norm_1d.columns();

        let work = training
            .work
            .as_mut()
            .expect("a backward pass follows a forward pass");
        let mut grad_hidden_md = device.zeros(pass.hidden_md.rows(), width);
        head::backward(
            &pass.hidden_md,
            self.parameters.head(),
            &packing.targets_m,
            pass.settings,
            &pass.log_sum_exp_m,
            &grad_m,
            &mut grad_hidden_md,
            work.gradient.learnt_head(),
        );
        work.gradients.resize(packing.tokens_n.len());
        let grad_hidden_nd = &mut work.gradients.hidden_nd;
        grad_hidden_nd.fill(0.0);
        rows::scatter_add(&packing.predictors_m, &grad_hidden_md, grad_hidden_nd);
        let grad_points_rd = device.matrix(packing.spans.len(), width, grad_points);
        pool::backward(&packing.spans, &grad_points_rd, grad_hidden_nd);
        self.decoder.backward(
            &self.parameters,
            &packing,
            &mut training.trace,
            &mut work.scratch,
            &mut work.gradients,
            &mut work.gradient,
        );
    }

    fn sum_gradient(&mut self, ranks: &Ranks) -> Result<(), RankError> {
        let mut training = self.training.take().unwrap_or_else(|| Training::new(self));
        let work = training.work.get_or_insert_with(|| Work::new(self));
        let summed = work.gradient.sum_trained(ranks, self.communicator.as_mut());
        self.training = Some(training);
        summed
    }

    fn update(&mut self, learning_rate: f64) -> UpdateReport {
        let mut training = self
            .training
            .take()
            .expect("an update follows a backward pass");
        training.kept = None;
        let work = training
            .work
            .take()
            .expect("an update follows a backward pass");
        let optimizer = &mut training.optimizer;
        let report = optimizer.update(&mut self.parameters, work.gradient, learning_rate);
        self.training = Some(training);
        report
    }
}

/// Reads a batch's signals off its hidden states.
fn signals(
    parameters: &Parameters,
    packing: &Packing,
    hidden_nd: &Matrix,
    settings: head::Settings,
) -> Result<(Signals, HeadPass), PolicyError> {
    let (device, width) = (hidden_nd.device(), hidden_nd.columns());
    let mut hidden_md = device.zeros(packing.predictors_m.len(), width);
    rows::gather(hidden_nd, &packing.predictors_m, &mut hidden_md);
    let targets_m = &packing.targets_m;
    let scores = head::forward(&hidden_md, parameters.head(), targets_m, settings);
    let mut points_rd = device.zeros(packing.spans.len(), width);
    pool::forward(hidden_nd, &packing.spans, &mut points_rd);

    let points = points_rd.to_vec();
    let mut points = points.chunks(width);
    let mut logprobs = scores.logprobs_m.iter().map(|&value| f64::from(value));
    let mut signals = Signals::default();
    for &(length, pooled) in &packing.rows {
        signals
            .logprobs_nt
            .push(logprobs.by_ref().take(length).collect());
        let point = if pooled { points.next() } else { None };
        let point = point
            .unwrap_or_default()
            .iter()
            .map(|&value| f64::from(value));
        signals.points_nd.push(point.collect());
    }
    if !signals.is_finite() {
        return Err(PolicyError::NotFinite {
            place: "the log-probabilities".to_owned(),
        });
    }
    let log_sum_exp_m = scores.log_sum_exp_m;
    Ok((
        signals,
        HeadPass {
            hidden_md,
            settings,
            log_sum_exp_m,
        },
    ))
}

/// The gradient in signals as the head and the pooling take it.
fn flatten(gradient: &Signals, packing: &Packing) -> (Vec<f32>, Vec<f32>) {
    let narrow = |rows: &[Vec<f64>]| rows.iter().flatten().map(|&g| g as f32).collect();
    let (grad_m, grad_points): (Vec<f32>, Vec<f32>) =
        (narrow(&gradient.logprobs_nt), narrow(&gradient.points_nd));
    let (found, expected) = (grad_m.len(), packing.targets_m.len());
    assert_eq!(
        found, expected,
        "a gradient has one entry for each scored token"
    );
    (grad_m, grad_points)
}
