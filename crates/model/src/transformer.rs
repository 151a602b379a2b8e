//! A decoder-only transformer as a policy.

use kernel::{Communicator, Device, Matrix};
use policy::{Batch, PolicyError};

use crate::decoder::{Activations, Decoder, Packing, Parameters, Scratch, Selection, Trace};
use crate::learning::Training;
use crate::lora::Lora;
use crate::optimizer::OptimizerOptions;
use crate::{Config, Dtype};

/// A transformer with its weights, and what training it needs.
///
/// Gradients, optimiser moments and activations are allocated when they are first needed.
#[derive(Debug)]
pub struct Transformer {
    pub(crate) config: Config,
    pub(crate) decoder: Decoder,
    pub(crate) parameters: Parameters,
    pub(crate) reference: Option<Reference>,
    pub(crate) lora: Option<Lora>,
    /// In which type completions are drawn.
    pub(crate) sampling_dtype: Dtype,
    pub(crate) gradient_checkpointing: bool,
    pub(crate) optimizer_options: OptimizerOptions,
    pub(crate) training: Option<Training>,
    /// To the cards of other ranks, where gradients are added up from card to card.
    pub(crate) communicator: Option<Communicator>,
}

/// Where the reference policy's weights are.
#[derive(Debug)]
pub(crate) enum Reference {
    /// A copy of all.
    Weights(Box<Parameters>),
    /// Beside the adapters: the frozen weights, and a copy of the adapters that training began
    /// with, which is empty where they did nothing yet.
    Adapters,
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

    pub(crate) fn check_batch(&self, batch: &Batch) -> Result<(), PolicyError> {
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
    pub(crate) fn forward_tree(
        &self,
        parameters: &Parameters,
        packing: &Packing,
        trace: &mut Trace,
        scratch: &mut Scratch,
    ) {
        let (layout, heads) = (&packing.layout, &self.heads);
        let attend = &mut |layer: usize, saved: &mut Activations| {
            saved.attend(layout, heads, &self.layers[layer].rule);
        };
        let (weights, input) = (parameters.weights(), packing.input());
        self.forward(weights, input, trace, scratch, attend, &mut |_, _| {});
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
