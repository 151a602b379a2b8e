//! Recipes good and bad, and what is said of them.

use std::fs;
use std::path::Path;

use super::keys::{self, Sections};
use super::{RecipeText, SftRecipe, TrainRecipe, read};

const SMALLEST: &str = "[model]\npath = 'm'\n[data]\nquestions = 'q'\nheld_out = 'h'\n\
                        [principles]\nfiles = ['p']\n";

fn source(text: &str) -> RecipeText {
    RecipeText {
        name: "r".to_owned(),
        title: "r.toml".to_owned(),
        folder: None,
        text: text.to_owned(),
    }
}

fn complaint(text: &str, overrides: &[&str]) -> String {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    match read::<TrainRecipe>(&source(text), &overrides) {
        Err(error) => error.to_string(),
        Ok(recipe) => recipe.check().expect_err("a mistake").to_string(),
    }
}

/// Text after the smallest recipe (before it, where it has no section), and what is said of it.
const WRONG_KEYS: &[(&str, &str)] = &[
    (
        "[grpo]\nlearning_rat = 1",
        "recipe r.toml: unknown key `grpo.learning_rat` for `enigma train`; \
             the nearest is `optimizer.learning_rate`",
    ),
    (
        "[sampling]\ntemprature = 1",
        "recipe r.toml: unknown key `sampling.temprature` for `enigma train`; \
             the nearest is `sampling.temperature`",
    ),
    (
        "[transport]\nepsilonn = 1",
        "recipe r.toml: unknown key `transport.epsilonn` for `enigma train`; \
             the nearest is `transport.epsilon`",
    ),
    (
        "[optimiser]\nlearning_rate = 1",
        "recipe r.toml: unknown section [optimiser] for `enigma train`; \
             the nearest is [optimizer]",
    ),
    (
        "grpo = 3",
        "recipe r.toml: unknown key `grpo` for `enigma train`; the nearest is the section [grpo]",
    ),
    (
        "[grpo]\nbeta = 'high'",
        "recipe r.toml: invalid type: string \"high\", expected a number in `grpo.beta`",
    ),
    (
        "[grpo]\nloss_type = 'ppo'",
        "recipe r.toml: unknown variant `ppo`, expected one of `grpo`, `bnpo`, `dr_grpo`, \
             `dapo` in `grpo.loss_type`",
    ),
];

const WRONG_NUMBERS: &[(&str, &str)] = &[
    (
        "[sampling]\nnum_generations = 1",
        "sampling.num_generations is 1; expected 2 or more, because advantages compare the \
             completions of a group",
    ),
    (
        "[sampling]\ntemperature = 0",
        "sampling.temperature is 0; expected a number above 0",
    ),
    (
        "[sampling]\ntemperature = -0.5",
        "sampling.temperature is -0.5; expected a number above 0",
    ),
    (
        "[sampling]\ntop_p = 1.5",
        "sampling.top_p is 1.5; expected above 0, at most 1",
    ),
    (
        "[transport]\nepsilon = 0",
        "transport.epsilon is 0; expected a number above 0",
    ),
    (
        "[grpo]\nepsilon = -1",
        "grpo.epsilon is -1; expected a number above 0",
    ),
    (
        "[grpo]\nbeta = nan",
        "grpo.beta is NaN; expected 0 or a number above",
    ),
    (
        "[rewards]\nformat = 0",
        "rewards.format is 0 and every other reward too; expected at least one reward with a \
             weight",
    ),
    (
        "[format]\npreset = 'think'\nanswer_tag = 'a'",
        "format.preset is `think`, which has its own tags; expected no `reasoning_tag` or \
             `answer_tag` beside it",
    ),
    (
        "[run]\nmax_steps = 0",
        "run.max_steps is 0; expected 1 or more",
    ),
    (
        "[optimizer]\nadam_beta2 = 1",
        "optimizer.adam_beta2 is 1; expected 0 or above, below 1",
    ),
];

#[test]
fn every_mistake_in_a_recipe_has_its_own_line() {
    for (text, expected) in WRONG_KEYS.iter().chain(WRONG_NUMBERS) {
        let text = if text.starts_with('[') {
            format!("{SMALLEST}{text}")
        } else {
            format!("{text}\n{SMALLEST}")
        };
        assert_eq!(complaint(&text, &[]), *expected, "for:\n{text}");
    }
}

