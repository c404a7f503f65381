import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kdcore import KDError
from kdlab import document
from kdlab.preset import (
    Cell,
    Preset,
    all_cells,
    load_preset,
    read_preset,
    sweep_cells,
    table1_cells,
)

ROOT = Path(__file__).parent.parent


def read(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


@pytest.fixture
def paper() -> dict:
    return read("config/paper.yaml")


@pytest.mark.parametrize("path", sorted(ROOT.glob("config/*.yaml")), ids=lambda p: p.name)
def test_presets_are_valid(path):
    if path.name != "paper_numbers.yaml":
        assert load_preset(read(path)).preset == path.stem


def test_the_paper_preset_asks_for_what_the_paper_shows(paper):
    preset = load_preset(paper)
    rows = {(cell.size, cell.codes, cell.transform) for cell in table1_cells(preset)}
    printed = read("config/paper_numbers.yaml")["table1"]
    asked = {(size, *row.split("+")) for size, numbers in printed.items() for row in numbers}
    assert len(asked) == 14
    beyond = {
        row for row in rows
        if row[0] == "small-dropout" or row[1] == "refined" or row[2].endswith("_dropout")
    }  # fmt: skip
    assert rows - beyond == asked and len(beyond) == 3 + 2 + 7
    # With dropout of symbols every coded row of the small model stands again.
    without = {row[1:] for row in rows if row[0] == "small" and row not in beyond}
    dropping = {(c, t.removesuffix("_dropout")) for _, c, t in beyond if t.endswith("_dropout")}
    assert dropping == without - {("none", "none")} | {("refined", "linear")}
    kd = preset.kd_embedding
    for plain, named in ((kd.linear, kd.linear_dropout), (kd.lstm, kd.lstm_dropout)):
        assert named == plain.model_copy(update={"gradient_scale": 0.1, "dropout": 0.2})
    same = preset.sizes["small"].model_copy(update={"word_dropout": 0.2})
    assert preset.sizes["small-dropout"] == same
    assert (preset.table1.K, preset.table1.D) == (50, 10)
    clustering = preset.figure3.clustering
    assert (clustering.nodes, clustering.clusters, clustering.dim, clustering.K) == (
        10_000, 100, 10, 100,
    )  # fmt: skip
    assert (preset.table2.K, preset.table2.D) == (6, 4)
    small = preset.sizes["small"]
    assert (small.hidden, small.epochs, small.full_rate_epochs, small.decay) == (200, 13, 4, 0.5)


def test_a_sweeps_default_is_the_tables_cell(paper):
    preset = load_preset(paper)
    shared = set(table1_cells(preset)) & set(sweep_cells(preset))
    assert Cell("small", "linear", "linear", 50, 10, 1) in shared
    assert len(all_cells(preset)) == len(set(all_cells(preset)))


def test_a_size_retrains_with_its_own_settings_of_a_transform_or_with_those_of_all(paper):
    embedding = load_preset(paper).kd_embedding
    assert embedding.of("small", "linear") == embedding.of("large", "linear") == embedding.linear
    own = embedding.of("small-dropout", "linear")
    assert own == embedding.linear.model_copy(update={"gradient_scale": 0.1})
    assert embedding.of("small-dropout", "lstm") == embedding.lstm


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"presett": 1}, "presett: Extra inputs"),
        ({"preset": "My Preset"}, "preset: String should match"),
        ({"table1.K": 1}, "table1.K: Input should be greater than or equal to 2"),
        ({"table1.D": 0}, "table1.D: Input should be greater than or equal to 1"),
        ({"table1.sizes": ["huge"]}, "model size 'huge' is not defined"),
        ({"table1.sizes": ["small", "small"]}, "same size twice"),
        ({"table1.rows": 2 * [{"codes": "none", "transform": "none"}]}, "same row twice"),
        ({"sizes.small.learning_rate": "1e-3"}, r"not '1e-3' \(YAML reads 1e-3 as text"),
        ({"sizes.small.keep": 1.5}, "sizes.small.keep: Input should be less than or equal to 1"),
        ({"sizes.small.epoch": 3}, "sizes.small.epoch: Extra inputs"),
        ({"corpus": {"kind": "wiki"}}, "corpus: Input tag 'wiki'"),
        ({"compute.device": "tpu"}, "compute.device: Input should be 'auto', 'cpu' or 'cuda'"),
        ({"compute.bfloat16": ["huge"]}, "model size 'huge' is not defined"),
        ({"code_learning.linear.temperature.T0": 0.0}, "temperature.T0"),
        ({"kd_embedding.linear.cell": "printed"}, "the linear transform has no cell"),
        (
            {"kd_embedding.by_size.small-dropout.linear.cell": "printed"},
            "kd_embedding.by_size.small-dropout.linear: the linear transform has no cell",
        ),
        (
            {"kd_embedding.by_size.small": {"lstm": {"init_scale": 1.0, "cell": "printed"}}},
            "kd_embedding.by_size.small.lstm: another cell",
        ),
        ({"kd_embedding.lstm_dropout.cell": "printed"}, "lstm_dropout: another cell than the"),
        ({"kd_embedding.lstm_dropout.dropout": 0.0}, "kd_embedding.lstm_dropout needs a dropout"),
        ({"kd_embedding.lstm_dropout": None}, "lstm_dropout needs kd_embedding.lstm_dropout"),
        ({"kd_embedding.by_size.huge": {}}, "model size 'huge' is not defined"),
        ({"kd_embedding.linear_dropout": None}, "linear_dropout needs kd_embedding.linear_dropout"),
        (
            {"kd_embedding.linear_dropout.dropout": 0.0},
            "kd_embedding.linear_dropout needs a dropout",
        ),
        (
            {"kd_embedding.by_size.small": {"linear_dropout": {"init_scale": 1.0}}},
            "by_size.small.linear_dropout needs a dropout",
        ),
        (
            {"kd_embedding.linear_dropout.cell": "printed"},
            "kd_embedding.linear_dropout: the linear transform has no cell",
        ),
        ({"sizes.small.word_dropout": 1.0}, "word_dropout: Input should be less than 1"),
        (
            {
                "table1.sizes": ["small", "large"],
                "table1.rows": [{"codes": "none", "transform": "none", "not_for": ["large"]}],
            },
            "table1 has no row of size 'large'",
        ),
        (
            {"table1.rows": 2 * [{"codes": "none", "transform": "none"}], "table1.sizes": []},
            "table1.sizes: List should have at least 1 item",
        ),
        (
            {
                "table1.sizes": ["small"],
                "table1.rows": [{"codes": "none", "transform": "none", "not_for": ["huge"]}],
            },
            "model size 'huge' is not defined",
        ),
        (
            {
                "kd_embedding.linear_dropout": None,
                "kd_embedding.by_size.small": {
                    "linear_dropout": {"init_scale": 1.0, "dropout": 0.1}
                },
            },
            "linear_dropout needs kd_embedding.linear_dropout",
        ),
        (
            {"table2.learning.refinement": {}},
            "table2.learning.refinement.count_power must be 0: word vectors have no counts",
        ),
        (
            {"table2.learning.standardise": True, "table2.learning.code_dim": 60},
            "table2.learning: standardise is for the linear transform without H",
        ),
        (
            {"code_learning.lstm.standardise": True},
            "code_learning.lstm: standardise is for the linear transform without H",
        ),
        (
            {"code_learning.linear.standardise": True},  # the large model has 1,500 numbers
            "code_learning.linear: standardise is for the linear transform without H",
        ),
        ({"table2.learning.cell": "printed"}, "table2.learning: the linear transform has no cell"),
        ({"figure3.sweep.K": [1, 50]}, r"figure3.sweep.K.0"),
        ({"figure3.sweep.K": [2, 20]}, r"figure3.sweep.K needs table1.K = 50"),
        ({"sizes": {"we/ird": {}}}, "we/ird"),
        ({"corpus": {"kind": "text", "folder": "x"}}, "beside_paper needs the paper's text"),
    ],
)
def test_a_wrong_key_type_or_range_is_one_line(paper, change, message):
    for path, value in change.items():
        *parents, last = path.split(".")
        section = paper
        for parent in parents:
            section = section[parent]
        section[last] = value
    with pytest.raises(KDError, match=message) as caught:
        load_preset(paper)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_preset_is_one_line(tmp_path):
    path = tmp_path / "x.yaml"
    for text, message in (("", "not a mapping"), ("a: [", "not YAML"), (None, "No such file")):
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
        with pytest.raises(KDError, match=message) as caught:
            read_preset(path)
        assert "\n" not in str(caught.value)


