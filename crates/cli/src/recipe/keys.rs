//! The known keys of a recipe, read off the section types themselves, and the one nearest to a
//! mistyped key.

use serde::de::value::Error;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

/// A kind of recipe: which sections it has, and which keys each of them.
pub(crate) trait Sections: DeserializeOwned {
    /// The command that reads it.
    const COMMAND: &'static str;

    /// Section and keys, in the order of the documentation.
    fn sections() -> Vec<(&'static str, &'static [&'static str])>;
}

/// The names of the fields that `T` deserialises from.
///
/// # Panics
/// If `T` is not a structure.
pub(super) fn fields<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut names = None;
    let _ = T::deserialize(FieldNames(&mut names));
    names.expect("a section is a structure")
}

/// Fails every deserialisation, but notes the fields that a structure asks for.
struct FieldNames<'a>(&'a mut Option<&'static [&'static str]>);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("only the fields are wanted"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = Some(fields);
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The first key of `table` that the recipe does not know, and the nearest that it does.
pub(super) fn first_unknown<R: Sections>(table: &toml::Table) -> Option<(String, String)> {
    let sections = R::sections();
    for (name, value) in table {
        let Some((_, keys)) = sections.iter().find(|(section, _)| section == name) else {
            let found = match value {
                toml::Value::Table(_) => format!("section [{name}]"),
                _ => format!("key `{name}`"),
            };
            return Some((found, nearest(&sections, None, name)));
        };
        let Some(entries) = value.as_table() else {
            return Some((format!("key `{name}`"), format!("the section [{name}]")));
        };
        if let Some(key) = entries.keys().find(|key| !keys.contains(&key.as_str())) {
            let found = format!("key `{name}.{key}`");
            return Some((found, nearest(&sections, Some(name), key)));
        }
    }
    None
}

type Known = (&'static str, &'static [&'static str]);

/// The section or key whose name is the fewest edits away; among equals one of `home`'s own.
fn nearest(sections: &[Known], home: Option<&str>, name: &str) -> String {
    let whole = sections
        .iter()
        .filter(|_| home.is_none())
        .map(|(section, _)| {
            (
                strsim::damerau_levenshtein(section, name),
                false,
                format!("[{section}]"),
            )
        });
    let keys = sections.iter().flat_map(|(section, keys)| {
        let away = home != Some(section);
        keys.iter().map(move |key| {
            (
                strsim::damerau_levenshtein(key, name),
                away,
                format!("`{section}.{key}`"),
            )
        })
    });
    let (.., best) = whole
        .chain(keys)
        .min_by_key(|&(edits, away, _)| (edits, away))
        .expect("a recipe has sections");
    best
}
