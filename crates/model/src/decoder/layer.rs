//! One decoder layer: attention and gated MLP, each behind a norm and added to the stream; in some
//! families each is normed once more before it is added.

use kernel::attention::{self, Heads};
use kernel::glu;
use kernel::rope::Direction;
use kernel::{Matrix, Mode, add, head_norm, rms_norm, rope};

use super::activations::PostNorm;
use super::parameters::Layer;
use super::projection::Projection;
use super::{Activations, AdapterPass, Decoder, Gradients, LayerFacts, Packing, Scratch};

/// Fills `attended` and `log_sum_exp` of a layer from its `qkv`; told the layer's index.
pub(crate) type Attend<'a> = dyn FnMut(usize, &mut Activations) + 'a;

impl Decoder {
    /// Turns the residual stream from the layer's input into its output.
    pub(super) fn layer_forward(
        &self,
        (facts, layer): (LayerFacts, &Layer),
        positions_n: &[u32],
        stream_nd: &mut Matrix,
        saved: &mut Activations,
        scratch: &mut Scratch,
        attend: &mut dyn FnMut(&mut Activations),
    ) {
        saved.input_nd.copy_from(stream_nd);
        rms_norm::forward(
            stream_nd,
            &layer.attention_norm_1d,
            self.norm,
            &mut scratch.normed_nd,
            &mut saved.attention_inverse_rms_n1,
        );
        layer.qkv.forward(
            &scratch.normed_nd,
            &mut saved.qkv_nc,
            Mode::Write,
            &mut scratch.adapters,
        );
        self.norm_heads(layer, saved);
        self.turn(facts, positions_n, &mut saved.qkv_nc, Direction::Forward);
        attend(saved);
        let weight = layer.attention_post_norm_1d.as_ref();
        let post = weight.zip(saved.attention_post.as_mut());
        let used = (&mut scratch.normed_nd, &mut scratch.adapters);
        self.join(&layer.output, post, &saved.attended_nq, used, stream_nd);

        saved.middle_nd.copy_from(stream_nd);
        rms_norm::forward(
            stream_nd,
            &layer.mlp_norm_1d,
            self.norm,
            &mut scratch.normed_nd,
            &mut saved.mlp_inverse_rms_n1,
        );
        let gate_up = &mut saved.gate_up_n2f;
        layer.gate_up.forward(
            &scratch.normed_nd,
            gate_up,
            Mode::Write,
            &mut scratch.adapters,
        );
        glu::forward(self.gate, gate_up, &mut scratch.gated_nf);
        let weight = layer.mlp_post_norm_1d.as_ref();
        let post = weight.zip(saved.mlp_post.as_mut());
        let Scratch {
            gated_nf,
            normed_nd,
            adapters,
            ..
        } = scratch;
        self.join(
            &layer.down,
            post,
            gated_nf,
            (normed_nd, adapters),
            stream_nd,
        );
    }

    /// Turns queries and keys by their positions, or gradients in them back, where the layer does.
    fn turn(
        &self,
        facts: LayerFacts,
        positions_n: &[u32],
        qkv_nc: &mut Matrix,
        direction: Direction,
    ) {
        if let Some(index) = facts.rotation {
            let (table, turned) = (&self.rotations[index], rotated_columns(&self.heads));
            rope::rotate(table, positions_n, qkv_nc, turned, direction);
        }
    }

    /// Adds a map's output to the stream, normed first where there is a weight for that.
    fn join(
        &self,
        map: &Projection,
        post: Option<(&Matrix, &mut PostNorm)>,
        input_ni: &Matrix,
        (normed_nd, adapters): (&mut Matrix, &mut AdapterPass),
        stream_nd: &mut Matrix,
    ) {
        let Some((weight, saved)) = post else {
            return map.forward(input_ni, stream_nd, Mode::Add, adapters);
        };
        map.forward(input_ni, &mut saved.input_nd, Mode::Write, adapters);
        let inverse_rms = &mut saved.inverse_rms_n1;
        rms_norm::forward(&saved.input_nd, weight, self.norm, normed_nd, inverse_rms);
        add::into(normed_nd, stream_nd);
    }

