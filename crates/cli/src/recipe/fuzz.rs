//! Damaged recipes: none may make the reader panic.

use ::fuzz::fuzz;

use super::{RecipeText, SftRecipe, TrainRecipe, read};

const WORDS: [&str; 22] = [
    "[model]",
    "[data]",
    "[principles]",
    "[lora]",
    "[rewards]",
    "[[rewards.command]]",
    "[grpo]",
    "[sami]",
    "[sinkhorn]",
    "[sampling]",
    "[save]",
    "[optimizer]",
    "path",
    "files",
    "nan",
    "inf",
    "\"\"\"",
    "'''",
    "[[",
    "]]",
    "0x10",
    "1979-05-27",
];

fn recipes() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../recipes");
    let names = ["nano", "nano-lora", "nano-sft", "gsm8k", "gsm8k-sft"];
    let read = |name| std::fs::read(format!("{folder}/{name}.toml")).expect("a recipe");
    names.map(read).to_vec()
}

#[test]
fn a_damaged_recipe_is_refused_or_read() {
    fuzz("recipe", &recipes(), &WORDS, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let line = text.lines().next_back().unwrap_or_default().to_owned();
        let source = RecipeText {
            name: "r".to_owned(),
            title: "r.toml".to_owned(),
            folder: None,
            text: text.into_owned(),
        };
        if let Ok(recipe) = read::<TrainRecipe>(&source, &[]) {
            let _ = recipe.check();
        }
        let overrides = [line];
        if let Ok(recipe) = read::<SftRecipe>(&source, &overrides) {
            let _ = recipe.check();
        }
    });
}
