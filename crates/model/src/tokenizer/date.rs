//! The date that chat templates may ask for.

/// Fills in the `strftime` directives for the day that templates fall back to, 26 July 2024, at
/// midnight: a prompt is the same on every day, so that a resumed run repeats an unbroken one.
///
/// # Errors
/// The directive that is not known.
///
/// # Source
/// The day is that of Llama 3.2's template; that it never moves is [ours].
pub(super) fn format(pattern: &str) -> Result<String, String> {
    let mut text = String::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        text.push_str(match characters.next() {
            Some('Y') => "2024",
            Some('y') => "24",
            Some('m') => "07",
            Some('B') => "July",
            Some('b') => "Jul",
            Some('d') => "26",
            Some('A') => "Friday",
            Some('a') => "Fri",
            Some('H' | 'M' | 'S') => "00",
            Some('%') => "%",
            Some(directive) => return Err(format!("strftime_now: %{directive} is not supported")),
            None => return Err("strftime_now: the format ends in %".to_owned()),
        });
    }
    Ok(text)
}
