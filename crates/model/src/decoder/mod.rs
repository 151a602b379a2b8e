//! The decoder itself: parameters in device memory, its layers forward and backward.
//!
//! Legend: `n` packed tokens, `m` scored tokens, `r` rows, `d` hidden width, `c` fused
//! query|key|value columns, `q` query columns, `f` width inside the gated MLP, `v` vocabulary.
//! Every matrix is stored `[in, out]`, so activations multiply it from the left.

mod activations;
mod adapter;
mod copied;
mod layer;
mod names;
mod packing;
mod parameters;
mod projection;
mod trace;

use kernel::attention::{Heads, Rule};
use kernel::glu::Gate;
use kernel::{Device, Matrix, Mode, Norm, embedding, linear, rms_norm, rope, scale, softcap};

use self::parameters::Layer;
use crate::Config;
use crate::config::{LayerKind, Rotation};

pub(crate) use activations::{Activations, Gradients, Scratch};
pub(crate) use adapter::{Adapter, AdapterPass, Dropout, Selection};
pub(crate) use copied::{Copied, CopyKind};
pub(crate) use layer::Attend;
pub(crate) use names::{Part, Place, Tensor, tensors};
pub(crate) use packing::Packing;
pub(crate) use parameters::Parameters;
pub(crate) use projection::Projection;
pub(crate) use trace::Trace;

/// The parts of a decoder that no training changes.
#[derive(Debug)]
pub(crate) struct Decoder {
    pub(crate) heads: Heads,
    pub(crate) layers: Vec<LayerFacts>,
    /// What caps the logits softly.
    pub(crate) logit_softcap: Option<f32>,
    norm: Norm,
    gate: Gate,
    embedding_scale: Option<f32>,
    rotations: Vec<rope::Table>,
}

/// What a pass through all layers reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weights<'a> {
    pub(crate) embedding_dv: &'a Matrix,
    pub(crate) layers: &'a [Layer],
    pub(crate) norm_1d: &'a Matrix,
}

/// How a layer attends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerFacts {
    pub(crate) rule: Rule,
    /// Which table queries and keys turn by, if they do.
    rotation: Option<usize>,
}

/// What is read in a pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    pub(crate) tokens_n: &'a [u32],
    /// Rows of the tables of angles.
    pub(crate) positions_n: &'a [u32],
}

/// Sees what a layer has saved once it is done; told the layer's index.
pub(crate) type Keep<'a> = dyn FnMut(usize, &mut Activations) + 'a;

impl Decoder {
    pub(crate) fn new(config: &Config, device: &Device) -> Self {
        let heads = Heads {
            query: config.query_heads,
            key_value: config.key_value_heads,
            size: config.head_size,
        };
        let narrow = |number: f64| number as f32;
        let facts = |kind: &LayerKind| LayerFacts {
            rule: Rule {
                scale: narrow(config.attention_scale),
                softcap: config.attention_softcap.map(narrow),
                // A window as long as the context hides nothing.
                window: kind.window.filter(|w| *w < config.max_position_embeddings),
            },
            rotation: kind.rotation,
        };
        let scale = config.embedding_scale;
        let table = |rotation| table(rotation, config, device);
        Self {
            heads,
            layers: config.layer_kinds.iter().map(facts).collect(),
            logit_softcap: config.logit_softcap.map(narrow),
            norm: Norm {
                epsilon: narrow(config.rms_norm_epsilon),
                offset: narrow(config.norm_offset),
            },
            gate: config.gate,
            embedding_scale: ((scale - 1.0).abs() > f64::EPSILON).then_some(narrow(scale)),
            rotations: config.rotations.iter().map(table).collect(),
        }
    }

    /// The logits of hidden states, `[rows, vocabulary]`.
    pub(crate) fn logits(
        &self,
        parameters: &Parameters,
        hidden_rd: &Matrix,
        logits_rv: &mut Matrix,
    ) {
        linear::forward(hidden_rd, parameters.head(), None, logits_rv, Mode::Write);
        self.cap(logits_rv);
    }

    /// The logits of hidden states by a copy of the head.
    pub(crate) fn copied_logits(
        &self,
        copied: &Copied,
        hidden_rd: &Matrix,
        logits_rv: &mut Matrix,
    ) {
        copied.logits(hidden_rd, logits_rv);
        self.cap(logits_rv);
    }

    fn cap(&self, logits_rv: &mut Matrix) {
        if let Some(cap) = self.logit_softcap {
            softcap::apply(logits_rv, cap);
        }
    }

