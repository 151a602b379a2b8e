//! A decoder-only transformer as a policy.

use kernel::{Communicator, Device, Matrix, head, pool, rows};
use policy::{Batch, Policy, PolicyError, Scorer, Signals, UpdateReport};
use ranks::{RankError, Ranks};

use crate::decoder::{
    Activations, Decoder, Gradients, Packing, Parameters, Scratch, Selection, Trace,
};
use crate::lora::Lora;
use crate::optimizer::{Optimizer, OptimizerOptions};
use crate::{Config, Dtype};

/// A transformer with its weights, and what training it needs.
///
/// Gradients, optimiser moments and activations are allocated when they are first needed.
#[derive(Debug)]
pub struct Transformer {
    pub(crate) config: Config,
    pub(crate) decoder: Decoder,
    pub(crate) parameters: Parameters,
    reference: Option<Reference>,
    pub(crate) lora: Option<Lora>,
    /// In which type completions are drawn.
    pub(crate) sampling_dtype: Dtype,
    gradient_checkpointing: bool,
    optimizer_options: OptimizerOptions,
    pub(crate) training: Option<Training>,
    /// To the cards of other ranks, where gradients are added up from card to card.
    pub(crate) communicator: Option<Communicator>,
}

/// Where the reference policy's weights are.
#[derive(Debug)]
enum Reference {
    /// A copy of all.
    Weights(Box<Parameters>),
    /// Beside the adapters: the frozen weights, and a copy of the adapters that training began
    /// with, which is empty where they did nothing yet.
    Adapters,
}

/// Everything that only training needs.
#[derive(Debug)]
pub(crate) struct Training {
    optimizer: Optimizer,
    pub(crate) gradient: Parameters,
    trace: Trace,
    scratch: Scratch,
    gradients: Gradients,
    pending: Option<Pending>,
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
    pub(crate) fn new(config: Config, parameters: Parameters) -> Self {
        let decoder = Decoder::new(&config, parameters.norm_1d.device());
        Self {
            config,
            decoder,
            parameters,
            reference: None,
            lora: None,
            sampling_dtype: Dtype::F32,
            gradient_checkpointing: false,
            optimizer_options: OptimizerOptions::default(),
            training: None,
            communicator: None,
        }
    }

    /// Gives the embedding at least so many rows, and the head as many. A new row is the mean of
    /// the old ones, so that no new token is likelier than what the model knows: its logit is the
    /// mean of theirs, before a cap.
    ///
    /// # Panics
    /// If training has begun.
    ///
    /// # Source
    /// Hewitt, "Initializing new word embeddings for pretrained language models" (2021); so
    /// transformers' `resize_token_embeddings`, which adds a little noise to the mean.
    pub fn grow_vocabulary(&mut self, rows: usize) {
        if rows <= self.config.vocabulary {
            return;
        }
        self.expect_untrained("the vocabulary grows");
        self.config.grow_vocabulary(rows);
        let Parameters {
            embedding_dv,
            head_dv,
            ..
        } = &mut self.parameters;
        for matrix_dv in std::iter::once(embedding_dv).chain(head_dv) {
            *matrix_dv = with_means(matrix_dv, self.config.vocabulary);
        }
    }

    /// The shape of the model.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The device that holds the weights.
    pub fn device(&self) -> &Device {
        self.parameters.norm_1d.device()
    }

    /// Chooses how updates follow gradients; moments start from zero.
    pub fn set_optimizer(&mut self, options: OptimizerOptions) {
        self.optimizer_options = options;
        self.training = None;
    }

    /// Keeps of a forward pass only the inputs of layers, and computes each layer again in the
    /// backward pass: the same gradient to the bit, for a third more work and a fraction of the
    /// memory.
    ///
    /// # Panics
    /// If training has begun.
    pub fn set_gradient_checkpointing(&mut self, on: bool) {
        self.expect_untrained("gradient checkpointing is chosen");
        self.gradient_checkpointing = on;
    }

