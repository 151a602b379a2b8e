//! Sections of a recipe into the settings of the crates they are for.

use model::{Dtype, OptimizerOptions};
use objective::{AdvantageOptions, Aggregation, Grpo, RatioLevel, SinkhornDrift, WarmUp};
use policy::SamplingOptions;
use rollout::Format;
use trainer::Schedule;
use transport::Epsilon;

use crate::error::InputError;
use crate::recipe::{
    FloatType, FormatSection, ImportanceSamplingLevel, LossType, OptimizerSection, SamplingSection,
    ScaleRewards, Scheduler, TrainRecipe, TransportSection,
};

/// How completions are drawn.
pub(super) fn sampling(section: &SamplingSection) -> SamplingOptions {
    SamplingOptions {
        temperature: section.temperature,
        top_k: Some(section.top_k).filter(|&k| k > 0),
        top_p: Some(section.top_p).filter(|&p| p < 1.0),
        max_completion_length: section.max_completion_length,
    }
}

/// The bound on the correction for drawing in another type than is trained; none in the same.
pub(super) fn importance_sampling_clip_max(section: &SamplingSection) -> Option<f64> {
    let is_other = section.dtype != FloatType::Float32;
    is_other.then_some(section.importance_sampling_clip_max)
}

/// How rewards become advantages; deviation and epsilon are TRL's.
pub(super) fn advantages(scale_rewards: ScaleRewards) -> AdvantageOptions {
    let scale = match scale_rewards {
        ScaleRewards::Group => objective::ScaleRewards::Group,
        ScaleRewards::Batch => objective::ScaleRewards::Batch,
        ScaleRewards::None => objective::ScaleRewards::None,
    };
    AdvantageOptions {
        scale,
        ..AdvantageOptions::default()
    }
}

/// What is minimised.
pub(super) fn objective(recipe: &TrainRecipe) -> objective::Settings {
    let TrainRecipe {
        grpo,
        sami,
        transport,
        sampling,
        ..
    } = recipe;
    let level = match grpo.importance_sampling_level {
        ImportanceSamplingLevel::Token => RatioLevel::Token,
        ImportanceSamplingLevel::Sequence => RatioLevel::Sequence,
    };
    let max_completion_length = sampling.max_completion_length;
    let aggregation = match grpo.loss_type {
        LossType::Grpo => Aggregation::Grpo,
        LossType::Bnpo => Aggregation::Bnpo,
        LossType::DrGrpo => Aggregation::DrGrpo {
            max_completion_length,
        },
        LossType::Dapo => Aggregation::Dapo,
    };
    let epsilon_high = grpo.epsilon_high.unwrap_or(grpo.epsilon);
    objective::Settings {
        grpo: Grpo {
            level,
            epsilon: grpo.epsilon,
            epsilon_high,
            aggregation,
        },
        beta: grpo.beta,
        sami_weight: sami.weight,
        sami_warm_up: WarmUp {
            steps: sami.warmup_steps as u64,
        },
        transport_weight: transport.weight,
        transport: drift(transport),
    }
}

/// How the drift of hidden points is measured.
pub(super) fn drift(section: &TransportSection) -> SinkhornDrift {
    let epsilon = Epsilon::RelativeToMeanCost(section.epsilon);
    SinkhornDrift {
        options: transport::Options {
            epsilon,
            ..Default::default()
        },
    }
}

/// The form of completions.
pub(super) fn format(section: &FormatSection) -> Result<Format, InputError> {
    match section.tags() {
        (reasoning, Some(answer)) => Format::tagged(reasoning, answer)
            .map_err(|error| InputError::refused("[format]", &error)),
        (_, None) => Ok(Format::think()),
    }
}

/// AdamW.
pub(crate) fn optimizer(section: &OptimizerSection) -> OptimizerOptions {
    OptimizerOptions {
        adam_beta1: section.adam_beta1,
        adam_beta2: section.adam_beta2,
        adam_epsilon: section.adam_epsilon,
        weight_decay: section.weight_decay,
        max_grad_norm: section.max_grad_norm,
    }
}

/// The course of the learning rate.
pub(super) fn schedule(scheduler: Scheduler) -> Schedule {
    match scheduler {
        Scheduler::Constant => Schedule::Constant,
        Scheduler::Linear => Schedule::Linear,
        Scheduler::Cosine => Schedule::Cosine,
    }
}

/// How a checkpoint's weights are stored.
pub(crate) fn dtype(dtype: FloatType) -> Dtype {
    match dtype {
        FloatType::Float32 => Dtype::F32,
        FloatType::Bfloat16 => Dtype::Bf16,
    }
}