    /// Runs all layers over packed tokens and fills the trace; `attend` and `keep` are told the
    /// layer.
    ///
    /// With a trace of one layer, each layer overwrites the one before it.
    pub(crate) fn forward(
        &self,
        weights: Weights,
        input: Input,
        trace: &mut Trace,
        scratch: &mut Scratch,
        attend: &mut Attend,
        keep: &mut Keep,
    ) {
        let Input {
            tokens_n,
            positions_n,
        } = input;
        let rows = tokens_n.len();
        trace.output_nd.resize_rows(rows);
        trace.inverse_rms_n1.resize_rows(rows);
        trace.hidden_nd.resize_rows(rows);
        scratch.resize(rows);
        embedding::forward(weights.embedding_dv, tokens_n, &mut trace.output_nd);
        if let Some(by) = self.embedding_scale {
            scale::by(&mut trace.output_nd, by);
        }
        let kept = trace.layers.len();
        for (index, layer) in weights.layers.iter().enumerate() {
            let saved = &mut trace.layers[index % kept];
            saved.resize(rows);
            let mut attend = |saved: &mut Activations| attend(index, saved);
            self.layer_forward(
                (self.layers[index], layer),
                positions_n,
                &mut trace.output_nd,
                saved,
                scratch,
                &mut attend,
            );
            keep(index, saved);
            if let Some(input_nd) = trace.inputs_nd.get_mut(index) {
                std::mem::swap(input_nd, &mut saved.input_nd);
            }
        }
        rms_norm::forward(
            &trace.output_nd,
            weights.norm_1d,
            self.norm,
            &mut trace.hidden_nd,
            &mut trace.inverse_rms_n1,
        );
    }

    /// Adds the gradients of what is trained but the head's, given that in the hidden states
    /// (`gradients.hidden_nd`).
    pub(crate) fn backward(
        &self,
        parameters: &Parameters,
        packing: &Packing,
        trace: &mut Trace,
        scratch: &mut Scratch,
        gradients: &mut Gradients,
        total: &mut Parameters,
    ) {
        gradients.stream_nd.fill(0.0);
        rms_norm::backward(
            &trace.output_nd,
            &parameters.norm_1d,
            self.norm,
            &trace.inverse_rms_n1,
            &gradients.hidden_nd,
            &mut gradients.stream_nd,
            &mut total.norm_1d,
        );
        let kept = trace.layers.len();
        for index in (0..parameters.layers.len()).rev() {
            let saved = &mut trace.layers[index % kept];
            let layer = (self.layers[index], &parameters.layers[index]);
            if let Some(input_nd) = trace.inputs_nd.get_mut(index) {
                self.compute_again(layer, packing, input_nd, saved, scratch);
            }
            self.layer_backward(
                layer,
                packing,
                saved,
                scratch,
                gradients,
                &mut total.layers[index],
            );
        }
        if let Some(by) = self.embedding_scale {
            scale::by(&mut gradients.stream_nd, by);
        }
        if total.embedding_dv.rows() > 0 {
            let (tokens_n, stream_nd) = (&packing.tokens_n, &gradients.stream_nd);
            embedding::backward(tokens_n, stream_nd, &mut total.embedding_dv);
        }
    }

    /// Fills what a layer saves, from its input, which is lost.
    fn compute_again(
        &self,
        (facts, layer): (LayerFacts, &Layer),
        packing: &Packing,
        input_nd: &mut Matrix,
        saved: &mut Activations,
        scratch: &mut Scratch,
    ) {
        let mut attend = |saved: &mut Activations| {
            saved.attend(&packing.layout, &self.heads, &facts.rule);
        };
        let positions_n = &packing.positions_n;
        saved.resize(input_nd.rows());
        self.layer_forward(
            (facts, layer),
            positions_n,
            input_nd,
            saved,
            scratch,
            &mut attend,
        );
    }
}

/// The angles of every position; where sequences beyond a length turn by other factors, their
/// positions come after those of sequences up to it.
fn table(rotation: &Rotation, config: &Config, device: &Device) -> rope::Table {
    let scale = rotation.attention_scale();
    let of = |long, positions| {
        let frequencies = rotation.inverse_frequencies(long);
        rope::Table::new(device, config.head_size, &frequencies, scale, positions)
    };
    let all = config.max_position_embeddings;
    match rotation.changes_at() {
        None => of(false, all),
        Some(limit) => of(false, limit).followed_by(&of(true, all)),
    }
}