def test_rows_name_both_codes_and_transform_or_neither(paper):
    paper["table1"]["rows"][0]["transform"] = "linear"
    with pytest.raises(KDError, match="both 'none' or neither"):
        load_preset(paper)


def test_documentation_is_that_of_the_schema():
    assert (ROOT / "config/README.md").read_text(encoding="utf-8") == document.readme()
    assert (ROOT / "config/schema.json").read_text(encoding="utf-8") == document.schema()
    found = (ROOT / "workflow/environment.yaml").read_text(encoding="utf-8")
    assert found == document.environment()


def test_the_readme_shows_the_table_that_was_measured():
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    table = (ROOT / "results/paper/table1.md").read_text(encoding="utf-8")
    assert page == document.with_table1(page, table)
    assert table in page


def test_every_setting_is_described():
    def walk(model):
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
            for section in document._sections(field.annotation):
                assert section.__doc__
                walk(section)

    walk(Preset)


def test_every_snakemake_command_that_is_printed_parses():
    """Options that take several values swallow a target that no `--` separates."""
    from snakemake.cli import get_argument_parser

    files = [ROOT / "README.md", ROOT / "Snakefile", *sorted((ROOT / "config").glob("*.yaml"))]
    texts = [path.read_text(encoding="utf-8") for path in files]
    inline = re.compile(r"`(snakemake --[^`]+)`")
    line = re.compile(r"^[# ]*(snakemake --.+?)(?:  .*)?$", re.M)
    commands = [c for text in texts for c in inline.findall(text) + line.findall(text)]
    assert len(commands) >= 8
    sizes = {"table1_small", "table1_small-dropout", "table1_medium", "table1_large", "codes_large"}
    for command in commands:
        words = shlex.split(command, comments=True)[1:]
        parsed = get_argument_parser().parse_args(words)
        assert set(parsed.targets) <= {"all", "figure3", "table2", *sizes}
        assert all(Path(ROOT / path).is_file() for path in parsed.configfile or []), command


def test_every_python_command_that_is_printed_starts():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = set(re.findall(r"`(python (?:-m )?[\w./]+)", text))
    assert commands >= {"python -m benchmarks.language_model"}
    for command in commands:
        words = [sys.executable, *command.split()[1:], "--help"]
        if "unlock" not in command:  # it has no options
            subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