    /// Draws completions with weights and their inputs rounded to this type; sums, attention and
    /// everything but drawing stay `f32`. Each call of the sampler makes a rounded copy first.
    pub fn set_sampling_dtype(&mut self, dtype: Dtype) {
        self.sampling_dtype = dtype;
    }

    /// Ends completions at these ids: those of the codec, whose first is the one a warm start
    /// teaches. By default they are the configuration's alone, which may miss the turn's end.
    pub fn set_end_tokens(&mut self, tokens: &[u32]) {
        self.config.set_end_tokens(tokens);
    }

    /// Keeps the present policy as the reference. Of weights this is a copy; beside adapters, only
    /// one of the adapters, and none where they are fresh: the reference is then the model without
    /// them.
    ///
    /// Without it [`Policy::reference_signals`] panics; a run whose objective never compares with
    /// the reference spares the memory.
    pub fn keep_reference(&mut self) {
        if self.parameters.is_adapted() {
            self.parameters.keep_adapters();
            self.reference = Some(Reference::Adapters);
        } else {
            self.reference = Some(Reference::Weights(Box::new(self.parameters.clone())));
        }
    }

    /// Asserts that what is done comes before training.
    #[track_caller]
    pub(crate) fn expect_untrained(&self, what: &str) {
        let is_fresh = self.training.is_none() && self.reference.is_none();
        assert!(is_fresh, "{what} before training");
    }

    /// Final logits of every token of one sequence, `[tokens, vocabulary]`, row after row.
    ///
    /// For comparing models; training never holds such a matrix.
    ///
    /// # Errors
    /// As [`Scorer::signals`].
    pub fn logits(&self, tokens: &[u32]) -> Result<Vec<f32>, PolicyError> {
        let prefixes = vec![tokens.to_vec()];
        let batch = Batch {
            prefixes,
            rows: Vec::new(),
            temperature: 1.0,
        };
        self.check_batch(&batch)?;
        let packing = Packing::new(&batch, |prompt| self.config.first_position(prompt));
        let trace = self.run(&self.parameters, Selection::Trained, &packing);
        let mut logits = self.device().zeros(tokens.len(), self.config.vocabulary);
        let hidden = &trace.hidden_nd;
        self.decoder.logits(&self.parameters, hidden, &mut logits);
        Ok(logits.to_vec())
    }

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

