//! How positions turn heads: the base of the angles, and how they are stretched for long texts.
//!
//! # Source
//! Su et al., arXiv 2104.09864; stretched: Chen et al., arXiv 2306.15595 (linear), Llama 3.1
//! (arXiv 2407.21783, section 3.2), Peng et al., arXiv 2309.00071 (`YaRN`), Ding et al.,
//! arXiv 2402.13753 (`LongRoPE`); all by the formulas of transformers'
//! `modeling_rope_utils.py`, in its number format.

use serde_json::Value;

use super::value::{
    Object, flag, mistaken, number, numbers, positive, present, refused, required, shown, size,
};
use crate::ModelError;

/// The rotation of some layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotation {
    /// Base of the angles.
    pub theta: f64,
    /// Entries of a head that turn, its first ones; even.
    pub entries: usize,
    /// What the angles are stretched by.
    pub scaling: Scaling,
}

/// What stretches the angles for texts longer than those of pretraining.
#[derive(Clone, Debug, PartialEq)]
pub enum Scaling {
    /// Nothing.
    None,
    /// All frequencies are divided by a factor.
    Linear {
        /// What frequencies are divided by.
        factor: f64,
    },
    /// Low frequencies are divided by a factor, high ones kept, those between interpolated.
    Llama3 {
        /// What low frequencies are divided by.
        factor: f64,
        /// Turns within `original` below which a frequency is low.
        low: f64,
        /// Turns within `original` above which a frequency is high.
        high: f64,
        /// Tokens of pretraining.
        original: usize,
    },
    /// As `Llama3`, interpolated along the entries of a head.
    Yarn {
        /// What low frequencies are divided by.
        factor: f64,
        /// Turns within `original` above which a frequency is high.
        fast: f64,
        /// Turns within `original` below which a frequency is low.
        slow: f64,
        /// Tokens of pretraining.
        original: usize,
        /// What cosines and sines are multiplied by.
        attention: f64,
        /// Whether the range between low and high ends at whole entries.
        truncate: bool,
    },
    /// A factor for each frequency: one set for sequences up to `original` tokens, one beyond.
    LongRope {
        /// Divides the frequencies of sequences up to `original` tokens.
        short: Vec<f64>,
        /// Divides those of longer ones.
        long: Vec<f64>,
        /// Tokens of pretraining.
        original: usize,
        /// What cosines and sines are multiplied by.
        attention: f64,
    },
}

/// What a family presumes of its rotation.
#[derive(Clone, Copy)]
pub(super) struct Presumed {
    pub(super) theta: f64,
    /// Whether part of a head may turn.
    pub(super) partial: bool,
    /// Whether `su` and `yarn` are older names of `longrope`.
    pub(super) old_names: bool,
    /// Tokens of pretraining, unless the top level says so.
    pub(super) original: Option<usize>,
}

impl Rotation {
    /// Reads the rotation that all layers share: `rope_scaling` and keys of the top level, or
    /// `rope_parameters`, which transformers 5 writes.
    pub(super) fn read(
        json: &Object,
        head_size: usize,
        presumed: Presumed,
    ) -> Result<Self, ModelError> {
        let nothing = Object::new();
        let (key, rope) = holder(json).unwrap_or(("rope_scaling", &nothing));
        if let Some((layers, _)) = rope.iter().find(|(_, value)| value.is_object()) {
            return Err(ModelError::Unsupported {
                what: format!("{key} of its own for {layers}"),
            });
        }
        let theta = match number(rope, "rope_theta")? {
            Some(theta) => theta,
            None => positive(json, "rope_theta", presumed.theta)?,
        };
        Self::with_theta(json, (key, rope), head_size, theta, presumed)
    }

