//! Buffers of the passes, planned once and reused: they grow to the largest batch and stay.

use kernel::Matrix;
use kernel::attention::{self, Heads, Layout, Rule};

use super::parameters::Layer;
use super::{AdapterPass, Parameters};

/// What one layer keeps for its backward pass. Norms and the gated product are rebuilt there from
/// these, which costs little and saves `n · (2d + f)` values a layer.
#[derive(Debug)]
pub(crate) struct Activations {
    pub(crate) input_nd: Matrix,
    pub(crate) attention_inverse_rms_n1: Matrix,
    pub(crate) head_norms: Option<HeadNorms>,
    /// Queries, keys and values after head norms and rotation.
    pub(crate) qkv_nc: Matrix,
    pub(crate) attended_nq: Matrix,
    pub(crate) log_sum_exp_nh: Matrix,
    pub(crate) middle_nd: Matrix,
    pub(crate) mlp_inverse_rms_n1: Matrix,
    pub(crate) gate_up_n2f: Matrix,
    pub(crate) attention_post: Option<PostNorm>,
    pub(crate) mlp_post: Option<PostNorm>,
}

/// What a norm behind attention or behind the MLP keeps.
#[derive(Debug)]
pub(crate) struct PostNorm {
    pub(crate) input_nd: Matrix,
    pub(crate) inverse_rms_n1: Matrix,
}

/// What the norms of query and key heads keep.
#[derive(Debug)]
pub(crate) struct HeadNorms {
    /// Queries, keys and values before the norms.
    pub(crate) raw_nc: Matrix,
    pub(crate) query_inverse_rms_nh: Matrix,
    pub(crate) key_inverse_rms_nh: Matrix,
}

impl Activations {
    pub(crate) fn new(parameters: &Parameters, heads: &Heads) -> Self {
        let device = parameters.norm_1d.device();
        let (width, inner) = (parameters.norm_1d.columns(), parameters.inner());
        let buffer = |columns| device.zeros(0, columns);
        let normed = parameters
            .layers
            .iter()
            .any(|layer| layer.query_norm_1h.is_some());
        let post = |normed: fn(&Layer) -> bool| {
            parameters.layers.iter().any(normed).then(|| PostNorm {
                input_nd: buffer(width),
                inverse_rms_n1: buffer(1),
            })
        };
        Self {
            input_nd: buffer(width),
            attention_inverse_rms_n1: buffer(1),
            head_norms: normed.then(|| HeadNorms {
                raw_nc: buffer(heads.columns()),
                query_inverse_rms_nh: buffer(heads.query),
                key_inverse_rms_nh: buffer(heads.key_value),
            }),
            qkv_nc: buffer(heads.columns()),
            attended_nq: buffer(heads.query_columns()),
            log_sum_exp_nh: buffer(heads.query),
            middle_nd: buffer(width),
            mlp_inverse_rms_n1: buffer(1),
            gate_up_n2f: buffer(2 * inner),
            attention_post: post(|layer| layer.attention_post_norm_1d.is_some()),
            mlp_post: post(|layer| layer.mlp_post_norm_1d.is_some()),
        }
    }

    /// Attention of the present queries, keys and values over a tree of segments.
    pub(crate) fn attend(&mut self, layout: &Layout, heads: &Heads, rule: &Rule) {
        let (out_nq, log_sum_exp_nh) = (&mut self.attended_nq, &mut self.log_sum_exp_nh);
        attention::forward(layout, heads, rule, &self.qkv_nc, out_nq, log_sum_exp_nh);
    }

    pub(crate) fn resize(&mut self, rows: usize) {
        self.matrices_mut()
            .for_each(|matrix| matrix.resize_rows(rows));
    }

    /// All there are, each with a row a token.
    pub(crate) fn matrices_mut(&mut self) -> impl Iterator<Item = &mut Matrix> {
        let norms = self.head_norms.iter_mut().flat_map(|norms| {
            [
                &mut norms.raw_nc,
                &mut norms.query_inverse_rms_nh,
                &mut norms.key_inverse_rms_nh,
            ]
        });
        let posts = [&mut self.attention_post, &mut self.mlp_post];
        let posts = posts.into_iter().flatten();
        let posts = posts.flat_map(|post| [&mut post.input_nd, &mut post.inverse_rms_n1]);
        let own = [
            &mut self.input_nd,
            &mut self.attention_inverse_rms_n1,
            &mut self.qkv_nc,
            &mut self.attended_nq,
            &mut self.log_sum_exp_nh,
            &mut self.middle_nd,
            &mut self.mlp_inverse_rms_n1,
            &mut self.gate_up_n2f,
        ];
        own.into_iter().chain(norms).chain(posts)
    }
}

/// Intermediate values that no backward pass reads from here.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) normed_nd: Matrix,
    pub(crate) gated_nf: Matrix,
    pub(crate) inverse_rms_n1: Matrix,
    pub(crate) adapters: AdapterPass,
}

impl Scratch {
    pub(crate) fn new(parameters: &Parameters) -> Self {
        let device = parameters.norm_1d.device();
        Self {
            normed_nd: device.zeros(0, parameters.norm_1d.columns()),
            gated_nf: device.zeros(0, parameters.inner()),
            inverse_rms_n1: device.zeros(0, 1),
            adapters: AdapterPass::new(device, parameters.rank()),
        }
    }

    pub(crate) fn resize(&mut self, rows: usize) {
        self.normed_nd.resize_rows(rows);
        self.inverse_rms_n1.resize_rows(rows);
        self.gated_nf.resize_rows(rows);
    }
}

/// Gradients in the activations, shared by all layers of a backward pass.
#[derive(Debug)]
pub(crate) struct Gradients {
    /// Gradient in the final hidden states; given.
    pub(crate) hidden_nd: Matrix,
    /// Gradient in the residual stream; each layer turns that of its output into that of its input.
    pub(crate) stream_nd: Matrix,
    /// Gradient in what attention or the MLP gave, used where that is normed.
    pub(crate) part_nd: Matrix,
    pub(crate) normed_nd: Matrix,
    pub(crate) gated_nf: Matrix,
    pub(crate) attended_nq: Matrix,
    pub(crate) qkv_nc: Matrix,
    /// A second copy of the fused gradient, used where heads are normed.
    pub(crate) raw_nc: Matrix,
}

impl Gradients {
    pub(crate) fn new(parameters: &Parameters, heads: &Heads) -> Self {
        let device = parameters.norm_1d.device();
        let (width, inner) = (parameters.norm_1d.columns(), parameters.inner());
        Self {
            hidden_nd: device.zeros(0, width),
            stream_nd: device.zeros(0, width),
            part_nd: device.zeros(0, width),
            normed_nd: device.zeros(0, width),
            gated_nf: device.zeros(0, inner),
            attended_nq: device.zeros(0, heads.query_columns()),
            qkv_nc: device.zeros(0, heads.columns()),
            raw_nc: device.zeros(0, heads.columns()),
        }
    }

    /// All that every layer uses.
    pub(crate) fn resize(&mut self, rows: usize) {
        for matrix in [
            &mut self.hidden_nd,
            &mut self.stream_nd,
            &mut self.normed_nd,
            &mut self.gated_nf,
            &mut self.attended_nq,
            &mut self.qkv_nc,
        ] {
            matrix.resize_rows(rows);
        }
    }
}
