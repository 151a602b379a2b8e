//! Sampling with a cache of keys and values.
//!
//! Each prefix is computed once for all its completions, and its keys and values are kept until
//! the last of them ends. A completion that ends leaves the batch at once, and the next one takes
//! its place in the cache; nothing is padded.

mod batch;
mod kept;
mod slots;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;

use kernel::Device;
use policy::{PolicyError, Request, Sample, SampleProgress, Sampler, SamplingOptions};

use self::batch::{Decoding, Limits};
use self::kept::Keeper;
use crate::decoder::{Copied, CopyKind, Trace};
use crate::{Dtype, Transformer};

pub(crate) use kept::Kept;

/// How much is decoded together at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    /// Completions.
    pub(crate) rows: usize,
    /// Cached values, over all layers together.
    pub(crate) cache_values: usize,
}

impl Capacity {
    /// Of a processor, which gains nothing beyond; 2 GiB of keys and values.
    pub(crate) const CPU: Self = Self {
        rows: 128,
        cache_values: 1 << 29,
    };
    /// Of a card, which reads its weights once for all rows; 12 GiB of keys and values.
    pub(crate) const CARD: Self = Self {
        rows: 256,
        cache_values: 3 << 30,
    };

    /// Of a device.
    pub(crate) fn of(device: &Device) -> Self {
        match device {
            Device::Cpu(_) => Self::CPU,
            Device::Cuda(_) => Self::CARD,
        }
    }
}

/// Logits held at once at most: 64 MiB.
pub(crate) const LOGITS_MAX: usize = 1 << 24;
/// Prefix tokens computed at once, so that long prompts do not hold their activations all
/// together; a longer prefix is computed alone.
pub(crate) const PREFILL_TOKENS_MAX: usize = 8192;

impl Sampler for Transformer {
    /// Ends at the model's end tokens.
    fn sample(
        &self,
        requests: &[Request],
        options: &SamplingOptions,
        progress: &mut dyn FnMut(SampleProgress),
    ) -> Result<Vec<Vec<Sample>>, PolicyError> {
        self.draw(requests, options, self.copy_kind(false), None, progress)
            .map(|(samples, _)| samples)
    }
}

impl Transformer {
    /// Draws completions as [`Sampler::sample`], by such a copy of the weights, and keeps what is
    /// computed in `trace`, of at most so many tokens.
    pub(crate) fn draw(
        &self,
        requests: &[Request],
        options: &SamplingOptions,
        copy: Option<CopyKind>,
        keep: Option<(&mut Trace, usize)>,
        progress: &mut dyn FnMut(SampleProgress),
    ) -> Result<(Vec<Vec<Sample>>, Option<Kept>), PolicyError> {
        for request in requests {
            self.check_length(request.prefix.len(), options.max_completion_length)?;
        }
        let copied = OnceCell::new();
        let fill = |kind| copied.get_or_init(|| Copied::new(&self.parameters, kind));
        let rounded = copy.filter(|kind| *kind == CopyKind::Rounded);
        let limits = Limits::new(self, requests, options.max_completion_length);
        let keeper = keep.map(|(trace, tokens_max)| Keeper::new(trace, requests, tokens_max));
        let rounded = rounded.map(fill);
        let mut decoding = Decoding::new(self, rounded, requests, options, limits, keeper);
        loop {
            let goes_on = decoding.step()?;
            progress(decoding.progress());
            if !goes_on {
                return Ok(decoding.finish());
            }
            // Panels are for steps, the first of which comes now: no first token waits for them.
            decoding.read_from(copy.map(fill));
        }
    }

    /// What copy of the weights drawing reads: between updates of all weights, one in panels, in
    /// the room of their gradient, of which nothing is held meanwhile.
    pub(crate) fn copy_kind(&self, trains: bool) -> Option<CopyKind> {
        let is_cpu = matches!(self.device(), Device::Cpu(_));
        match self.sampling_dtype {
            Dtype::Bf16 => Some(CopyKind::Rounded),
            Dtype::F32 => (trains && is_cpu && self.lora.is_none()).then_some(CopyKind::Panels),
        }
    }
}
