//! The number formats of weights.

/// How weights are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// 32 bits.
    F32,
    /// The upper 16 bits of an `F32`, rounded to the nearest, ties to even.
    Bf16,
}

impl Dtype {
    /// The name in `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
        }
    }

    /// The name in a safetensors header.
    pub(super) fn stored_name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::Bf16 => "BF16",
        }
    }

    /// Bytes of a number.
    pub(crate) fn width(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    /// The value that reading gives back after this one, a finite one, was written.
    pub(super) fn rounded(self, value: f32) -> f32 {
        match self {
            Self::F32 => value,
            Self::Bf16 => f32::from_bits(u32::from(bf16_bits(value)) << 16),
        }
    }

    /// Appends the bytes of a number, least significant first.
    pub(super) fn push(self, value: f32, bytes: &mut Vec<u8>) {
        match self {
            Self::F32 => bytes.extend(value.to_le_bytes()),
            Self::Bf16 => bytes.extend(bf16_bits(value).to_le_bytes()),
        }
    }
}

/// A number format that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    F32,
    Bf16,
    F16,
}

impl Stored {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "F32" => Some(Self::F32),
            "BF16" => Some(Self::Bf16),
            "F16" => Some(Self::F16),
            _ => None,
        }
    }

    pub(super) fn width(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }

    /// Appends the numbers in `bytes`, whose length is a multiple of the width.
    pub(super) fn extend(self, bytes: &[u8], values: &mut Vec<f32>) {
        let pair = |pair: &[u8]| u16::from_le_bytes([pair[0], pair[1]]);
        match self {
            Self::F32 => {
                let four = |four: &[u8]| f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
                values.extend(bytes.chunks_exact(4).map(four));
            }
            Self::Bf16 => {
                let widen = |bits| f32::from_bits(u32::from(bits) << 16);
                values.extend(bytes.chunks_exact(2).map(pair).map(widen));
            }
            Self::F16 => values.extend(bytes.chunks_exact(2).map(pair).map(from_f16_bits)),
        }
    }
}

/// IEEE 754 binary16 to binary32; exact.
fn from_f16_bits(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let exponent = u32::from(bits >> 10) & 31;
    let mantissa = u32::from(bits) & 1023;
    let magnitude = match exponent {
        0 => (mantissa as f32 * 2f32.powi(-24)).to_bits(),
        31 => 0x7f80_0000 | mantissa << 13,
        _ => (exponent + 112) << 23 | mantissa << 13,
    };
    f32::from_bits(sign | magnitude)
}

/// The bfloat16 nearest to a finite number, ties to even.
fn bf16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary16_reads_as_ieee_says() {
        let cases = [
            (0x0000, 0.0),
            (0x8000, -0.0),
            (0x0001, 2f32.powi(-24)),
            (0x03ff, 1023.0 * 2f32.powi(-24)),
            (0x0400, 2f32.powi(-14)),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7bff, 65504.0),
            (0x7c00, f32::INFINITY),
        ];
        for (bits, value) in cases {
            assert_eq!(from_f16_bits(bits).to_bits(), value.to_bits(), "{bits:#x}");
        }
        assert!(from_f16_bits(0x7e00).is_nan());
    }

    #[test]
    fn bfloat16_rounds_to_nearest_and_ties_to_even() {
        let ulp = 2f32.powi(-7);
        let cases = [
            (1.0, 1.0),
            (1.0 + 0.5 * ulp, 1.0),
            (1.0 + 0.51 * ulp, 1.0 + ulp),
            (1.0 + 1.5 * ulp, 1.0 + 2.0 * ulp),
            (-1.0 - 0.75 * ulp, -1.0 - ulp),
            (f32::MAX, f32::INFINITY),
        ];
        for (value, rounded) in cases {
            assert_eq!(Dtype::Bf16.rounded(value).to_bits(), f32::to_bits(rounded));
        }
    }
}
