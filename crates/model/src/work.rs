//! How much arithmetic and reading a model asks for, whoever computes it: what speeds are told in.
//!
//! Counted are products of matrices, a multiplication and an addition each as one operation;
//! norms, activations and the softmax are left out, and so is what an engine computes again.

use crate::{Config, Dtype, LoraOptions};

/// What one pass over packed sequences computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Tokens that go through the layers.
    pub tokens: usize,
    /// Pairs of a query and a key that it sees, the query's own among them.
    pub pairs: usize,
    /// Tokens that the head predicts.
    pub predicted: usize,
}

impl Pass {
    /// Groups of completions after prompts of `prompt` tokens: each prompt once, each completion
    /// without its last token, which is predicted only. Sampling them and scoring them is the same.
    pub fn of_groups(prompt: usize, lengths_pg: &[Vec<usize>]) -> Self {
        let mut pass = Self::default();
        for lengths_g in lengths_pg {
            pass.tokens += prompt;
            pass.pairs += prompt * (prompt + 1) / 2;
            for &length in lengths_g {
                let read = length - 1;
                pass.tokens += read;
                pass.pairs += read * prompt + read * length / 2;
                pass.predicted += length;
            }
        }
        pass
    }
}

impl Config {
    /// Floating-point operations of a forward pass: 2 for each weight of a linear map or adapter
    /// and token, `4 · columns of all query heads` for each layer and pair of query and key,
    /// `2 · hidden size · vocabulary` for each predicted token. Windows are not counted less.
    ///
    /// # Panics
    /// If a target of LoRA is no module of this model.
    ///
    /// # Source
    /// Narayanan et al., arXiv 2104.04473, section 5.1 and its appendix.
    pub fn forward_flops(&self, pass: &Pass, lora: Option<&LoraOptions>) -> f64 {
        let Parts {
            linear,
            adapters,
            attention,
            head,
        } = self.parts(pass, lora);
        linear + adapters + attention + head
    }

    /// Floating-point operations of a forward and a backward pass: a backward pass is two forward
    /// passes, but one where the weight is frozen, as beside adapters.
    ///
    /// # Panics
    /// As [`forward_flops`](Self::forward_flops).
    pub fn training_flops(&self, pass: &Pass, lora: Option<&LoraOptions>) -> f64 {
        let Parts {
            linear,
            adapters,
            attention,
            head,
        } = self.parts(pass, lora);
        let frozen = if lora.is_some() { 2.0 } else { 3.0 };
        frozen * (linear + head) + 3.0 * (adapters + attention)
    }

    /// Share of attention's products of queries, keys and values in a forward pass.
    pub fn attention_share(&self, pass: &Pass) -> f64 {
        self.parts(pass, None).attention / self.forward_flops(pass, None)
    }

    /// Bytes that decoding reads after the prompts are computed, all completions side by side: each
    /// step all weights, in the type that completions are drawn in; in float32 for each completion
    /// that goes on its own keys and values, and for each group those of its prompt once.
    ///
    /// # Panics
    /// As [`forward_flops`](Self::forward_flops).
    pub fn decode_bytes(
        &self,
        prompt: usize,
        lengths_pg: &[Vec<usize>],
        lora: Option<&LoraOptions>,
        drawn_in: Dtype,
    ) -> f64 {
        let weight_bytes = match drawn_in {
            Dtype::F32 => size_of::<f32>(),
            Dtype::Bf16 => size_of::<u16>(),
        };
        let steps = |lengths: &[usize]| lengths.iter().max().map_or(0, |longest| longest - 1);
        let shared: usize = lengths_pg
            .iter()
            .map(|lengths_g| prompt * steps(lengths_g))
            .sum();
        let lengths = lengths_pg.concat();
        let own: usize = lengths.iter().map(|length| (length - 1) * length / 2).sum();
        let weights = self.linear_weights()
            + lora.map_or(0, |lora| self.lora_parameters(lora))
            + self.hidden_size * self.vocabulary;
        let cached = 2 * self.layers * self.key_value_heads * self.head_size * (shared + own);
        (steps(&lengths) * weights * weight_bytes + cached * size_of::<f32>()) as f64
    }

