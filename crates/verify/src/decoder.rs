//! The forward pass of a small Llama, slow and plain, in `f64`.
//!
//! It shares nothing with the engine: no packing (each row is computed with a prefix of its own),
//! no
//! fused matrices, no chunks, no cache. Axes: `n` tokens of a sequence, `d` width, `h` width of a
//! head, `f` width inside the MLP, `v` vocabulary.

use std::collections::HashMap;
use std::ops::Range;

use policy::{Batch, Row, Signals};

/// The sizes and constants of a decoder of the Llama family with a tied embedding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecoderShape {
    /// Width of the residual stream; the heads divide it.
    pub width: usize,
    /// Layers.
    pub layers: usize,
    /// Heads of the query.
    pub query_heads: usize,
    /// Heads of key and value.
    pub key_value_heads: usize,
    /// Width inside the MLP.
    pub inner: usize,
    /// The longest sequence.
    pub context: usize,
    /// Added to the mean square inside a norm.
    pub rms_norm_epsilon: f64,
    /// Base of the rotation angles.
    pub rope_theta: f64,
}

/// Where each tensor is in a vector of parameters.
#[derive(Clone, Debug)]
pub struct Decoder {
    shape: DecoderShape,
    tensors: HashMap<String, Range<usize>>,
}

impl Decoder {
    /// A decoder of parameters that hold these tensors one after the other, by Hugging Face's
    /// names; a matrix is `[out, in]`.
    pub fn new(shape: DecoderShape, tensors: &[(String, Vec<usize>)]) -> Self {
        let mut end = 0;
        let place = |(name, shape): &(String, Vec<usize>)| {
            let start = end;
            end += shape.iter().product::<usize>();
            (name.clone(), start..end)
        };
        Self {
            shape,
            tensors: tensors.iter().map(place).collect(),
        }
    }

    /// The signals of a batch under some parameters.
    ///
    /// # Panics
    /// If a tensor is missing, or a token is outside the vocabulary.
    pub fn signals(&self, parameters: &[f64], batch: &Batch) -> Signals {
        let mut signals = Signals::default();
        for row in &batch.rows {
            let prefix = &batch.prefixes[row.prefix];
            let read = &row.tokens_t[..row.tokens_t.len() - 1];
            let hidden_nd = self.hidden(parameters, &[prefix, read].concat());
            let predictors = &hidden_nd[prefix.len() - 1..];
            let logprob = |(hidden_d, &token): (&Vec<f64>, &u32)| {
                self.logprob(parameters, hidden_d, token as usize, batch.temperature)
            };
            let logprobs_t = predictors.iter().zip(&row.tokens_t).map(logprob).collect();
            signals.logprobs_nt.push(logprobs_t);
            signals
                .points_nd
                .push(point(row, &hidden_nd[prefix.len()..]));
        }
        signals
    }