    /// A rotation by the keys of `rope`, with this base.
    pub(super) fn with_theta(
        json: &Object,
        (key, rope): (&str, &Object),
        head_size: usize,
        theta: f64,
        presumed: Presumed,
    ) -> Result<Self, ModelError> {
        let entries = turning(json, rope, head_size, presumed.partial)?;
        let kind = present(rope, "rope_type").or_else(|| present(rope, "type"));
        let kind = match kind.map_or(Some("default"), Value::as_str) {
            Some("su" | "yarn") if presumed.old_names => Some("longrope"),
            kind => kind,
        };
        let own = size(json, "original_max_position_embeddings")?.or(presumed.original);
        let original = || match own {
            Some(original) => Ok(original),
            None => match size(rope, "original_max_position_embeddings")? {
                Some(original) => Ok(original),
                None => required(json, "max_position_embeddings"),
            },
        };
        let factor =
            || number(rope, "factor")?.ok_or_else(|| mistaken("factor", None, "a positive number"));
        let scaling = match kind {
            Some("default") => Scaling::None,
            Some("linear") => Scaling::Linear { factor: factor()? },
            Some("llama3") => llama3(rope, factor()?, original()?)?,
            Some("yarn") => yarn(rope, factor()?, original()?)?,
            Some("longrope") => longrope(json, rope, entries / 2, original()?)?,
            _ => {
                let kind = present(rope, "rope_type").or_else(|| present(rope, "type"));
                return Err(ModelError::Unsupported {
                    what: format!("{key} of type {}", shown(kind)),
                });
            }
        };
        Ok(Self {
            theta,
            entries,
            scaling,
        })
    }

    /// The length from which on sequences turn by another set of factors.
    pub(crate) fn changes_at(&self) -> Option<usize> {
        match &self.scaling {
            Scaling::LongRope { original, .. } => Some(*original),
            _ => None,
        }
    }

    /// Angles of one step from a position to the next, one for each pair of entries; for
    /// sequences beyond [`changes_at`](Self::changes_at) those of long ones.
    pub(crate) fn inverse_frequencies(&self, long: bool) -> Vec<f32> {
        let plain = self.frequencies();
        match &self.scaling {
            Scaling::None => plain.iter().map(|x| x.recip()).collect(),
            Scaling::Linear { factor } => {
                plain.iter().map(|x| x.recip() / *factor as f32).collect()
            }
            Scaling::Llama3 {
                factor,
                low,
                high,
                original,
            } => {
                let bend = |x: &f32| interpolate(x.recip(), *factor, (*low, *high), *original);
                plain.iter().map(bend).collect()
            }
            Scaling::Yarn {
                factor,
                fast,
                slow,
                original,
                truncate,
                ..
            } => {
                let ramp = self.ramp([*fast, *slow], *original, *truncate);
                let mix = |(x, share): (&f32, f32)| {
                    let kept = 1.0 - share;
                    (*factor as f32 * x).recip() * (1.0 - kept) + x.recip() * kept
                };
                plain.iter().zip(ramp).map(mix).collect()
            }
            Scaling::LongRope {
                short,
                long: beyond,
                ..
            } => {
                let factors = if long { beyond } else { short };
                let stretch = |(x, factor): (&f32, &f64)| (*factor as f32 * x).recip();
                plain.iter().zip(factors).map(stretch).collect()
            }
        }
    }

    /// What cosines and sines are multiplied by.
    pub(crate) fn attention_scale(&self) -> f32 {
        match &self.scaling {
            Scaling::Yarn { attention, .. } | Scaling::LongRope { attention, .. } => {
                *attention as f32
            }
            _ => 1.0,
        }
    }

    /// The powers of the base.
    fn frequencies(&self) -> Vec<f32> {
        let power = |i| (2 * i) as f32 / self.entries as f32;
        (0..self.entries / 2)
            .map(|i| (self.theta as f32).powf(power(i)))
            .collect()
    }

    /// How much of each pair of entries is interpolated.
    fn ramp(&self, turns: [f64; 2], original: usize, truncate: bool) -> Vec<f32> {
        let entry = |turns: f64| {
            let wavelength = original as f64 / (turns * 2.0 * std::f64::consts::PI);
            self.entries as f64 * wavelength.ln() / (2.0 * self.theta.ln())
        };
        let [mut low, mut high] = turns.map(entry);
        if truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        (low, high) = (low.max(0.0), high.min((self.entries - 1) as f64));
        if (high - low).abs() < f64::EPSILON {
            high += 0.001;
        }
        let share = |i: usize| (i as f32 - low as f32) / (high - low) as f32;
        let pairs = 0..self.entries / 2;
        pairs.map(|i| share(i).clamp(0.0, 1.0)).collect()
    }
}

