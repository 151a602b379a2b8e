//! Parity with transformers, and the border between ids and text.

use std::{collections::BTreeMap, path::PathBuf};

use policy::Role;
use serde::Deserialize;

use super::*;

/// Texts, ids and decoded texts by `scripts/reference/transformers_tokenizer.py`.
const FIXTURE: &str = include_str!("../../tests/fixtures/transformers_tokenizer.json");

#[derive(Deserialize)]
struct Fixture {
    templates: Vec<TemplateFixture>,
    tokenizers: Vec<TokenizerFixture>,
}

#[derive(Deserialize)]
struct TemplateFixture {
    file: String,
    special: BTreeMap<String, String>,
    cases: Vec<Rendered>,
}

#[derive(Deserialize)]
struct TokenizerFixture {
    folder: String,
    encoded: Vec<Pair>,
    decoded: Vec<Pair>,
    #[serde(default)]
    rendered: Vec<Rendered>,
}

#[derive(Deserialize)]
struct Pair {
    text: String,
    ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Rendered {
    messages: Vec<(String, String)>,
    text: Option<String>,
    /// Without what comes before the assistant's words.
    unprompted: Option<String>,
    error: Option<String>,
    ids: Option<Vec<u32>>,
}

impl Rendered {
    fn messages(&self) -> Vec<Message> {
        let turn = |(role, content): &(String, String)| {
            let roles = [Role::System, Role::User, Role::Assistant];
            let role = roles.into_iter().find(|known| known.name() == role);
            Message::new(role.expect("a known role"), content)
        };
        self.messages.iter().map(turn).collect()
    }
}

fn fixture() -> Fixture {
    serde_json::from_str(FIXTURE).expect("the fixture parses")
}

fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data")
        .join(path);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is absent", path.display());
    None
}

/// The tokenizer of a folder, under a configuration that stands in for its own.
fn open(folder: &str) -> Option<ChatTokenizer> {
    let source = Source::Folder(shared(folder)?);
    let tokenizer = ChatTokenizer::open(&source, &config(151_936), Some(PLAIN_TEMPLATE));
    Some(tokenizer.expect(folder))
}

fn config(vocabulary: usize) -> Config {
    let shape = crate::Shape {
        family: crate::Family::Llama,
        hidden_size: 2,
        layers: 1,
        query_heads: 1,
        key_value_heads: 1,
        intermediate_size: 2,
        vocabulary,
        max_position_embeddings: 8,
        eos_token_ids: vec![2],
    };
    Config::fresh(&shape).expect("valid")
}

fn turn(role: Role, content: &str) -> Message {
    Message::new(role, content)
}

#[test]
fn templates_render_as_transformers_renders_them() {
    for template in fixture().templates {
        let Some(path) = shared(&template.file) else {
            return;
        };
        let text = fs::read_to_string(path).expect("read");
        let source = match serde_json::from_str::<Map<String, Value>>(&text) {
            Ok(settings) => template_of(&settings).expect("a template"),
            Err(_) => text,
        };
        let special = template.special.into_iter().collect();
        let compiled = ChatTemplate::compile(&source, special).expect(&template.file);
        for case in &template.cases {
            let rendered = compiled.render(&case.messages(), true);
            match (&case.text, &case.error, rendered) {
                (Some(text), _, Ok(rendered)) => assert_eq!(&rendered, text, "{}", template.file),
                (_, Some(error), Err(TextError::Template { reason })) => {
                    assert!(reason.starts_with(error), "{}: {reason}", template.file);
                }
                (text, _, rendered) => panic!("{}: {text:?} {rendered:?}", template.file),
            }
            let unprompted = compiled.render(&case.messages(), false).ok();
            assert_eq!(unprompted, case.unprompted, "{}", template.file);
        }
    }
}

#[test]
fn ids_and_decoded_texts_are_those_of_transformers() {
    for case in fixture().tokenizers {
        let Some(tokenizer) = open(&case.folder) else {
            return;
        };
        for Pair { text, ids } in &case.encoded {
            assert_eq!(
                &tokenizer.encode(text).expect("encoded"),
                ids,
                "{}: {text}",
                case.folder
            );
        }
        for Pair { text, ids } in &case.decoded {
            assert_eq!(&tokenizer.decode(ids), text, "{}: {ids:?}", case.folder);
        }
        for rendered in &case.rendered {
            let ids = tokenizer.render(&rendered.messages()).expect("rendered");
            assert_eq!(
                Some(ids),
                rendered.ids,
                "{}: {:?}",
                case.folder,
                rendered.text
            );
        }
    }
}

