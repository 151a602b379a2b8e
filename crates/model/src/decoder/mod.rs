//! The decoder itself: parameters in device memory, its layers forward and backward.
//!
//! Legend: `n` packed tokens, `m` scored tokens, `r` rows, `d` hidden width, `c` fused
//! query|key|value columns, `q` query columns, `f` width inside the gated MLP, `v` vocabulary.
//! Every matrix is stored `[in, out]`, so activations multiply it from the left.

mod activations;
mod adapter;
mod layer;
mod names;
mod packing;
mod parameters;
mod projection;

use kernel::attention::Heads;
use kernel::{Device, Matrix, embedding, rms_norm, rope};

use crate::Config;

pub(crate) use activations::{Activations, Gradients, Scratch};
pub(crate) use adapter::{Adapter, AdapterPass, Dropout, Selection};
pub(crate) use layer::Attend;
pub(crate) use names::{Part, Place, Tensor, tensors};
pub(crate) use packing::Packing;
pub(crate) use parameters::Parameters;
pub(crate) use projection::Projection;

/// The parts of a decoder that no training changes.
#[derive(Debug)]
pub(crate) struct Decoder {
    pub(crate) heads: Heads,
    pub(crate) epsilon: f32,
    rope: rope::Table,
}

/// What the backward pass through all layers needs.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) layers: Vec<Activations>,
    /// Input of the last norm.
    pub(crate) output_nd: Matrix,
    pub(crate) inverse_rms_n1: Matrix,
    /// Output of the last norm: the hidden states that the head and the points read.
    pub(crate) hidden_nd: Matrix,
}

impl Decoder {
    pub(crate) fn new(config: &Config, device: &Device) -> Self {
        let half = config.head_size / 2;
        let frequency = |i| {
            let power = (2 * i) as f32 / config.head_size as f32;
            (config.rope_theta as f32).powf(power).recip()
        };
        let frequencies: Vec<f32> = (0..half).map(frequency).collect();
        Self {
            heads: Heads {
                query: config.query_heads,
                key_value: config.key_value_heads,
                size: config.head_size,
            },
            epsilon: config.rms_norm_epsilon as f32,
            rope: rope::Table::new(device, &frequencies, 1.0, config.max_position_embeddings),
        }
    }

    /// A trace of this many layers; one layer is enough where no backward pass follows.
    pub(crate) fn trace(&self, parameters: &Parameters, layers: usize) -> Trace {
        let device = parameters.norm_1d.device();
        let width = parameters.norm_1d.columns();
        Trace {
            layers: (0..layers)
                .map(|_| Activations::new(parameters, &self.heads))
                .collect(),
            output_nd: device.zeros(0, width),
            inverse_rms_n1: device.zeros(0, 1),
            hidden_nd: device.zeros(0, width),
        }
    }

    /// Runs all layers over packed tokens and fills the trace; `attend` is told the layer.
    ///
    /// With a trace of one layer, each layer overwrites the one before it.
    pub(crate) fn forward(
        &self,
        parameters: &Parameters,
        tokens_n: &[u32],
        positions_n: &[u32],
        trace: &mut Trace,
        scratch: &mut Scratch,
        attend: &mut Attend,
    ) {
        let rows = tokens_n.len();
        trace.output_nd.resize_rows(rows);
        trace.inverse_rms_n1.resize_rows(rows);
        trace.hidden_nd.resize_rows(rows);
        scratch.resize(rows);
        embedding::forward(&parameters.embedding_dv, tokens_n, &mut trace.output_nd);
        let kept = trace.layers.len();
        for (index, layer) in parameters.layers.iter().enumerate() {
            let saved = &mut trace.layers[index % kept];
            saved.resize(rows);
            let mut attend = |saved: &mut Activations| attend(index, saved);
            self.layer_forward(
                layer,
                positions_n,
                &mut trace.output_nd,
                saved,
                scratch,
                &mut attend,
            );
        }
        rms_norm::forward(
            &trace.output_nd,
            &parameters.norm_1d,
            self.epsilon,
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
        trace: &Trace,
        scratch: &mut Scratch,
        gradients: &mut Gradients,
        total: &mut Parameters,
    ) {
        gradients.stream_nd.fill(0.0);
        rms_norm::backward(
            &trace.output_nd,
            &parameters.norm_1d,
            &trace.inverse_rms_n1,
            &gradients.hidden_nd,
            &mut gradients.stream_nd,
            &mut total.norm_1d,
        );
        for index in (0..parameters.layers.len()).rev() {
            self.layer_backward(
                &parameters.layers[index],
                packing,
                &trace.layers[index],
                scratch,
                gradients,
                &mut total.layers[index],
            );
        }
        if total.embedding_dv.rows() > 0 {
            let (tokens_n, stream_nd) = (&packing.tokens_n, &gradients.stream_nd);
            embedding::backward(tokens_n, stream_nd, &mut total.embedding_dv);
        }
    }
}
