//! The lines between a run and a grader: JSON objects, one a completion, one an answer.

use serde_json::{Value, json};

use crate::{Grade, Item, Ungraded};

/// What a grader is asked about one completion of a batch of `batch_size`, with its line's end.
pub(super) fn question(id: u64, batch_size: usize, item: &Item) -> String {
    let question = item.question;
    let mut object = json!({
        "id": id,
        "batch_size": batch_size,
        "prompt": question.text,
        "completion": item.text,
        "answer": question.answer,
        "fields": question.fields,
    });
    if !question.history.is_empty() {
        let turns = question.history.iter();
        let turns = turns.map(|turn| (turn.role.name(), turn.content.as_str()));
        let message = |(role, content)| json!({"role": role, "content": content});
        let asked = json!({"role": "user", "content": question.text});
        object["messages"] = turns.map(message).chain([asked]).collect();
    }
    format!("{object}\n")
}

/// The id and the grade of an answer; `None` for a line that is none.
///
/// Python's `json` writes NaN and infinities as bare words, which JSON does not know; they are
/// read.
pub(super) fn answer(line: &[u8]) -> Option<(u64, Grade)> {
    let text = std::str::from_utf8(line).ok()?;
    let object: Value = serde_json::from_str(text).ok().or_else(|| {
        let words = ["-Infinity", "Infinity", "NaN"];
        let text = words.iter().fold(text.to_owned(), |text, word| {
            text.replace(word, "\"not finite\"")
        });
        serde_json::from_str(&text).ok()
    })?;
    let id = object.get("id")?.as_u64()?;
    let grade = match object.get("reward")? {
        Value::Null => Err(Ungraded::Null),
        Value::Number(number) => number.as_f64().ok_or(Ungraded::NotFinite),
        Value::String(word) if word == "not finite" => Err(Ungraded::NotFinite),
        _ => Err(Ungraded::Malformed),
    };
    Some((id, grade))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_an_id_and_a_reward_and_anything_else_is_none() {
        let null = Err(Ungraded::Null);
        let not_finite = Err(Ungraded::NotFinite);
        let malformed = Err(Ungraded::Malformed);
        for (line, expected) in [
            (r#"{"id": 3, "reward": 0.5}"#, Some((3, Ok(0.5)))),
            (
                r#"{"reward": -2, "id": 0, "note": "x"}"#,
                Some((0, Ok(-2.0))),
            ),
            (r#"{"id": 3, "reward": null}"#, Some((3, null))),
            (r#"{"id": 3, "reward": NaN}"#, Some((3, not_finite))),
            (r#"{"id": 3, "reward": -Infinity}"#, Some((3, not_finite))),
            (r#"{"id": 3, "reward": "high"}"#, Some((3, malformed))),
            (r#"{"id": 3, "reward": [1]}"#, Some((3, malformed))),
            (r#"{"id": 3}"#, None),
            (r#"{"id": -3, "reward": 1}"#, None),
            (r#"{"reward": 1}"#, None),
            ("1.0", None),
            ("", None),
            ("NaN", None),
            ("loading model: 40%", None),
        ] {
            assert_eq!(answer(line.as_bytes()), expected, "{line}");
        }
        assert_eq!(answer(b"{\"id\": 3, \"reward\": \xff}"), None);
    }
}
