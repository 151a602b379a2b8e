//! How a valid file is damaged: bytes, lengths, numbers, words and whole parts of it.

use std::ops::Range;

use math::Key;

/// The most changes of one case.
const CHANGES_MAX: usize = 6;
/// The longest part that is moved.
const PART_MAX: usize = 256;
/// The longest case.
const LENGTH_MAX: usize = 1 << 20;
/// How often a word is repeated where it is, so that what nests nests deeply.
const REPEATS: [usize; 3] = [2, 300, 20_000];

/// Numbers at the edges of their types.
const NUMBERS: [&str; 17] = [
    "0",
    "-1",
    "1",
    "2",
    "3",
    "7",
    "255",
    "65536",
    "16777216",
    "2147483648",
    "4294967295",
    "9223372036854775807",
    "18446744073709551615",
    "1e400",
    "-0.0",
    "1e-300",
    "0.5",
];

/// Words that formats of text give a meaning.
const WORDS: [&str; 22] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "=",
    "\n",
    "\\",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\\ud800",
    "\u{feff}",
    "\u{0}",
    "#",
    "é",
    "\u{1f642}",
    " ",
];

/// Draws of one case, in their order.
struct Draws {
    key: Key,
    taken: u64,
}

impl Draws {
    fn below(&mut self, bound: usize) -> usize {
        self.taken += 1;
        self.key.below(self.taken, bound)
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    /// A word of the format, or else of any.
    fn word<'a>(&mut self, own: &[&'a str]) -> &'a str {
        if own.is_empty() || self.below(2) == 0 {
            self.of(&WORDS)
        } else {
            self.of(own)
        }
    }

    /// A part of something so long, no longer than [`PART_MAX`].
    fn part(&mut self, length: usize) -> Range<usize> {
        let start = self.below(length + 1);
        let end = start + self.below((length - start).min(PART_MAX) + 1);
        start..end
    }
}

/// One of the seeds, with one to [`CHANGES_MAX`] changes.
///
/// # Panics
/// If there is no seed.
pub(crate) fn mutated(seeds: &[Vec<u8>], words: &[&str], key: Key) -> Vec<u8> {
    let mut draws = Draws { key, taken: 0 };
    let mut input = seeds[draws.below(seeds.len())].clone();
    for _ in 0..=draws.below(CHANGES_MAX) {
        let other = &seeds[draws.below(seeds.len())];
        change(&mut input, other, words, &mut draws);
        input.truncate(LENGTH_MAX);
    }
    input
}

fn change(input: &mut Vec<u8>, other: &[u8], words: &[&str], draws: &mut Draws) {
    let length = input.len();
    let at = draws.below(length + 1);
    match draws.below(12) {
        0 if at < length => input[at] ^= 1 << draws.below(8),
        1 if at < length => input[at] = draws.below(256) as u8,
        2 => drop(input.drain(draws.part(length))),
        3 => {
            let part = input[draws.part(length)].to_vec();
            input.splice(at..at, part);
        }
        4 => {
            let part = other[draws.part(other.len())].to_vec();
            let over = draws.part(length);
            input.splice(over, part);
        }
        5 if draws.below(4) == 0 => input.truncate(at),
        6 => {
            let word = draws.word(words).as_bytes();
            let times = match draws.below(16) {
                0 => REPEATS[draws.below(REPEATS.len())],
                _ => 1,
            };
            input.splice(at..at, word.repeat(times));
        }
        7 => binary_number(input, at, draws),
        8 | 9 => {
            let word = draws.of(&NUMBERS);
            replace(input, at, is_number, word);
        }
        _ => {
            let word = draws.word(words);
            replace(input, at, is_word, word);
        }
    }
}

/// A length or an offset, as binary formats write it.
fn binary_number(input: &mut [u8], at: usize, draws: &mut Draws) {
    let length = input.len() as u64;
    let numbers = [
        0,
        1,
        length,
        u64::from(u32::MAX),
        1 << 31,
        1 << 40,
        u64::MAX,
    ];
    let bytes = numbers[draws.below(numbers.len())].to_le_bytes();
    let width = [1, 2, 4, 8][draws.below(4)].min(input.len() - at);
    input[at..at + width].copy_from_slice(&bytes[..width]);
}

fn is_number(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'.' | b'-')
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Puts a word in place of the first run of such bytes from `at` on.
fn replace(input: &mut Vec<u8>, at: usize, is_part: impl Fn(u8) -> bool, word: &str) {
    let from = input[at..].iter().position(|&byte| is_part(byte));
    let Some(start) = from.map(|from| at + from) else {
        return;
    };
    let run = input[start..].iter().take_while(|&&byte| is_part(byte));
    let end = start + run.count();
    input.splice(start..end, word.bytes());
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn cases_differ_from_one_another_and_not_from_one_time_to_the_next() {
        let seeds = [
            b"{\"rows\": [12, 13]}".to_vec(),
            vec![8, 0, 0, 0],
            Vec::new(),
        ];
        let all = || -> Vec<_> {
            let case = |case| mutated(&seeds, &["rows"], Key::new(1).child(case));
            (0..500).map(case).collect()
        };
        let first = all();
        assert_eq!(first, all());
        let different: HashSet<_> = first.iter().collect();
        assert!(different.len() > 300, "{} of 500 differ", different.len());
    }
}
