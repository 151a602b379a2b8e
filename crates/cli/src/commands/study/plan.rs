//! A study file, and the runs that it comes to.

use std::path::{Path, PathBuf};

use math::Key;
use record::{PrincipleScore, Scores, write_atomic};
use serde::Deserialize;

use crate::arguments::TrainArguments;
use crate::commands::principles::constitution_text;
use crate::data::find;
use crate::error::InputError;
use crate::nano::NANO;
use crate::plan::run_folder;
use crate::range::some;
use crate::recipe::{RecipeText, TrainRecipe, read};

/// The sets, in the order of the table.
const SETS: [&str; 3] = ["high", "low", "random"];

/// A study file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StudyFile {
    /// The recipe that every run starts from.
    recipe: String,
    /// The pool: constitution files.
    principles: Vec<String>,
    /// Principles of a set.
    size: usize,
    /// Seeds of each set and arm.
    seeds: Vec<u64>,
    /// What every run sets.
    #[serde(default)]
    settings: Vec<String>,
    /// What is compared on each set.
    arm: Vec<Arm>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arm {
    /// Names it in folders and tables.
    name: String,
    /// What its runs set.
    #[serde(default)]
    settings: Vec<String>,
}

/// A study that can begin.
#[derive(Debug)]
pub(super) struct StudyPlan {
    /// The study's folder.
    pub(super) out: PathBuf,
    text: String,
    file: StudyFile,
    recipe_path: PathBuf,
    recipe: TrainRecipe,
    threads: Option<u16>,
}

/// A run of a study.
#[derive(Clone, Debug)]
pub(super) struct StudyRun {
    /// The set of principles: `high`, `low` or `random`.
    pub(super) set: &'static str,
    /// The arm.
    pub(super) arm: String,
    /// The seed.
    pub(super) seed: u64,
    /// Mean index of the set's principles.
    pub(super) si: f64,
    settings: Vec<String>,
    constitution: PathBuf,
}

impl StudyRun {
    /// Its folder.
    pub(super) fn name(&self) -> String {
        format!("{}-{}-{}", self.set, self.arm, self.seed)
    }
}

impl StudyPlan {
    /// Reads a study and the recipe it names.
    ///
    /// # Errors
    /// At the first mistake.
    pub(super) fn open(path: &Path, arguments: &TrainArguments) -> Result<Self, InputError> {
        let RecipeText {
            name,
            title,
            folder,
            text,
        } = RecipeText::open(path)?;
        let mut file: StudyFile = toml::from_str(&text)
            .map_err(|error| InputError::refused(format!("study {title}"), &error))?;
        some("size", file.size)?;
        let repeated = (1..file.seeds.len()).any(|n| file.seeds[..n].contains(&file.seeds[n]));
        if file.seeds.is_empty() || repeated || file.arm.is_empty() {
            return Err(InputError::Said(format!(
                "study {title}: expected one `seeds` or more, each once, and one [[arm]] or more"
            )));
        }
        let recipe_path = find("recipe", &file.recipe, folder.as_deref())?;
        let source = RecipeText::open(&recipe_path)?;
        let mut recipe: TrainRecipe = read(&source, &file.settings)?;
        recipe.check()?;
        let beside = source.folder.as_deref();
        locate("model.path", &mut recipe.model.path, beside)?;
        locate("data.questions", &mut recipe.data.questions, beside)?;
        for word in &mut file.principles {
            if !word.starts_with("nano/") {
                let found = find("principles", word, folder.as_deref())?;
                *word = found.display().to_string();
            }
        }
        let out = match &arguments.run.out {
            Some(out) if out.join("study.toml").is_file() => out.clone(),
            out => run_folder(out.as_deref(), &name)?,
        };
        Ok(Self {
            out: std::path::absolute(&out)
                .map_err(|error| InputError::refused(out.display(), &error))?,
            text,
            file,
            recipe_path,
            recipe,
            threads: arguments.run.machine.threads,
        })
    }

    /// Makes the folder, or finds that it is this study's.
    ///
    /// # Errors
    /// Where it is another's, or cannot be made.
    pub(super) fn begin(&self) -> Result<(), InputError> {
        let refused = |reason: String| InputError::OutNotWritable {
            path: self.out.clone(),
            reason,
        };
        let kept = self.out.join("study.toml");
        if let Ok(found) = std::fs::read_to_string(&kept) {
            return if found == self.text {
                Ok(())
            } else {
                Err(refused("it holds another study".to_owned()))
            };
        }
        std::fs::create_dir_all(&self.out).map_err(|error| refused(error.to_string()))?;
        write_atomic(&kept, self.text.as_bytes()).map_err(|error| refused(error.to_string()))
    }