#[test]
fn pieces_join_to_the_decoded_text() {
    for case in fixture().tokenizers {
        let Some(tokenizer) = open(&case.folder) else {
            return;
        };
        for Pair { ids, .. } in case.decoded.iter().chain(&case.encoded) {
            for end in 0..=ids.len() {
                let pieces = tokenizer.pieces(&ids[..end]);
                assert_eq!(pieces.len(), end);
                let text = tokenizer.decode(&ids[..end]);
                assert_eq!(pieces.concat(), text, "{}: {:?}", case.folder, &ids[..end]);
            }
        }
    }
}

#[test]
fn a_character_of_several_ids_comes_with_the_last_of_them() {
    let folders = ["tokenizers/smollm2-135m-instruct", "tokenizers/phi-3-mini"];
    for folder in folders {
        let Some(tokenizer) = open(folder) else {
            return;
        };
        let ids = tokenizer.encode("x 😀🦀 ok").expect("encoded");
        let pieces = tokenizer.pieces(&ids);
        let places: Vec<usize> = (0..ids.len())
            .filter(|&at| pieces[at].contains(['😀', '🦀']))
            .collect();
        assert!(
            pieces.iter().all(|piece| !piece.contains('\u{FFFD}')),
            "{pieces:?}"
        );
        assert_eq!(places.len(), 2, "{folder}: {pieces:?}");
        assert!(
            pieces[places[0] + 1..places[1]]
                .iter()
                .all(String::is_empty),
            "{pieces:?}"
        );
        assert!(places[1] > places[0] + 1, "{folder}: {pieces:?}");
    }
}

#[test]
fn a_special_id_adds_nothing_and_keeps_the_space_that_follows() {
    let Some(tokenizer) = open("tokenizers/phi-3-mini") else {
        return;
    };
    let mut ids = tokenizer.encode("Hello world").expect("encoded");
    ids.insert(1, 1);
    ids.insert(0, 1);
    assert_eq!(tokenizer.pieces(&ids), ["", "Hello", "", " world"]);
}

#[test]
fn pieces_of_a_long_run_of_lone_bytes_cost_no_more_than_linear_time() {
    let Some(tokenizer) = open("tokenizers/smollm2-135m-instruct") else {
        return;
    };
    let crab = tokenizer.encode("🦀").expect("encoded");
    let lone = vec![*crab.last().expect("several ids"); 20_000];
    let started = std::time::Instant::now();
    let pieces = tokenizer.pieces(&lone);
    assert_eq!(pieces.concat(), tokenizer.decode(&lone));
    let seconds = started.elapsed().as_secs_f64();
    assert!(seconds < 5.0, "{seconds} s for 20,000 ids");
}

#[test]
fn a_model_without_a_template_needs_one_and_keeps_it_when_saved() {
    let Some(folder) = shared("models/tinystories-656k-bf16") else {
        return;
    };
    let source = Source::Folder(folder);
    let config = Config::open(&source).expect("valid");
    let error = ChatTokenizer::open(&source, &config, None).expect_err("no template");
    assert!(
        matches!(error, ModelError::MissingTemplate { .. }),
        "{error}"
    );
    let tokenizer = ChatTokenizer::open(&source, &config, Some(PLAIN_TEMPLATE)).expect("valid");
    assert_eq!(tokenizer.end_tokens(), [2]);
    let turns = [turn(Role::System, "Be kind."), turn(Role::User, "Hi")];
    let text = tokenizer.render_text(&turns).expect("rendered");
    assert_eq!(text, "<|start_story|>Be kind.\n\nHi\n");
    let ids = tokenizer.render(&turns).expect("rendered");
    assert_eq!(ids[0], 1, "{ids:?}");

    let saved = std::env::temp_dir().join(format!("enigma-tokenizer-{}", std::process::id()));
    fs::create_dir_all(&saved).expect("a folder");
    tokenizer.save(&saved).expect("written");
    let source = Source::Folder(saved.clone());
    let reopened = ChatTokenizer::open(&source, &config, None);
    fs::remove_dir_all(&saved).expect("removed");
    assert_eq!(reopened.expect("valid").render(&turns), Ok(ids));
}

/// Tags, signs, a token the model knows already, and one of them twice.
const ADDED: [&str; 6] = ["<answer>", "</answer>", "/", "=", "$", "/"];

