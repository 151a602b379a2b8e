//! The parameters of a decoder; gradients and optimiser moments have the same shape.

use kernel::{Device, Matrix, norm};

use super::Weights;
use super::adapter::Adapter;
use super::copied::CopyKind;
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
    pub(crate) attention_post_norm_1d: Option<Matrix>,
    pub(crate) mlp_norm_1d: Matrix,
    pub(crate) mlp_post_norm_1d: Option<Matrix>,
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
            let post = config.post_norms;
            layers.push(Layer {
                attention_post_norm_1d: some(post, Part::AttentionPostNorm)?,
                mlp_post_norm_1d: some(post, Part::MlpPostNorm)?,
                query_norm_1h: some(config.qk_norm, Part::QueryNorm)?,
                key_norm_1h: some(config.qk_norm, Part::KeyNorm)?,
                attention_norm_1d: part(Part::AttentionNorm)?,
                qkv: Projection::new(part(Part::Qkv)?, qkv_bias),
                output: Projection::new(part(Part::Output)?, output_bias),
                mlp_norm_1d: part(Part::MlpNorm)?,
                gate_up: Projection::new(part(Part::GateUp)?, None),
                down: Projection::new(part(Part::Down)?, None),
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

    /// Whether adapters stand beside the weights, which are then frozen.
    pub(crate) fn is_adapted(&self) -> bool {
        self.rank() > 0
    }

    /// The rank of the adapters; 0 where there are none.
    pub(crate) fn rank(&self) -> usize {
        self.adapters()
            .next()
            .map_or(0, |adapter| adapter.up_ko.rows())
    }

    /// Zeros for the gradient of what is trained. Frozen matrices of several rows have none there;
    /// those of one row, which cost nothing, are gathered and never followed.
    pub(crate) fn gradient(&self) -> Self {
        let frozen = self.is_adapted();
        let zeros = |matrix: &Matrix| {
            let (rows, columns) = (matrix.rows(), matrix.columns());
            let rows = if frozen && rows > 1 { 0 } else { rows };
            matrix.device().zeros(rows, columns)
        };
        Self {
            embedding_dv: zeros(&self.embedding_dv),
            layers: self
                .layers
                .iter()
                .map(|layer| layer.gradient(&zeros))
                .collect(),
            norm_1d: zeros(&self.norm_1d),
            head_dv: self.head_dv.as_ref().map(zeros),
        }
    }

    /// What a pass through all layers reads.
    pub(crate) fn weights(&self) -> Weights<'_> {
        Weights {
            embedding_dv: &self.embedding_dv,
            layers: &self.layers,
            norm_1d: &self.norm_1d,
        }
    }

    /// The matrix that turns hidden states into logits.
    pub(crate) fn head(&self) -> &Matrix {
        self.head_dv.as_ref().unwrap_or(&self.embedding_dv)
    }

    /// Of a gradient: the head's part, nothing where the head is frozen.
    pub(crate) fn learnt_head(&mut self) -> Option<&mut Matrix> {
        let head = self.head_dv.as_mut().unwrap_or(&mut self.embedding_dv);
        (head.rows() > 0).then_some(head)
    }

    /// Keeps a copy of the adapters as the reference's, and none of adapters that do nothing yet.
    pub(crate) fn keep_adapters(&mut self) {
        for projection in self.layers.iter_mut().flat_map(Layer::projections_mut) {
            let at_work = projection.adapters.iter();
            let at_work = at_work.filter(|adapter| norm::squared(&adapter.up_ko) > 0.0);
            projection.reference = at_work.cloned().collect();
        }
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

    /// What is trained, always in the same order: the adapters, or else every matrix.
    pub(crate) fn trained_mut(&mut self) -> Vec<&mut Matrix> {
        if !self.is_adapted() {
            return self.weights_mut();
        }
        let layers = self.layers.iter_mut().flat_map(Layer::projections_mut);
        let adapters = layers.flat_map(|projection| &mut projection.adapters);
        adapters
            .flat_map(|adapter| [&mut adapter.down_ik, &mut adapter.up_ko])
            .collect()
    }

    /// The adapters, in the order of [`trained_mut`](Self::trained_mut).
    pub(crate) fn adapters(&self) -> impl Iterator<Item = &Adapter> {
        let projections = self.layers.iter().flat_map(Layer::projections);
        projections.flat_map(|projection| &projection.adapters)
    }

    /// Every matrix but the adapters', always in the same order.
    fn weights_mut(&mut self) -> Vec<&mut Matrix> {
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
                &mut layer.attention_post_norm_1d,
                &mut layer.mlp_post_norm_1d,
            ];
            all.extend(optional.into_iter().flatten());
        }
        all.push(&mut self.norm_1d);
        all.extend(&mut self.head_dv);
        all
    }
}