    fn parts(&self, pass: &Pass, lora: Option<&LoraOptions>) -> Parts {
        let (tokens, pairs) = (pass.tokens as f64, pass.pairs as f64);
        let adapters = lora.map_or(0, |lora| self.lora_parameters(lora)) as f64;
        let query = (self.layers * self.query_heads * self.head_size) as f64;
        let vocabulary = (self.hidden_size * self.vocabulary) as f64;
        Parts {
            linear: 2.0 * self.linear_weights() as f64 * tokens,
            adapters: 2.0 * adapters * tokens,
            attention: 4.0 * query * pairs,
            head: 2.0 * vocabulary * pass.predicted as f64,
        }
    }

    /// Weights of the linear maps of all layers.
    fn linear_weights(&self) -> usize {
        let query = self.query_heads * self.head_size;
        let key_value = self.key_value_heads * self.head_size;
        let layer = 2 * query + 2 * key_value + 3 * self.intermediate_size;
        self.layers * self.hidden_size * layer
    }
}

/// Operations of a forward pass by what computes them.
struct Parts {
    linear: f64,
    adapters: f64,
    attention: f64,
    head: f64,
}

#[cfg(test)]
mod tests {
    use crate::{Family, Shape, TargetModules};

    use super::*;

    /// d 8, 2 layers, heads of 4, MLP of 16, vocabulary of 32.
    fn config() -> Config {
        Config::fresh(&Shape {
            family: Family::Llama,
            hidden_size: 8,
            layers: 2,
            query_heads: 2,
            key_value_heads: 1,
            intermediate_size: 16,
            vocabulary: 32,
            max_position_embeddings: 64,
            eos_token_ids: vec![1],
        })
        .expect("a valid shape")
    }

    /// Counts, which floats hold exactly.
    #[track_caller]
    fn assert_same(found: f64, expected: f64) {
        assert_eq!(found as u64, expected as u64);
    }

    #[test]
    fn a_group_reads_its_prompt_once_and_no_completions_last_token() {
        let pass = Pass::of_groups(3, &[vec![1, 3], vec![2]]);
        // The first group: 3 tokens that see 1, 2, 3; a row that reads nothing; one that reads two
        // tokens, which see 4 and 5. The second: the prompt, and a token that sees 4.
        let expected = Pass {
            tokens: 3 + 2 + 3 + 1,
            pairs: 6 + 9 + 6 + 4,
            predicted: 6,
        };
        assert_eq!(pass, expected);
    }

    #[test]
    fn operations_are_those_of_the_products_one_by_one() {
        let (config, pass) = (config(), Pass::of_groups(3, &[vec![1, 3]]));
        // Query and output 8 x 8, key and value 8 x 4, MLP three times 8 x 16.
        let weights = 2 * (2 * 64 + 2 * 32 + 3 * 128);
        let linear = (2 * weights * pass.tokens) as f64;
        let attention = (2 * 4 * 8 * pass.pairs) as f64;
        let head = (2 * 8 * 32 * pass.predicted) as f64;
        let forward = linear + attention + head;
        assert_same(config.forward_flops(&pass, None), forward);
        assert_same(config.training_flops(&pass, None), 3.0 * forward);
        let share = config.attention_share(&pass);
        assert!((share - attention / forward).abs() < 1e-12, "{share}");
        let lora = LoraOptions {
            r: 2,
            lora_alpha: 4.0,
            lora_dropout: 0.0,
            target_modules: TargetModules::AllLinear,
            use_rslora: false,
        };
        let adapters = (2 * config.lora_parameters(&lora) * pass.tokens) as f64;
        assert_same(config.forward_flops(&pass, Some(&lora)), forward + adapters);
        assert_same(
            config.training_flops(&pass, Some(&lora)),
            2.0 * (linear + head) + 3.0 * (attention + adapters),
        );
    }

    #[test]
    fn decoding_reads_weights_each_step_a_prompt_once_a_group_and_each_row_its_own() {
        let config = config();
        let weights = 2 * (2 * 64 + 2 * 32 + 3 * 128) + 8 * 32;
        // Steps read the first token drawn, then the second: of the rows of 1 and 3 tokens only the
        // longer goes on, and reads 1 and then 2 of its own keys; so does the prompt, twice.
        let slots = 2 * 3 + 1 + 2;
        let cached = 2 * 2 * 4 * slots;
        for (dtype, size) in [(Dtype::F32, 4), (Dtype::Bf16, 2)] {
            let found = config.decode_bytes(3, &[vec![1, 3]], None, dtype);
            assert_same(found, (size * 2 * weights + 4 * cached) as f64);
        }
    }
}