#[test]
fn added_tokens_are_read_written_and_saved_as_their_own_text() {
    let Some(folder) = shared("models/tinystories-656k-bf16") else {
        return;
    };
    let source = Source::Folder(folder);
    let config = Config::open(&source).expect("valid");
    let mut tokenizer = ChatTokenizer::open(&source, &config, Some(PLAIN_TEMPLATE)).expect("valid");
    let plain = tokenizer.encode("Once upon a time").expect("encoded");
    let ids = tokenizer.add_tokens(&ADDED.map(str::to_owned));
    assert_eq!(ids.expect("added"), 2052);
    assert_eq!(
        tokenizer.encode("Once upon a time").expect("encoded"),
        plain
    );
    let text = "A cat: 48/2 = 24 $5\n<answer>24</answer>";
    let encoded = tokenizer.encode(text).expect("encoded");
    let added: Vec<u32> = encoded.iter().copied().filter(|&id| id >= 2048).collect();
    assert_eq!(added, [2050, 2051, 2048, 2049]);
    assert_eq!(tokenizer.decode(&encoded), text);
    assert_eq!(tokenizer.pieces(&encoded).concat(), text);

    let saved = std::env::temp_dir().join(format!("enigma-added-{}", std::process::id()));
    fs::create_dir_all(&saved).expect("a folder");
    tokenizer.save(&saved).expect("written");
    let source = Source::Folder(saved.clone());
    let mut grown = config.clone();
    grown.grow_vocabulary(2052);
    let too_few = ChatTokenizer::open(&source, &config, None);
    let reopened = ChatTokenizer::open(&source, &grown, None);
    fs::remove_dir_all(&saved).expect("removed");
    assert!(matches!(
        too_few,
        Err(ModelError::VocabularyMismatch { .. })
    ));
    let mut reopened = reopened.expect("valid");
    assert_eq!(reopened.encode(text).expect("encoded"), encoded);
    let again = reopened.add_tokens(&ADDED.map(str::to_owned));
    assert_eq!(again.expect("known"), 2052);
}

#[test]
fn tokens_are_added_to_a_tokenizer_of_bytes_too() {
    let Some(mut tokenizer) = open("tokenizers/smollm2-135m-instruct") else {
        return;
    };
    let text = "So 48/2 = 24.\n</reasoning>\n<answer>24</answer> done";
    let before = tokenizer.encode(text).expect("encoded");
    tokenizer
        .add_tokens(&["<answer>".to_owned()])
        .expect("added");
    let after = tokenizer.encode(text).expect("encoded");
    assert!(after.len() < before.len(), "{} ids", after.len());
    assert_eq!(tokenizer.decode(&after), text);
}

#[test]
fn a_tokenizer_larger_than_the_embedding_is_an_error() {
    let Some(folder) = shared("tokenizers/phi-3-mini") else {
        return;
    };
    let source = Source::Folder(folder);
    let open = |rows| ChatTokenizer::open(&source, &config(rows), None);
    let error = open(32_010).expect_err("too few rows").to_string();
    assert_eq!(
        error,
        "the tokenizer has 32011 ids, the embedding 32010 rows"
    );
    let tokenizer = open(32_011).expect("as many rows as ids");
    assert_eq!(tokenizer.end_tokens(), [32_000, 2]);
}

fn render(source: &str, content: &str) -> Result<String, TextError> {
    let template = ChatTemplate::compile(source, Vec::new()).expect("a valid template");
    template.render(&[turn(Role::User, content)], true)
}

#[test]
fn templates_have_what_transformers_gives_them() {
    let cases = [
        (
            "{{ messages | tojson }}",
            r#"[{"role": "user", "content": "é <b> 'q'"}]"#,
        ),
        (
            "{{ messages[0] | tojson(indent=2) }}",
            "{\n  \"role\": \"user\",\n  \"content\": \"é <b> 'q'\"\n}",
        ),
        (
            "{{ strftime_now('%d %b %Y, %B %A') }}",
            "26 Jul 2024, July Friday",
        ),
        (
            "{% for m in messages %}\n  {% generation %}\n{{ m.content }}\n  \
             {%- endgeneration -%}\n{% endfor %}",
            "é <b> 'q'",
        ),
        (
            "{% for m in messages %}{% break %}x{% endfor %}{{ tools is none }}",
            "True",
        ),
        (
            "{{ messages[0].content.split('<b>')[-1].strip().startswith(\"'\") }}",
            "True",
        ),
        ("{{ bos_token }}{{ messages[0]['missing'] }}|", "|"),
    ];
    for (source, expected) in cases {
        assert_eq!(
            render(source, "é <b> 'q'").expect(source),
            expected,
            "{source}"
        );
    }
}