#[test]
fn a_recipe_without_what_it_needs_says_what_is_missing() {
    assert_eq!(complaint("", &[]), "recipe r.toml: missing field `model`");
    let without = SMALLEST.replace("path = 'm'\n", "");
    assert_eq!(
        complaint(&without, &[]),
        "recipe r.toml: missing field `path` in `model`"
    );
    assert_eq!(
        complaint(SMALLEST, &["principles.files=calm.toml"]),
        "recipe r.toml: invalid type: string \"calm.toml\", expected a list in `principles.files`"
    );
    assert_eq!(
        complaint(SMALLEST, &["principles.files=[]"]),
        "principles.files is empty; expected one constitution file or more"
    );
    assert_eq!(
        complaint(SMALLEST, &["model.add_tokens=['<a>', '']"]),
        "model.add_tokens is a list with an empty text; expected tokens of one character or more"
    );
}

#[test]
fn a_syntax_error_names_its_line() {
    let found = complaint("[model]\npath = 'm'\n[data\nquestions = 'q'\n", &[]);
    assert!(found.starts_with("recipe r.toml, line 3: "), "{found}");
    assert_eq!(found.lines().count(), 1, "{found}");
}

#[test]
fn overrides_meet_the_same_checks_and_the_last_one_wins() {
    let overrides = [
        "grpo.beta=0.25",
        "model.path=../some folder",
        "grpo.beta=0.5",
    ];
    let overrides = overrides.map(ToOwned::to_owned);
    let recipe: TrainRecipe = read(&source(SMALLEST), &overrides).expect("a good recipe");
    assert!(
        (recipe.grpo.beta - 0.5).abs() < 1e-15,
        "{}",
        recipe.grpo.beta
    );
    assert_eq!(recipe.model.path, "../some folder");
    for (assignment, expected) in [
        (
            "grpo",
            "--set grpo: expected SECTION.KEY=VALUE, as in --set grpo.beta=0.04",
        ),
        (
            "beta=1",
            "--set beta=1: expected SECTION.KEY=VALUE, as in --set grpo.beta=0.04",
        ),
        (
            "grpo.bta=1",
            "recipe r.toml: unknown key `grpo.bta` for `enigma train`; the nearest is `grpo.beta`",
        ),
        (
            "sampling.temperature=0",
            "sampling.temperature is 0; expected a number above 0",
        ),
        (
            "run.seed=-1",
            "recipe r.toml: invalid value: integer `-1`, expected a whole number from 0 in \
             `run.seed`",
        ),
    ] {
        assert_eq!(complaint(SMALLEST, &[assignment]), expected);
    }
}

#[test]
fn a_resolved_recipe_reads_as_itself() {
    let recipe: TrainRecipe = read(&source(SMALLEST), &[]).expect("a good recipe");
    let text = toml::to_string(&recipe).expect("a recipe is TOML");
    let again: TrainRecipe = read(&source(&text), &[]).expect("its own text");
    assert_eq!(toml::to_string(&again).expect("a recipe is TOML"), text);
    assert!(text.contains("num_generations = 4"), "{text}");
}

#[test]
fn the_list_of_sections_holds_every_field_of_the_recipe() {
    fn listed<R: Sections>() -> Vec<&'static str> {
        R::sections()
            .into_iter()
            .map(|(section, _)| section)
            .collect()
    }
    assert_eq!(listed::<TrainRecipe>(), keys::fields::<TrainRecipe>());
    assert_eq!(listed::<SftRecipe>(), keys::fields::<SftRecipe>());
}

#[test]
fn every_recipe_of_the_repository_reads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let mut read_ones = 0;
    for entry in fs::read_dir(folder).expect("the repository has recipes") {
        let path = entry.expect("readable").path();
        if path.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        let source = RecipeText::open(&path).expect("readable");
        // A study is a file of its own kind, which `train --study` reads.
        if source.name.starts_with("study") {
            continue;
        }
        let result = if source.name.ends_with("sft") {
            read::<SftRecipe>(&source, &[]).map(|recipe| recipe.check())
        } else {
            read::<TrainRecipe>(&source, &[]).map(|recipe| recipe.check())
        };
        assert_eq!(result, Ok(Ok(())), "{}", path.display());
        read_ones += 1;
    }
    assert!(read_ones >= 4, "{read_ones} recipes");
}