    /// A forward pass of which nothing is kept for a backward pass.
    pub(crate) fn run(
        &self,
        parameters: &Parameters,
        selection: Selection,
        packing: &Packing,
    ) -> Trace {
        let mut trace = self.decoder.trace(parameters);
        let mut scratch = Scratch::new(parameters);
        scratch.adapters.selection = selection;
        self.decoder
            .forward_tree(parameters, packing, &mut trace, &mut scratch);
        trace
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

    fn check_batch(&self, batch: &Batch) -> Result<(), PolicyError> {
        let vocabulary = self.config.vocabulary;
        let known = |tokens: &[u32]| match tokens.iter().find(|&&t| t as usize >= vocabulary) {
            Some(&token) => Err(PolicyError::UnknownToken { token, vocabulary }),
            None => Ok(()),
        };
        for prefix in &batch.prefixes {
            assert!(!prefix.is_empty(), "a prefix has at least one token");
            self.check_length(prefix.len(), 0)?;
            known(prefix)?;
        }
        for row in &batch.rows {
            let (prompt, completion) = (batch.prefixes[row.prefix].len(), row.tokens_t.len());
            if prompt + completion > self.config.scored_context(prompt) {
                let context = self.config.context(prompt);
                return Err(PolicyError::ContextExceeded {
                    prompt,
                    completion,
                    context,
                });
            }
            known(&row.tokens_t)?;
        }
        Ok(())
    }

    /// Whether a prompt and this many new tokens fit the context ([`Config::context`]).
    pub(crate) fn check_length(&self, prompt: usize, completion: usize) -> Result<(), PolicyError> {
        let context = self.config.context(prompt);
        if prompt + completion > context {
            return Err(PolicyError::ContextExceeded {
                prompt,
                completion,
                context,
            });
        }
        Ok(())
    }
}

impl Decoder {
    /// The forward pass of a packed batch.
    fn forward_tree(
        &self,
        parameters: &Parameters,
        packing: &Packing,
        trace: &mut Trace,
        scratch: &mut Scratch,
    ) {
        let (layout, heads) = (&packing.layout, &self.heads);
        let mut attend = |layer: usize, saved: &mut Activations| {
            saved.attend(layout, heads, &self.layers[layer].rule);
        };
        let (tokens_n, positions_n) = (&packing.tokens_n, &packing.positions_n);
        self.forward(
            parameters.weights(),
            tokens_n,
            positions_n,
            trace,
            scratch,
            &mut attend,
        );
    }
}

impl Training {
    fn new(model: &Transformer) -> Self {
        let (parameters, heads) = (&model.parameters, &model.decoder.heads);
        Self {
            optimizer: Optimizer::new(model.optimizer_options, parameters),
            gradient: parameters.gradient(),
            trace: model
                .decoder
                .training_trace(parameters, model.gradient_checkpointing),
            scratch: Scratch::new(parameters),
            gradients: Gradients::new(parameters, heads),
            pending: None,
        }
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

    fn forward(&mut self, batch: &Batch) -> Result<Signals, PolicyError> {
        self.check_batch(batch)?;
        let mut training = self.training.take().unwrap_or_else(|| Training::new(self));
        let packing = Packing::new(batch, |prompt| self.config.first_position(prompt));
        let updates = training.optimizer.steps();
        let Training { trace, scratch, .. } = &mut training;
        let lora = self.lora.as_ref();
        scratch.adapters.dropout = lora.and_then(|lora| lora.dropout(&packing, updates));
        self.decoder
            .forward_tree(&self.parameters, &packing, trace, scratch);
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

        let mut grad_hidden_md = device.zeros(pass.hidden_md.rows(), width);
        head::backward(
            &pass.hidden_md,
            self.parameters.head(),
            &packing.targets_m,
            pass.settings,
            &pass.log_sum_exp_m,
            &grad_m,
            &mut grad_hidden_md,
            training.gradient.learnt_head(),
        );
        training.gradients.resize(packing.tokens_n.len());
        let grad_hidden_nd = &mut training.gradients.hidden_nd;
        grad_hidden_nd.fill(0.0);
        rows::scatter_add(&packing.predictors_m, &grad_hidden_md, grad_hidden_nd);
        let grad_points_rd = device.matrix(packing.spans.len(), width, grad_points);
        pool::backward(&packing.spans, &grad_points_rd, grad_hidden_nd);
        self.decoder.backward(
            &self.parameters,
            &packing,
            &mut training.trace,
            &mut training.scratch,
            &mut training.gradients,
            &mut training.gradient,
        );
    }

    fn sum_gradient(&mut self, ranks: &Ranks) -> Result<(), RankError> {
        let mut training = self.training.take().unwrap_or_else(|| Training::new(self));
        let summed = training
            .gradient
            .sum_trained(ranks, self.communicator.as_mut());
        self.training = Some(training);
        summed
    }

    fn update(&mut self, learning_rate: f64) -> UpdateReport {
        let mut training = self
            .training
            .take()
            .expect("an update follows a backward pass");
        let Training {
            optimizer,
            gradient,
            ..
        } = &mut training;
        let report = optimizer.update(&mut self.parameters, gradient, learning_rate);
        self.training = Some(training);
        report
    }
}

/// A matrix with columns up to this many, each new one the mean of the old.
fn with_means(matrix: &Matrix, columns: usize) -> Matrix {
    let (old, rows) = (matrix.columns(), matrix.rows());
    let mut values = Vec::with_capacity(rows * columns);
    for row in matrix.to_vec().chunks(old) {
        let sum: f64 = row.iter().map(|&value| f64::from(value)).sum();
        values.extend_from_slice(row);
        values.resize(values.len() + columns - old, (sum / old as f64) as f32);
    }
    matrix.device().matrix(rows, columns, values)
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
