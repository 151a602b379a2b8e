//! GSM8K's worked answers: `rationale … <<48/2=24>>24 …` and, on the last line, `#### 72`.

/// The rationale without calculator marks, and the final answer.
///
/// `None` unless both are there and neither is empty.
///
/// # Source
/// Cobbe et al., arXiv 2110.14168: `####` before the answer; `<<…>>` are calls of a calculator, not
/// part of the sentence.
pub(super) fn split(answer: &str) -> Option<(String, &str)> {
    let (rationale, answer) = answer.rsplit_once("####")?;
    let rationale = without_marks(rationale.trim());
    let answer = answer.trim();
    (!rationale.is_empty() && !answer.is_empty()).then_some((rationale, answer))
}

fn without_marks(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, mark)) = rest.split_once("<<") {
        let Some((_, after)) = mark.split_once(">>") else {
            break;
        };
        kept.push_str(before);
        rest = after;
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worked_answer_becomes_its_sentences_and_its_number() {
        let worked = "She sold 48/2 = <<48/2=24>>24.\nThat is $<<24+48=72>>72 in all.\n#### 72";
        let expected = "She sold 48/2 = 24.\nThat is $72 in all.".to_owned();
        assert_eq!(split(worked), Some((expected, "72")));
    }

    #[test]
    fn an_answer_without_its_rationale_or_its_number_is_refused() {
        for broken in ["72", "#### 72", "because ####", ""] {
            assert_eq!(split(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn an_unclosed_mark_stays_as_it_is() {
        assert_eq!(split("1 << 2 #### 4"), Some(("1 << 2".to_owned(), "4")));
    }
}