impl Layer {
    /// Every projection, always in the same order.
    pub(crate) fn projections(&self) -> [&Projection; 4] {
        [&self.qkv, &self.output, &self.gate_up, &self.down]
    }

    /// As [`projections`](Self::projections), to be changed.
    pub(crate) fn projections_mut(&mut self) -> [&mut Projection; 4] {
        let Self {
            qkv,
            output,
            gate_up,
            down,
            ..
        } = self;
        [qkv, output, gate_up, down]
    }

    /// The projection whose weight this part is.
    ///
    /// # Panics
    /// If it is the weight of none.
    pub(crate) fn projection(&self, part: Part) -> &Projection {
        match part {
            Part::Qkv => &self.qkv,
            Part::Output => &self.output,
            Part::GateUp => &self.gate_up,
            Part::Down => &self.down,
            _ => panic!("{part:?} is no weight of a projection"),
        }
    }

    /// As [`projection`](Self::projection), to be changed.
    pub(crate) fn projection_mut(&mut self, part: Part) -> &mut Projection {
        match part {
            Part::Qkv => &mut self.qkv,
            Part::Output => &mut self.output,
            Part::GateUp => &mut self.gate_up,
            Part::Down => &mut self.down,
            _ => panic!("{part:?} is no weight of a projection"),
        }
    }

    /// A copy with copies of its projections.
    pub(super) fn copied(&self, kind: CopyKind) -> Self {
        Self {
            attention_norm_1d: self.attention_norm_1d.clone(),
            qkv: self.qkv.copied(kind),
            query_norm_1h: self.query_norm_1h.clone(),
            key_norm_1h: self.key_norm_1h.clone(),
            output: self.output.copied(kind),
            attention_post_norm_1d: self.attention_post_norm_1d.clone(),
            mlp_norm_1d: self.mlp_norm_1d.clone(),
            mlp_post_norm_1d: self.mlp_post_norm_1d.clone(),
            gate_up: self.gate_up.copied(kind),
            down: self.down.copied(kind),
        }
    }

    fn gradient(&self, zeros: &impl Fn(&Matrix) -> Matrix) -> Self {
        Self {
            attention_norm_1d: zeros(&self.attention_norm_1d),
            qkv: self.qkv.gradient(zeros),
            attention_post_norm_1d: self.attention_post_norm_1d.as_ref().map(zeros),
            mlp_post_norm_1d: self.mlp_post_norm_1d.as_ref().map(zeros),
            query_norm_1h: self.query_norm_1h.as_ref().map(zeros),
            key_norm_1h: self.key_norm_1h.as_ref().map(zeros),
            output: self.output.gradient(zeros),
            mlp_norm_1d: zeros(&self.mlp_norm_1d),
            gate_up: self.gate_up.gradient(zeros),
            down: self.down.gradient(zeros),
        }
    }

    fn at(&self, part: Part) -> &Matrix {
        let optional = match part {
            Part::AttentionNorm => Some(&self.attention_norm_1d),
            Part::Qkv => Some(&self.qkv.weight_io),
            Part::QkvBias => self.qkv.bias_1o.as_ref(),
            Part::QueryNorm => self.query_norm_1h.as_ref(),
            Part::KeyNorm => self.key_norm_1h.as_ref(),
            Part::Output => Some(&self.output.weight_io),
            Part::OutputBias => self.output.bias_1o.as_ref(),
            Part::AttentionPostNorm => self.attention_post_norm_1d.as_ref(),
            Part::MlpNorm => Some(&self.mlp_norm_1d),
            Part::MlpPostNorm => self.mlp_post_norm_1d.as_ref(),
            Part::GateUp => Some(&self.gate_up.weight_io),
            Part::Down => Some(&self.down.weight_io),
        };
        optional.expect("a place that the configuration names")
    }
}