/// The object that says how positions turn, with its key.
fn holder(json: &Object) -> Option<(&'static str, &Object)> {
    ["rope_scaling", "rope_parameters"]
        .into_iter()
        .filter_map(|key| Some((key, present(json, key)?.as_object()?)))
        .find(|(_, rope)| !rope.is_empty())
}

/// Entries of a head that turn.
fn turning(
    json: &Object,
    rope: &Object,
    head_size: usize,
    partial: bool,
) -> Result<usize, ModelError> {
    let share = match number(rope, "partial_rotary_factor")? {
        Some(share) => share,
        None => positive(json, "partial_rotary_factor", 1.0)?,
    };
    let entries = (head_size as f64 * share) as usize;
    if !partial && entries != head_size {
        return Err(ModelError::Unsupported {
            what: format!("partial_rotary_factor {share}"),
        });
    }
    if entries == 0 || entries > head_size || !entries.is_multiple_of(2) {
        return Err(ModelError::ConfigValue {
            key: "partial_rotary_factor",
            found: share.to_string(),
            expected: format!("a share of {head_size} entries that is an even number of them"),
        });
    }
    Ok(entries)
}

fn llama3(rope: &Object, factor: f64, original: usize) -> Result<Scaling, ModelError> {
    let turns = |key| number(rope, key)?.ok_or_else(|| mistaken(key, None, "a positive number"));
    let (low, high) = (turns("low_freq_factor")?, turns("high_freq_factor")?);
    if high <= low {
        let value = rope.get("high_freq_factor");
        return Err(mistaken(
            "high_freq_factor",
            value,
            "more than low_freq_factor",
        ));
    }
    Ok(Scaling::Llama3 {
        factor,
        low,
        high,
        original,
    })
}

fn yarn(rope: &Object, factor: f64, original: usize) -> Result<Scaling, ModelError> {
    for key in ["mscale", "mscale_all_dim", "mrope_section"] {
        if let value @ Some(_) = present(rope, key) {
            return Err(refused(key, value));
        }
    }
    let by_default = if factor <= 1.0 {
        1.0
    } else {
        0.1 * factor.ln() + 1.0
    };
    Ok(Scaling::Yarn {
        factor,
        fast: positive(rope, "beta_fast", 32.0)?,
        slow: positive(rope, "beta_slow", 1.0)?,
        original,
        attention: positive(rope, "attention_factor", by_default)?,
        truncate: flag(rope, "truncate", true)?,
    })
}

fn longrope(
    json: &Object,
    rope: &Object,
    pairs: usize,
    original: usize,
) -> Result<Scaling, ModelError> {
    let positions = required(json, "max_position_embeddings")?;
    let by_default = positions as f64 / original as f64;
    let factor = positive(rope, "factor", by_default)?;
    let by_default = if factor <= 1.0 {
        1.0
    } else {
        (1.0 + factor.ln() / (original as f64).ln()).sqrt()
    };
    Ok(Scaling::LongRope {
        short: numbers(rope, "short_factor", pairs)?,
        long: numbers(rope, "long_factor", pairs)?,
        original,
        attention: positive(rope, "attention_factor", by_default)?,
    })
}

/// Llama 3's frequency: whole above `high` turns, divided by `factor` below `low`.
fn interpolate(frequency: f32, factor: f64, (low, high): (f64, f64), original: usize) -> f32 {
    let (factor, original) = (factor as f32, original as f64);
    let wavelength = 2.0 * std::f32::consts::PI / frequency;
    if f64::from(wavelength) < original / high {
        return frequency;
    }
    if f64::from(wavelength) > original / low {
        return frequency / factor;
    }
    let share = (original as f32 / wavelength - low as f32) / (high - low) as f32;
    (1.0 - share) * frequency / factor + share * frequency
}
