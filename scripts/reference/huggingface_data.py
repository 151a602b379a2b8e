"""Small Parquet files, written by pyarrow and datasets, and the rows that these read back.

pip install pyarrow datasets
python scripts/reference/huggingface_data.py

Writes crates/cli/src/data/fixtures/: one file a codec with rows of text, nulls, numbers, nested
messages and a column of dictionary values; `datasets.parquet` as `Dataset.to_parquet` writes it;
and `rows.jsonl`, the same rows as JSON lines.
"""

import json
import pathlib

import datasets
import pyarrow
import pyarrow.parquet

FOLDER = pathlib.Path(__file__).parents[2] / "crates/cli/src/data/fixtures"

ROWS = [
    {
        "prompt": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": f"What is {n} + {n}? ☃"},
        ],
        "solution": None if n == 2 else str(2 * n),
        "level": ["easy", "hard"][n % 2],
        "score": None if n == 1 else n / 2,
        "count": n,
        "tags": ["sum"] * (n % 3),
        "is_checked": n % 2 == 0,
    }
    for n in range(5)
]

SCHEMA = pyarrow.schema(
    [
        (
            "prompt",
            pyarrow.list_(
                pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())])
            ),
        ),
        ("solution", pyarrow.string()),
        ("level", pyarrow.dictionary(pyarrow.int32(), pyarrow.string())),
        ("score", pyarrow.float64()),
        ("count", pyarrow.int64()),
        ("tags", pyarrow.list_(pyarrow.string())),
        ("is_checked", pyarrow.bool_()),
    ]
)


def main():
    FOLDER.mkdir(exist_ok=True)
    table = pyarrow.Table.from_pylist(ROWS, schema=SCHEMA)
    for codec in ["none", "snappy", "zstd", "gzip", "lz4"]:
        path = FOLDER / f"{codec}.parquet"
        pyarrow.parquet.write_table(
            table, path, compression=codec, row_group_size=3, store_schema=False
        )
        assert pyarrow.parquet.read_table(path).to_pylist() == ROWS, codec
    datasets.Dataset.from_list(ROWS).to_parquet(FOLDER / "datasets.parquet")
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS]
    (FOLDER / "rows.jsonl").write_text("".join(lines), encoding="utf-8")


main()
