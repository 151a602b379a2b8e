"""Texts, ids and decoded texts of chat tokenizers, by transformers.

pip install transformers==5.23.0 jinja2
usage: python scripts/reference/transformers_tokenizer.py DATA > FIXTURE
writes crates/model/tests/fixtures/transformers_tokenizer.json; DATA holds `chat_templates`,
`tokenizers` and `models`.

The date is pinned to 26 July 2024, as the crate pins it. Tokenizers are read from tokenizer.json
itself: for LlamaTokenizer, AutoTokenizer of transformers 5 builds another one from the vocabulary
alone, which drops characters it does not know where tokenizer.json says <unk>.
"""

import datetime
import json
import random
import sys
from pathlib import Path

import transformers.utils.chat_template_utils as chat
from transformers import GPT2Tokenizer, PreTrainedTokenizerFast, Qwen2Tokenizer

DATA = Path(sys.argv[1])


class PinnedDate(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26)


chat.datetime = PinnedDate

SYSTEM = "Verify each claim before you state it.\nUse <reasoning>…</reasoning>, then <answer>."
QUESTION = 'What is 2 + 2?  Say "four" in 日本語 & <b>bold</b>.\n'
ANSWER = "<think>\nTwo and two.\n</think>\n\nIt's 4. \t"
CONVERSATIONS = [
    [("system", SYSTEM), ("user", QUESTION)],
    [("user", "  Hi\n\n there ")],
    [("system", SYSTEM), ("user", QUESTION), ("assistant", ANSWER), ("user", "Why?")],
    [("user", "a"), ("assistant", "<reasoning>b</reasoning><answer>c</answer>"), ("user", "")],
    [("system", "only a system turn")],
    [("user", "one"), ("user", "two")],
]
TEXTS = [
    "Hello there,  wörld\n 你好 😀 ok  \n\n  def f(x): return 12345 <|im_end|> y</s>",
    " leading, trailing ",
    "",
    "<reasoning>\nIt's 3.14; they'll   see…\n</reasoning>\n<answer>\t42</answer>",
    "Привет, мир! Ünïcödé é ไทย 👩‍👩‍👧 \u00a0\u2003x\r\n",
    "Once upon a time, there was a little girl named Lily.",
    "I'LL say we'Re 1234567890 x=3.5e-7;\t\ttabs\r\n\r\n\n   end  ",
    "<|im_start|>user\nhi<|im_end|>\n<|endoftext|><tool_call>e\u0301 \u1e9b\u0323</tool_call>",
]
TEMPLATES = {
    "chat_templates/trl/qwen2_5.jinja": {"eos_token": "<|im_end|>"},
    "chat_templates/trl/qwen3.jinja": {"eos_token": "<|im_end|>"},
    "chat_templates/trl/llama3_2.jinja": {
        "bos_token": "<|begin_of_text|>",
        "eos_token": "<|eot_id|>",
    },
    "chat_templates/trl/gemma3.jinja": {"bos_token": "<bos>", "eos_token": "<eos>"},
    "chat_templates/trl/phi3.jinja": {"bos_token": "<s>", "eos_token": "<|endoftext|>"},
    "chat_templates/llama_cpp/HuggingFaceTB-SmolLM3-3B.jinja": {"eos_token": "<|im_end|>"},
    "chat_templates/llama_cpp/Qwen-Qwen3-0.6B.jinja": {"eos_token": "<|im_end|>"},
    "tokenizers/qwen2.5-0.5b-instruct/tokenizer_config.json": {"eos_token": "<|im_end|>"},
}
TOKENIZERS = {
    "tokenizers/smollm2-135m-instruct": {
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
    },
    "tokenizers/phi-3-mini": {
        "bos_token": "<s>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<unk>",
    },
    "models/tinystories-656k-bf16": {
        "bos_token": "<|start_story|>",
        "eos_token": "<|end_story|>",
        "unk_token": "<unk>",
    },
}


# Folders of vocab.json and merges.txt alone, with the class that reads them.
PARTS = {
    "tokenizers/gpt2": GPT2Tokenizer,
    "tokenizers/qwen2.5-0.5b-instruct": Qwen2Tokenizer,
}


def template_of(path):
    text = (DATA / path).read_text()
    return json.loads(text)["chat_template"] if path.endswith(".json") else text


def rendered(template, special, conversation):
    messages = [{"role": role, "content": content} for role, content in conversation]
    case = {"messages": conversation}
    try:
        texts, _ = chat.render_jinja_template(
            [messages], chat_template=template, add_generation_prompt=True, **special
        )
        case["text"] = texts[0]
        texts, _ = chat.render_jinja_template(
            [messages], chat_template=template, add_generation_prompt=False, **special
        )
        case["unprompted"] = texts[0]
    except Exception as error:  # noqa: BLE001 - a template raises what it likes
        case["error"] = str(error)
    return case


def template_cases(path, special):
    template = template_of(path)
    cases = [rendered(template, special, conversation) for conversation in CONVERSATIONS]
    return {"file": path, "special": special, "cases": cases}


def whole_file(folder, special):
    return PreTrainedTokenizerFast(
        tokenizer_file=str(DATA / folder / "tokenizer.json"),
        clean_up_tokenization_spaces=False,
        **special,
    )


def tokenizer_cases(folder, tokenizer, special):
    # By id: a special token that is also `normalized` escapes `skip_special_tokens`.
    added = tokenizer.added_tokens_decoder.items()
    special_ids = {id for id, token in added if token.special}
    draw = random.Random(7)
    sequences = [
        [draw.randrange(len(tokenizer)) for _ in range(40)],
        [draw.randrange(300) for _ in range(60)],
        tokenizer.encode("你好 😀 é", add_special_tokens=False)[:-1],
    ]
    result = {
        "folder": folder,
        "encoded": [
            {"text": text, "ids": tokenizer.encode(text, add_special_tokens=False)}
            for text in TEXTS
        ],
    }
    sequences += [case["ids"] for case in result["encoded"]]
    result["decoded"] = [
        {"ids": ids, "text": tokenizer.decode([id for id in ids if id not in special_ids])}
        for ids in sequences
    ]
    if special and folder.startswith("tokenizers"):
        inside = DATA / folder / "chat_template.jinja"
        path = f"{folder}/{'chat_template.jinja' if inside.exists() else 'tokenizer_config.json'}"
        renders = [rendered(template_of(path), special, talk) for talk in CONVERSATIONS]
        for case in renders:
            case["ids"] = tokenizer.encode(case["text"], add_special_tokens=False)
        result["rendered"] = renders
    return result


json.dump(
    {
        "templates": [template_cases(*item) for item in TEMPLATES.items()],
        "tokenizers": [
            tokenizer_cases(folder, whole_file(folder, special), special)
            for folder, special in TOKENIZERS.items()
        ]
        + [
            tokenizer_cases(folder, kind.from_pretrained(DATA / folder), {})
            for folder, kind in PARTS.items()
        ],
    },
    sys.stdout,
    ensure_ascii=False,
    indent=None,
    separators=(",", ":"),
)
