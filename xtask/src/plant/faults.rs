//! The faults, each a small edit of one file, and the check that must catch it.

/// A mistake that somebody could make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// In words.
    pub(crate) name: &'static str,
    /// The file, from the workspace's root.
    pub(crate) file: &'static str,
    /// What stands there, exactly once.
    pub(crate) right: &'static str,
    /// What the fault makes of it.
    pub(crate) wrong: &'static str,
    /// How the name of the finding begins that must fail.
    pub(crate) check: &'static str,
}

/// All of them; `cargo xtask plant` tries each.
pub(crate) const FAULTS: [Fault; 18] = [
    Fault {
        name: "gradient of GRPO with its sign flipped",
        file: "crates/objective/src/grpo.rs",
        right: "(ratio, -ratio * advantage)",
        wrong: "(ratio, ratio * advantage)",
        check: "gradient/grpo",
    },
    Fault {
        name: "gradient of the MLP with its sign flipped",
        file: "crates/kernel/src/glu.rs",
        right: "                let grad_up = grad_act * *gate * slope;",
        wrong: "                let grad_up = -grad_act * *gate * slope;",
        check: "reference",
    },
    Fault {
        name: "standard deviation of the population (ddof 0)",
        file: "crates/objective/src/advantages.rs",
        right: "            Deviation::Sample => 1,",
        wrong: "            Deviation::Sample => 0,",
        check: "advantages",
    },
    Fault {
        name: "reasoning mask one token short",
        file: "crates/rollout/src/span.rs",
        right: "            end = token + 1;",
        wrong: "            end = token;",
        check: "mask/reasoning",
    },
    Fault {
        name: "completion tokens predicted one place late",
        file: "crates/model/src/decoder/packing.rs",
        right: ".extend((start..start + row.tokens_t.len() - 1).map(|n| n as u32));",
        wrong: ".extend((start..start + row.tokens_t.len() - 1).map(|n| n as u32 - 1));",
        check: "on-policy/sampled",
    },
    Fault {
        name: "chunk of the head dropped, forward",
        file: "crates/kernel/src/head.rs",
        right: "    for first in (0..vocabulary).step_by(CHUNK_FORWARD) {",
        wrong: "    for first in (0..vocabulary).step_by(CHUNK_FORWARD).take(1) {",
        check: "head",
    },
    Fault {
        name: "chunk of the head dropped, backward",
        file: "crates/kernel/src/head.rs",
        right: "    for first in (0..vocabulary).step_by(chunk) {",
        wrong: "    for first in (0..vocabulary).step_by(chunk).skip(1) {",
        check: "reference",
    },
    Fault {
        name: "stale cache of keys and values",
        file: "crates/model/src/generation/batch.rs",
        right: "            attention::append(heads, qkv_nc, cache, &at);",
        wrong: "if layer > 0 { attention::append(&heads, qkv_nc, &mut caches[layer], &at); }",
        check: "on-policy/sampled",
    },
    Fault {
        name: "unnormalised marginals of the transport plan",
        file: "crates/transport/src/softmin.rs",
        right: "            *plan *= share / total;",
        wrong: "            *plan *= share / columns as f64;",
        check: "sinkhorn/",
    },
    Fault {
        name: "SAMI's matrix not transposed for its constitutions",
        file: "crates/information/src/contrast.rs",
        right: "        over_constitutions: diagonal_loss(&transpose(matrix_kk)),",
        wrong: "        over_constitutions: diagonal_loss(matrix_kk),",
        check: "terms/sami/",
    },
    Fault {
        name: "contrast with completions and constitutions exchanged",
        file: "crates/information/src/contrast.rs",
        right: "    let over_constitutions = transpose(&softmaxes(&transpose(matrix_kk)));",
        wrong: "    let over_constitutions = softmaxes(&transpose(matrix_kk));",
        check: "reference/sami",
    },
    Fault {
        name: "k3 of the reverse difference",
        file: "crates/information/src/kl.rs",
        right: "    let difference = reference_logprob - policy_logprob;",
        wrong: "    let difference = policy_logprob - reference_logprob;",
        check: "terms/kl",
    },
    Fault {
        name: "positions of decoding off by one",
        file: "crates/model/src/generation/batch.rs",
        right: "(first(row) + row.shared.len() + read(row)) as u32;",
        wrong: "(first(row) + row.shared.len() + read(row) + 1) as u32;",
        check: "on-policy/sampled",
    },
    Fault {
        name: "AdamW without the correction of its first moment",
        file: "crates/kernel/src/adamw.rs",
        right: "        step_size: (f64::from(learning_rate) / correction(beta1)) as f32,",
        wrong: "        step_size: learning_rate,",
        check: "optimizer",
    },
    Fault {
        name: "no gradient from completions into their prompt",
        file: "crates/kernel/src/attention/backward.rs",
        right: "        for ancestor in layout.ancestors(segment) {",
        wrong: "        for ancestor in layout.ancestors(segment).take(0) {",
        check: "reference",
    },
    Fault {
        name: "dapo divided by completions instead of tokens",
        file: "crates/objective/src/aggregation.rs",
        right: "            Self::Dapo => evidence.active_tokens,",
        wrong: "            Self::Dapo => n,",
        check: "terms/grpo",
    },
    Fault {
        name: "slices of a batch without the last",
        file: "crates/trainer/src/accumulate.rs",
        right: "policy.forward(&slice.batch)?;\n        }\n        \
                policy.backward(&slice.select(&gradient));",
        wrong: "policy.forward(&slice.batch)?;\n        }\n        \
                if done + 1 < slices.len() || passes == 1 {\n            \
                policy.backward(&slice.select(&gradient));\n        }",
        check: "micro-batch/gradient",
    },
    Fault {
        name: "ratio of one token for the whole completion's",
        file: "crates/objective/src/grpo.rs",
        right: "RatioLevel::Sequence => vec![math::mean(&differences_t); differences_t.len()],",
        wrong: "RatioLevel::Sequence => differences_t,",
        check: "terms/grpo",
    },
];
