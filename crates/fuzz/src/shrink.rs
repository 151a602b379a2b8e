//! A case that fails, made shorter.

use std::time::{Duration, Instant};

const TIME: Duration = Duration::from_secs(5);

/// The input without the parts that are not needed for it to fail: halves first, single bytes last.
pub(crate) fn shrunk(mut input: Vec<u8>, fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let start = Instant::now();
    let mut part = input.len().div_ceil(2);
    while part > 0 && start.elapsed() < TIME {
        let mut at = 0;
        while at < input.len() && start.elapsed() < TIME {
            let end = (at + part).min(input.len());
            let without = [&input[..at], &input[end..]].concat();
            if fails(&without) {
                input = without;
            } else {
                at = end;
            }
        }
        part /= 2;
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_failure_needs_is_left_alone() {
        let fails = |input: &[u8]| input.contains(&b'!') && input.contains(&b'?');
        let input = b"why should this ! be short ? it need not".to_vec();
        assert_eq!(shrunk(input, fails), b"!?");
    }
}
