//! The parameters of a decoder; gradients and optimiser moments have the same shape.

use kernel::{Device, Matrix};

use super::names::{Part, Place};
use super::projection::Projection;
use crate::Config;

/// Every parameter, or one value for every parameter.
#[derive(Clone, Debug)]
pub(crate) struct Parameters {
    /// Also the head's matrix, where the two are tied.
    pub(crate) embedding_dv: Matrix,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm_1d: Matrix,
    pub(crate) head_dv: Option<Matrix>,
}

/// The parameters of one layer; queries, keys and values are one matrix, gate and up another.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm_1d: Matrix,
    pub(crate) qkv: Projection,
    pub(crate) query_norm_1h: Option<Matrix>,
    pub(crate) key_norm_1h: Option<Matrix>,
    pub(crate) output: Projection,
    pub(crate) mlp_norm_1d: Matrix,
    pub(crate) gate_up: Projection,
    pub(crate) down: Projection,
}

impl Parameters {
    /// Parameters of the configured shape; `fill` gives the values of each place, row after row.
    pub(crate) fn build<E>(
        config: &Config,
        device: &Device,
        mut fill: impl FnMut(Place, usize, usize) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let mut matrix = |place: Place| {
            let (rows, columns) = place.shape(config);
            Ok(device.matrix(rows, columns, fill(place, rows, columns)?))
        };
        let mut layers = Vec::with_capacity(config.layers);
        for index in 0..config.layers {
            let mut part = |part| matrix(Place::Layer(index, part));
            let mut some = |wanted: bool, it| if wanted { part(it).map(Some) } else { Ok(None) };
            let qkv_bias = some(config.qkv_bias, Part::QkvBias)?;
            let output_bias = some(config.output_bias, Part::OutputBias)?;
            let projection = |weight_io, bias_1o| Projection { weight_io, bias_1o };
            layers.push(Layer {
                query_norm_1h: some(config.qk_norm, Part::QueryNorm)?,
                key_norm_1h: some(config.qk_norm, Part::KeyNorm)?,
                attention_norm_1d: part(Part::AttentionNorm)?,
                qkv: projection(part(Part::Qkv)?, qkv_bias),
                output: projection(part(Part::Output)?, output_bias),
                mlp_norm_1d: part(Part::MlpNorm)?,
                gate_up: projection(part(Part::GateUp)?, None),
                down: projection(part(Part::Down)?, None),
            });
        }
        Ok(Self {
            embedding_dv: matrix(Place::Embedding)?,
            layers,
            norm_1d: matrix(Place::Norm)?,
            head_dv: if config.tie_word_embeddings {
                None
            } else {
                Some(matrix(Place::Head)?)
            },
        })
    }

    /// Zeros of this shape.
    pub(crate) fn zeros_like(&self) -> Self {
        let mut zeros = self.clone();
        zeros
            .matrices_mut()
            .into_iter()
            .for_each(|matrix| matrix.fill(0.0));
        zeros
    }

    /// The matrix that turns hidden states into logits.
    pub(crate) fn head(&self) -> &Matrix {
        self.head_dv.as_ref().unwrap_or(&self.embedding_dv)
    }

    /// As [`head`](Self::head), to be changed.
    pub(crate) fn head_mut(&mut self) -> &mut Matrix {
        self.head_dv.as_mut().unwrap_or(&mut self.embedding_dv)
    }

    /// Width inside the gated MLP.
    pub(crate) fn inner(&self) -> usize {
        self.layers[0].down.weight_io.rows()
    }

    /// The matrix at a place.
    ///
    /// # Panics
    /// If the configuration has none there.
    pub(crate) fn at(&self, place: Place) -> &Matrix {
        match place {
            Place::Embedding => &self.embedding_dv,
            Place::Norm => &self.norm_1d,
            Place::Head => self.head(),
            Place::Layer(index, part) => self.layers[index].at(part),
        }
    }

    /// Every matrix, always in the same order.
    pub(crate) fn matrices_mut(&mut self) -> Vec<&mut Matrix> {
        let mut all = vec![&mut self.embedding_dv];
        for layer in &mut self.layers {
            all.extend([
                &mut layer.attention_norm_1d,
                &mut layer.qkv.weight_io,
                &mut layer.output.weight_io,
                &mut layer.mlp_norm_1d,
                &mut layer.gate_up.weight_io,
                &mut layer.down.weight_io,
            ]);
            let optional = [
                &mut layer.qkv.bias_1o,
                &mut layer.query_norm_1h,
                &mut layer.key_norm_1h,
                &mut layer.output.bias_1o,
            ];
            all.extend(optional.into_iter().flatten());
        }
        all.push(&mut self.norm_1d);
        all.extend(&mut self.head_dv);
        all
    }
}

impl Layer {
    fn at(&self, part: Part) -> &Matrix {
        let optional = match part {
            Part::AttentionNorm => Some(&self.attention_norm_1d),
            Part::Qkv => Some(&self.qkv.weight_io),
            Part::QkvBias => self.qkv.bias_1o.as_ref(),
            Part::QueryNorm => self.query_norm_1h.as_ref(),
            Part::KeyNorm => self.key_norm_1h.as_ref(),
            Part::Output => Some(&self.output.weight_io),
            Part::OutputBias => self.output.bias_1o.as_ref(),
            Part::MlpNorm => Some(&self.mlp_norm_1d),
            Part::GateUp => Some(&self.gate_up.weight_io),
            Part::Down => Some(&self.down.weight_io),
        };
        optional.expect("a place that the configuration names")
    }
}
