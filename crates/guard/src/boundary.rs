//! Panics as errors, without the lines that the program prints for others.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// What `read` gives.
///
/// # Errors
/// Where it panics: its message, in one line. Whatever it was changing is then half changed, and is
/// not to be used again.
pub fn guarded<T>(read: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !INSIDE.get() {
                usual(panic);
            }
        }));
    });
    let outside = INSIDE.replace(true);
    let result = catch_unwind(AssertUnwindSafe(read));
    INSIDE.set(outside);
    result.map_err(|payload| message(payload.as_ref()))
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    let words = text.unwrap_or("no reason given").split_whitespace();
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_in_one_line_and_ends_with_the_reader() {
        let refused: Result<(), String> = guarded(|| panic!("expected {},\n found 2", 1));
        assert_eq!(refused, Err("expected 1, found 2".to_owned()));
        assert_eq!(guarded(|| 3), Ok(3));
        assert!(!INSIDE.get());
    }
}