    /// What scores the pool.
    pub(super) fn score_arguments(&self, out: &Path) -> Vec<String> {
        let TrainRecipe {
            model,
            data,
            format,
            sampling,
            ..
        } = &self.recipe;
        let length = sampling.max_completion_length.to_string();
        let mut words = vec!["principles", "score", "--plain", "--json"];
        words.extend(["--model", &model.path, "--prompts", &data.questions]);
        words.extend(["--max-completion-length", &length]);
        if let Some(instruction) = &format.instruction {
            words.extend(["--instruction", instruction]);
        }
        if let Some(template) = &model.chat_template {
            words.extend(["--chat-template", template]);
        }
        for file in &self.file.principles {
            words.extend(["--principles", file]);
        }
        let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        words.extend(["--out".to_owned(), out.display().to_string()]);
        words
    }

    /// The runs, seed by seed, so that a study that is broken off is even; their constitution files
    /// are written.
    ///
    /// # Errors
    /// Where the pool is too small, or a file cannot be written.
    pub(super) fn runs(&self, scores: &Scores) -> Result<Vec<StudyRun>, InputError> {
        let (pool, size) = (&scores.principles, self.file.size);
        if pool.len() < 2 * size {
            let found = pool.len();
            return Err(InputError::Said(format!(
                "size is {size}; expected at most half of the {found} principles, so that high \
                 and low sets differ"
            )));
        }
        let mut runs = Vec::new();
        for &seed in &self.file.seeds {
            for set in SETS {
                let (name, members) = members(pool, size, set, seed);
                let constitution = self.out.join(format!("{name}.toml"));
                let text = constitution_text(&members);
                write_atomic(&constitution, text.as_bytes())
                    .map_err(|error| InputError::refused(constitution.display(), &error))?;
                let indices: Vec<f64> = members.iter().filter_map(|m| m.si).collect();
                runs.extend(self.file.arm.iter().map(|arm| StudyRun {
                    set,
                    arm: arm.name.clone(),
                    seed,
                    si: math::mean(&indices),
                    settings: arm.settings.clone(),
                    constitution: constitution.clone(),
                }));
            }
        }
        Ok(runs)
    }

    /// What makes a run.
    pub(super) fn train_arguments(&self, run: &StudyRun, folder: &Path) -> Vec<String> {
        let mut words = vec!["train".to_owned(), self.recipe_path.display().to_string()];
        words.extend(["--plain", "--json", "--out"].map(str::to_owned));
        words.push(folder.display().to_string());
        if let Some(threads) = self.threads {
            words.extend(["--threads".to_owned(), threads.to_string()]);
        }
        let own = [
            format!("principles.files=['{}']", run.constitution.display()),
            format!("run.seed={}", run.seed),
        ];
        for setting in self.file.settings.iter().chain(&run.settings).chain(&own) {
            words.extend(["--set".to_owned(), setting.clone()]);
        }
        words
    }

    /// The names of the arms.
    pub(super) fn arms(&self) -> impl Iterator<Item = &str> {
        self.file.arm.iter().map(|arm| arm.name.as_str())
    }

    /// The sets.
    pub(super) fn sets() -> [&'static str; 3] {
        SETS
    }
}

/// Makes a path of a recipe absolute.
fn locate(key: &'static str, word: &mut String, folder: Option<&Path>) -> Result<(), InputError> {
    if word != NANO {
        *word = find(key, word, folder)?.display().to_string();
    }
    Ok(())
}

/// A set's file name and members; `pool` is ranked, and the random set is the seed's own.
fn members<'a>(
    pool: &'a [PrincipleScore],
    size: usize,
    set: &str,
    seed: u64,
) -> (String, Vec<&'a PrincipleScore>) {
    let (name, mut chosen): (String, Vec<usize>) = match set {
        "high" => (set.to_owned(), (0..size).collect()),
        "low" => (set.to_owned(), (pool.len() - size..pool.len()).collect()),
        _ => {
            let order = Key::new(seed).child(0).permutation(pool.len());
            (format!("{set}-{seed}"), order[..size].to_vec())
        }
    };
    chosen.sort_unstable();
    (
        name,
        chosen.into_iter().map(|member| &pool[member]).collect(),
    )
}