#[test]
fn a_template_that_fails_says_why_in_one_line() {
    let cases = [
        (
            "{{ raise_exception('No turns, please') }}",
            "No turns, please (line 1)",
        ),
        (
            "\n\n{{ strftime_now('%Q') }}",
            "strftime_now: %Q is not supported (line 3)",
        ),
        (
            "{{ messages[0].content.nothing() }}",
            "string has no method named nothing (line 1)",
        ),
    ];
    for (source, expected) in cases {
        let reason = expected.to_owned();
        let error = render(source, "x").expect_err(source);
        assert!(
            matches!(&error, TextError::Template { reason: r } if r.contains(&reason)),
            "{error}"
        );
    }
    let error = ChatTemplate::compile("{% for %}", Vec::new()).expect_err("no loop");
    assert!(matches!(error, ModelError::Template { .. }), "{error}");
}

/// Files of a tokenizer that was never written as `tokenizer.json`.
fn parts(class: &str) -> (PathBuf, Source) {
    let folder = std::env::temp_dir().join(format!("enigma-{class}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let put = |file: &str, text: &str| fs::write(folder.join(file), text).expect("written");
    put(
        "vocab.json",
        r#"{"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3}"#,
    );
    put("merges.txt", "#version: 0.2\na b\n");
    let settings = format!(r#"{{"tokenizer_class": "{class}"}}"#);
    put("tokenizer_config.json", &settings);
    (folder.clone(), Source::Folder(folder))
}

#[test]
fn vocabulary_and_merges_are_a_tokenizer_that_is_saved_as_one_file() {
    let (folder, source) = parts("GPT2TokenizerFast");
    let open = |source| ChatTokenizer::open(source, &config(4), Some(PLAIN_TEMPLATE));
    let tokenizer = open(&source).expect("valid");
    assert_eq!(tokenizer.encode("abba<|endoftext|>"), Ok(vec![2, 1, 0, 3]));
    assert_eq!(tokenizer.end_tokens(), [3, 2]);
    let facts = tokenizer.facts();
    assert_eq!((facts.ids, facts.template), (4, None));
    fs::remove_file(folder.join("merges.txt")).expect("removed");
    tokenizer.save(&folder).expect("written");
    let reopened = open(&source);
    fs::remove_dir_all(&folder).expect("removed");
    assert_eq!(reopened.expect("valid").encode("ab"), Ok(vec![2]));
}

#[test]
fn a_tokenizer_that_is_split_in_another_way_is_refused_by_its_class() {
    let (folder, source) = parts("CLIPTokenizer");
    let open = || ChatTokenizer::open(&source, &config(4), Some(PLAIN_TEMPLATE));
    let class = open().expect_err("another class").to_string();
    fs::remove_file(folder.join("vocab.json")).expect("removed");
    let none = open().expect_err("half a tokenizer").to_string();
    fs::write(folder.join("tokenizer.model"), "").expect("written");
    let model = open().expect_err("sentence pieces").to_string();
    fs::remove_dir_all(&folder).expect("removed");
    for (error, expected) in [
        (
            class,
            "merges.txt of CLIPTokenizer, which are read for GPT2Tokenizer",
        ),
        (none, "has no tokenizer.json"),
        (
            model,
            "has no tokenizer.json but tokenizer.model; make one with",
        ),
    ] {
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn facts_of_a_template_tell_whether_a_constitution_has_its_place() {
    let facts = |source: &str| {
        let (folder, place) = parts("GPT2Tokenizer");
        fs::write(folder.join("chat_template.jinja"), source).expect("written");
        let tokenizer = ChatTokenizer::open(&place, &config(4), None);
        fs::remove_dir_all(&folder).expect("removed");
        tokenizer.expect("valid").facts().template.expect("its own")
    };
    let turns = "{% for m in messages %}{{ m.content }}{% endfor %}";
    let prompted = format!("{turns}{{% if add_generation_prompt %}}A:{{% endif %}}");
    let found = facts(&prompted);
    assert_eq!(
        (found.refuses_system, found.generation_prompt),
        (None, Some("A:".to_owned()))
    );
    let refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('None') }}{% endif %}x";
    let reason = facts(refusing).refuses_system.expect("refused");
    assert!(reason.contains("None (line 1)"), "{reason}");
    let reason = facts("{{ messages[-1].content }}").refuses_system;
    assert_eq!(reason.expect("left out"), "it leaves the system turn out");
}
