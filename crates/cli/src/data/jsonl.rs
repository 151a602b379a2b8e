//! JSON lines: one object a line, blank lines skipped. A line is read at a time.

use std::io::BufRead;

use serde_json::Value;

use super::rows::{Fault, Numbered};

/// The objects of a text, each with the number of its line.
pub(super) fn rows(mut text: impl BufRead) -> impl Iterator<Item = Result<Numbered, Fault>> {
    let (mut number, mut line) = (0, Vec::new());
    std::iter::from_fn(move || {
        loop {
            line.clear();
            number += 1;
            match text.read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(Fault::whole(error))),
            }
            let bytes = match line.strip_prefix("\u{feff}".as_bytes()) {
                Some(rest) if number == 1 => rest,
                _ => &line,
            };
            if !bytes.trim_ascii().is_empty() {
                return Some(object(bytes, number));
            }
        }
    })
}

fn object(line: &[u8], number: usize) -> Result<Numbered, Fault> {
    let fault = |reason: String| Fault::at(number, reason);
    let text = std::str::from_utf8(line)
        .map_err(|error| fault(format!("not UTF-8 at byte {}", error.valid_up_to() + 1)))?;
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok((number, fields)),
        Ok(_) => Err(fault("expected a JSON object, found another value".into())),
        Err(error) => {
            let column = error.column();
            let reason = format!("expected a JSON object, not JSON at column {column}");
            Err(fault(reason))
        }
    }
}
