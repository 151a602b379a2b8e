//! What a pass through all layers leaves behind, and what the backward pass reads of it.

use kernel::{Matrix, rows};

use super::{Activations, Decoder, Parameters};

/// What the backward pass through all layers needs.
#[derive(Debug)]
pub(crate) struct Trace {
    /// Of every layer, or of the layer at work.
    pub(crate) layers: Vec<Activations>,
    /// Inputs of the layers, where the backward pass computes each layer again.
    pub(super) inputs_nd: Vec<Matrix>,
    /// Input of the last norm.
    pub(crate) output_nd: Matrix,
    pub(crate) inverse_rms_n1: Matrix,
    /// Output of the last norm: the hidden states that the head and the points read.
    pub(crate) hidden_nd: Matrix,
}

impl Decoder {
    /// A trace that no backward pass follows.
    pub(crate) fn trace(&self, parameters: &Parameters) -> Trace {
        self.trace_of(parameters, 1, 0)
    }

    /// A trace for a backward pass, which reads what every layer computed or, with
    /// `gradient_checkpointing`, computes each layer again from its input.
    ///
    /// # Source
    /// Chen et al., arXiv 1604.06174, section 4.1, with a segment a layer.
    pub(crate) fn training_trace(
        &self,
        parameters: &Parameters,
        gradient_checkpointing: bool,
    ) -> Trace {
        let layers = parameters.layers.len();
        if gradient_checkpointing {
            self.trace_of(parameters, 1, layers)
        } else {
            self.trace_of(parameters, layers, 0)
        }
    }

    fn trace_of(&self, parameters: &Parameters, layers: usize, inputs: usize) -> Trace {
        let device = parameters.norm_1d.device();
        let width = parameters.norm_1d.columns();
        Trace {
            layers: (0..layers)
                .map(|_| Activations::new(parameters, &self.heads))
                .collect(),
            inputs_nd: (0..inputs).map(|_| device.zeros(0, width)).collect(),
            output_nd: device.zeros(0, width),
            inverse_rms_n1: device.zeros(0, 1),
            hidden_nd: device.zeros(0, width),
        }
    }
}

impl Trace {
    /// Gives every matrix at least so many rows; those there are stay.
    pub(crate) fn grow(&mut self, rows: usize) {
        if self.hidden_nd.rows() < rows {
            self.matrices_mut()
                .for_each(|matrix| matrix.grow_rows(rows));
        }
    }

    /// Overwrites rows of a layer: each pair is a row of `from` and the row that takes its values.
    pub(crate) fn put_layer(
        &mut self,
        layer: usize,
        from: &mut Activations,
        pairs: &[(usize, usize)],
    ) {
        let device = self.hidden_nd.device().clone();
        let own = self.layers[layer].matrices_mut();
        let from = from.matrices_mut().map(|from| &*from);
        rows::put(&device, pairs, own.zip(from));
    }

    /// As [`Self::put_layer`], of what follows the last layer.
    pub(crate) fn put_ends(&mut self, from: &mut Trace, pairs: &[(usize, usize)]) {
        let device = self.hidden_nd.device().clone();
        let own = self.ends_mut().into_iter();
        let from = from.ends_mut().map(|from| &*from);
        rows::put(&device, pairs, own.zip(from));
    }

    /// Leaves these rows in this order.
    pub(crate) fn arrange(&mut self, rows_n: &[u32]) {
        self.matrices_mut()
            .for_each(|matrix| rows::arrange(matrix, rows_n));
    }

    /// All there are, each with a row a token.
    pub(crate) fn matrices_mut(&mut self) -> impl Iterator<Item = &mut Matrix> {
        let ends = [
            &mut self.output_nd,
            &mut self.inverse_rms_n1,
            &mut self.hidden_nd,
        ];
        let layers = self.layers.iter_mut().flat_map(Activations::matrices_mut);
        layers.chain(ends)
    }

    fn ends_mut(&mut self) -> [&mut Matrix; 3] {
        [
            &mut self.output_nd,
            &mut self.inverse_rms_n1,
            &mut self.hidden_nd,
        ]
    }
}