    fn tensor<'p>(&self, parameters: &'p [f64], name: &str) -> &'p [f64] {
        let range = self.tensors.get(name);
        let range = range.unwrap_or_else(|| panic!("a decoder has the tensor {name}"));
        &parameters[range.clone()]
    }

    /// Final hidden states, after the last norm.
    fn hidden(&self, parameters: &[f64], tokens_n: &[u32]) -> Vec<Vec<f64>> {
        let DecoderShape { width, .. } = self.shape;
        let embedding = self.tensor(parameters, "model.embed_tokens.weight");
        let embed = |&token: &u32| embedding[token as usize * width..][..width].to_vec();
        let mut stream_nd: Vec<Vec<f64>> = tokens_n.iter().map(embed).collect();
        for layer in 0..self.shape.layers {
            let weight = |name: &str| {
                self.tensor(parameters, &format!("model.layers.{layer}.{name}.weight"))
            };
            self.attend(&weight, &mut stream_nd);
            self.mlp(&weight, &mut stream_nd);
        }
        let weight = self.tensor(parameters, "model.norm.weight");
        stream_nd.iter().map(|x| self.norm(x, weight)).collect()
    }

    fn attend<'p>(&self, weight: &dyn Fn(&str) -> &'p [f64], stream_nd: &mut [Vec<f64>]) {
        let DecoderShape {
            width,
            query_heads,
            key_value_heads,
            ..
        } = self.shape;
        let size = width / query_heads;
        let normed = |x: &Vec<f64>| self.norm(x, weight("input_layernorm"));
        let input_nd: Vec<Vec<f64>> = stream_nd.iter().map(normed).collect();
        let project = |name: &str, turned: bool| -> Vec<Vec<f64>> {
            let of = |(n, x): (usize, &Vec<f64>)| {
                let mut y = product(weight(name), x);
                if turned {
                    y.chunks_mut(size).for_each(|head_h| self.turn(head_h, n));
                }
                y
            };
            input_nd.iter().enumerate().map(of).collect()
        };
        let query = project("self_attn.q_proj", true);
        let key = project("self_attn.k_proj", true);
        let value = project("self_attn.v_proj", false);
        for (n, stream_d) in stream_nd.iter_mut().enumerate() {
            let mut attended = vec![0.0; width];
            for head in 0..query_heads {
                let own = head * size..(head + 1) * size;
                let shared = head / (query_heads / key_value_heads);
                let shared = shared * size..(shared + 1) * size;
                let score = |m: usize| {
                    math::dot(&query[n][own.clone()], &key[m][shared.clone()])
                        / (size as f64).sqrt()
                };
                let shares = math::softmax(&(0..=n).map(score).collect::<Vec<_>>());
                for (m, share) in shares.into_iter().enumerate() {
                    let target = attended[own.clone()].iter_mut();
                    target
                        .zip(&value[m][shared.clone()])
                        .for_each(|(a, v)| *a += share * v);
                }
            }
            add(stream_d, &product(weight("self_attn.o_proj"), &attended));
        }
    }

    fn mlp<'p>(&self, weight: &dyn Fn(&str) -> &'p [f64], stream_nd: &mut [Vec<f64>]) {
        for stream_d in stream_nd {
            let input_d = self.norm(stream_d, weight("post_attention_layernorm"));
            let gate_f = product(weight("mlp.gate_proj"), &input_d);
            let up_f = product(weight("mlp.up_proj"), &input_d);
            let silu = |x: f64| x / (1.0 + (-x).exp());
            let inner_f: Vec<f64> = gate_f
                .iter()
                .zip(&up_f)
                .map(|(g, u)| silu(*g) * u)
                .collect();
            add(stream_d, &product(weight("mlp.down_proj"), &inner_f));
        }
    }

    fn norm(&self, x: &[f64], weight: &[f64]) -> Vec<f64> {
        let mean_square = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        let scale = (mean_square + self.shape.rms_norm_epsilon).sqrt().recip();
        x.iter().zip(weight).map(|(x, w)| x * scale * w).collect()
    }

    /// Rotates a head to a position: entry `i` turns with entry `i + h/2`.
    fn turn(&self, head_h: &mut [f64], position: usize) {
        let half = head_h.len() / 2;
        for i in 0..half {
            let power = 2.0 * i as f64 / head_h.len() as f64;
            let angle = position as f64 / self.shape.rope_theta.powf(power);
            let (a, b) = (head_h[i], head_h[i + half]);
            head_h[i] = a * angle.cos() - b * angle.sin();
            head_h[i + half] = b * angle.cos() + a * angle.sin();
        }
    }

    fn logprob(&self, parameters: &[f64], hidden_d: &[f64], token: usize, temperature: f64) -> f64 {
        let embedding = self.tensor(parameters, "model.embed_tokens.weight");
        let logits_v: Vec<f64> = product(embedding, hidden_d)
            .iter()
            .map(|logit| logit / temperature)
            .collect();
        logits_v[token] - math::log_sum_exp(&logits_v)
    }
}

/// The mean over the reasoning of the hidden states of a row's tokens; nothing without reasoning.
fn point(row: &Row, hidden_td: &[Vec<f64>]) -> Vec<f64> {
    let Some(span) = row.reasoning.clone() else {
        return Vec::new();
    };
    let length = span.len() as f64;
    let mut point_d = vec![0.0; hidden_td[0].len()];
    for hidden_d in &hidden_td[span] {
        point_d
            .iter_mut()
            .zip(hidden_d)
            .for_each(|(p, h)| *p += h / length);
    }
    point_d
}

/// `W x` for `W` of `[out, in]`.
fn product(weight: &[f64], x: &[f64]) -> Vec<f64> {
    weight
        .chunks(x.len())
        .map(|row| math::dot(row, x))
        .collect()
}

fn add(to: &mut [f64], from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}