    /// The gradient in a map's output, from that in the stream which it joined.
    fn part<'a>(
        &self,
        post: Option<((&Matrix, &PostNorm), &mut Matrix)>,
        grad_stream_nd: &'a Matrix,
        grad_part_nd: &'a mut Matrix,
    ) -> &'a Matrix {
        let Some(((weight, saved), total)) = post else {
            return grad_stream_nd;
        };
        grad_part_nd.resize_rows(grad_stream_nd.rows());
        grad_part_nd.fill(0.0);
        let (input, inverse_rms) = (&saved.input_nd, &saved.inverse_rms_n1);
        let norm = self.norm;
        rms_norm::backward(
            input,
            weight,
            norm,
            inverse_rms,
            grad_stream_nd,
            grad_part_nd,
            total,
        );
        grad_part_nd
    }

    fn norm_heads(&self, layer: &Layer, saved: &mut Activations) {
        let (Some(norms), Some(query_norm), Some(key_norm)) = (
            &mut saved.head_norms,
            &layer.query_norm_1h,
            &layer.key_norm_1h,
        ) else {
            return;
        };
        norms.raw_nc.copy_from(&saved.qkv_nc);
        let (queries, keys) = (0..self.heads.query_columns(), key_columns(&self.heads));
        let raw = &norms.raw_nc;
        for (columns, weight, inverse_rms) in [
            (queries, query_norm, &mut norms.query_inverse_rms_nh),
            (keys, key_norm, &mut norms.key_inverse_rms_nh),
        ] {
            let out = &mut saved.qkv_nc;
            head_norm::forward(raw, columns, weight, self.norm, out, inverse_rms);
        }
    }

    /// Turns the gradient in the stream from the layer's output into that in its input, and adds
    /// the gradients of the layer's parameters. What the layer saved is lost.
    pub(super) fn layer_backward(
        &self,
        (facts, layer): (LayerFacts, &Layer),
        packing: &Packing,
        saved: &mut Activations,
        scratch: &mut Scratch,
        grad: &mut Gradients,
        total: &mut Layer,
    ) {
        self.mlp_backward(layer, saved, scratch, grad, total);
        let weight = layer.attention_post_norm_1d.as_ref();
        let post = weight.zip(saved.attention_post.as_ref());
        let post = post.zip(total.attention_post_norm_1d.as_mut());
        let given = self.part(post, &grad.stream_nd, &mut grad.part_nd);
        layer.output.backward(
            &saved.attended_nq,
            given,
            &mut grad.attended_nq,
            &mut scratch.adapters,
            &mut total.output,
        );
        attention::backward(
            &packing.layout,
            &self.heads,
            &facts.rule,
            &saved.qkv_nc,
            &saved.attended_nq,
            &saved.log_sum_exp_nh,
            &grad.attended_nq,
            &mut grad.qkv_nc,
        );
        let positions_n = &packing.positions_n;
        self.turn(facts, positions_n, &mut grad.qkv_nc, Direction::Backward);
        self.norm_heads_backward(layer, saved, grad, total);

        self.rebuild_norm(&saved.input_nd, &layer.attention_norm_1d, scratch);
        layer.qkv.backward(
            &scratch.normed_nd,
            &grad.qkv_nc,
            &mut grad.normed_nd,
            &mut scratch.adapters,
            &mut total.qkv,
        );
        rms_norm::backward(
            &saved.input_nd,
            &layer.attention_norm_1d,
            self.norm,
            &saved.attention_inverse_rms_n1,
            &grad.normed_nd,
            &mut grad.stream_nd,
            &mut total.attention_norm_1d,
        );
    }

    fn mlp_backward(
        &self,
        layer: &Layer,
        saved: &mut Activations,
        scratch: &mut Scratch,
        grad: &mut Gradients,
        total: &mut Layer,
    ) {
        glu::forward(self.gate, &saved.gate_up_n2f, &mut scratch.gated_nf);
        let weight = layer.mlp_post_norm_1d.as_ref();
        let post = weight.zip(saved.mlp_post.as_ref());
        let post = post.zip(total.mlp_post_norm_1d.as_mut());
        let given = self.part(post, &grad.stream_nd, &mut grad.part_nd);
        layer.down.backward(
            &scratch.gated_nf,
            given,
            &mut grad.gated_nf,
            &mut scratch.adapters,
            &mut total.down,
        );
        let gate_up = &mut saved.gate_up_n2f;
        glu::backward(self.gate, gate_up, &grad.gated_nf);

        self.rebuild_norm(&saved.middle_nd, &layer.mlp_norm_1d, scratch);
        layer.gate_up.backward(
            &scratch.normed_nd,
            gate_up,
            &mut grad.normed_nd,
            &mut scratch.adapters,
            &mut total.gate_up,
        );
        rms_norm::backward(
            &saved.middle_nd,
            &layer.mlp_norm_1d,
            self.norm,
            &saved.mlp_inverse_rms_n1,
            &grad.normed_nd,
            &mut grad.stream_nd,
            &mut total.mlp_norm_1d,
        );
    }

    /// Norms of query and key heads, backwards: `grad.qkv_nc` becomes the gradient before them.
    fn norm_heads_backward(
        &self,
        layer: &Layer,
        saved: &Activations,
        grad: &mut Gradients,
        total: &mut Layer,
    ) {
        let (Some(norms), Some(query_norm), Some(key_norm)) =
            (&saved.head_norms, &layer.query_norm_1h, &layer.key_norm_1h)
        else {
            return;
        };
        grad.raw_nc.resize_rows(grad.qkv_nc.rows());
        grad.raw_nc.copy_from(&grad.qkv_nc);
        let (queries, keys) = (0..self.heads.query_columns(), key_columns(&self.heads));
        for (columns, weight, inverse_rms, total) in [
            (
                queries,
                query_norm,
                &norms.query_inverse_rms_nh,
                &mut total.query_norm_1h,
            ),
            (
                keys,
                key_norm,
                &norms.key_inverse_rms_nh,
                &mut total.key_norm_1h,
            ),
        ] {
            let total = total
                .as_mut()
                .expect("gradients have the shape of their parameters");
            let (raw, out) = (&norms.raw_nc, &mut grad.qkv_nc);
            let (norm, given) = (self.norm, &grad.raw_nc);
            head_norm::backward(raw, columns, weight, norm, inverse_rms, given, out, total);
        }
    }

    /// The normed input of a product, computed again into the scratch.
    fn rebuild_norm(&self, input_nd: &Matrix, weight_1d: &Matrix, scratch: &mut Scratch) {
        let Scratch {
            normed_nd,
            inverse_rms_n1,
            ..
        } = scratch;
        rms_norm::forward(input_nd, weight_1d, self.norm, normed_nd, inverse_rms_n1);
    }
}

fn key_columns(heads: &Heads) -> std::ops::Range<usize> {
    heads.query_columns()..rotated_columns(heads).end
}

/// Queries and keys stand side by side and turn together.
fn rotated_columns(heads: &Heads) -> std::ops::Range<usize> {
    0..(heads.query + heads.key_value) * heads.size
}
