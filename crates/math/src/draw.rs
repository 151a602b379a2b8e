//! Random draws named by a key and a counter; no state is kept or passed on.
//!
//! The generator is Philox 4×32 with ten rounds (Salmon et al., "Parallel random numbers: as easy
//! as 1, 2, 3", SC 2011). A [`Key`] is narrowed with [`Key::child`] once for each name of a draw
//! (run, step, prompt, sample) and then read at counters (token, coordinate).

/// The name of a stream of independent draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u64);

const STREAM_BITS: u32 = 0;
const STREAM_CHILD: u32 = 1;
const STREAM_NORMAL: u32 = 2;

impl Key {
    /// The root key of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed).child(0)
    }

    /// The key of sub-stream `index`; distinct indices give unrelated streams.
    #[must_use]
    pub fn child(self, index: u64) -> Self {
        Self(self.words(index, STREAM_CHILD)[0])
    }

    /// 64 uniform bits at `counter`.
    pub fn bits(self, counter: u64) -> u64 {
        self.words(counter, STREAM_BITS)[0]
    }

    /// A uniform draw in `[0, 1)` at `counter`, with 53 bits.
    pub fn uniform(self, counter: u64) -> f64 {
        unit(self.bits(counter))
    }

    /// A standard normal draw at `counter` (Box–Muller).
    pub fn normal(self, counter: u64) -> f64 {
        self.normal_pair(counter)[0]
    }

    /// Two independent standard normal draws at `counter`, for little more than one.
    pub fn normal_pair(self, counter: u64) -> [f64; 2] {
        let [a, b] = self.normal_bits(counter);
        let radius = (-2.0 * (1.0 - unit(a)).ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * unit(b)).sin_cos();
        [radius * cosine, radius * sine]
    }

    /// The uniform bits of which [`normal_pair`](Self::normal_pair) makes radius and angle.
    pub fn normal_bits(self, counter: u64) -> [u64; 2] {
        self.words(counter, STREAM_NORMAL)
    }

    /// A uniform integer in `0..bound` at `counter`; its bias is below `bound`/2⁶⁴.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(self, counter: u64, bound: usize) -> usize {
        assert!(bound > 0, "a draw below 0 does not exist");
        ((u128::from(self.bits(counter)) * bound as u128) >> 64) as usize
    }

    /// A uniform permutation of `0..length` (Fisher–Yates).
    pub fn permutation(self, length: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..length).collect();
        for last in (1..length).rev() {
            order.swap(last, self.below(last as u64, last + 1));
        }
        order
    }

    fn words(self, counter: u64, stream: u32) -> [u64; 2] {
        let counter = [counter as u32, (counter >> 32) as u32, stream, 0];
        let [a, b, c, d] = philox(counter, [self.0 as u32, (self.0 >> 32) as u32]);
        [
            u64::from(a) | u64::from(b) << 32,
            u64::from(c) | u64::from(d) << 32,
        ]
    }
}

fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let low = u64::from(counter[0]) * 0xD251_1F53;
        let high = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [
            (high >> 32) as u32 ^ counter[1] ^ key[0],
            high as u32,
            (low >> 32) as u32 ^ counter[3] ^ key[1],
            low as u32,
        ];
        key = [
            key[0].wrapping_add(0x9E37_79B9),
            key[1].wrapping_add(0xBB67_AE85),
        ];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of Random123's `kat_vectors`, philox4x32 with 10 rounds.
    #[test]
    fn philox_gives_the_published_answers() {
        let pi = (
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
        );
        let cases = [
            (
                ([0; 4], [0; 2]),
                [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
            ),
            (
                ([u32::MAX; 4], [u32::MAX; 2]),
                [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
            ),
            (pi, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]),
        ];
        for ((counter, key), expected) in cases {
            assert_eq!(
                philox(counter, key),
                expected,
                "counter {counter:x?}, key {key:x?}"
            );
        }
    }

    #[test]
    fn uniform_and_normal_have_their_first_two_moments() {
        let key = Key::new(7);
        let draws = 100_000;
        let moments = |f: &dyn Fn(u64) -> f64| {
            let values: Vec<f64> = (0..draws).map(f).collect();
            (crate::mean(&values), crate::variance(&values, 0))
        };
        let (mean, variance) = moments(&|i| key.uniform(i));
        assert!((mean - 0.5).abs() < 4e-3 && (variance - 1.0 / 12.0).abs() < 2e-3);
        let (mean, variance) = moments(&|i| key.normal(i));
        assert!(
            mean.abs() < 0.013 && (variance - 1.0).abs() < 0.02,
            "{mean} {variance}"
        );
    }

    #[test]
    fn a_permutation_holds_every_index_once_and_depends_on_its_key() {
        let one = Key::new(1).permutation(100);
        let mut sorted = one.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_ne!(one, Key::new(2).permutation(100));
        assert_eq!(one, Key::new(1).permutation(100));
    }
}
