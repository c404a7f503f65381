"""Presets: what they resolve to, and that what is wrong is one clear line."""

import re
from pathlib import Path

import pytest
import yaml

from kdcore.embeddings import EMBEDDINGS
from kdcore.errors import KDError
from kdcore.files import fingerprint, read_json, write_json
from kdcore.learners import LEARNERS
from kdcore.transforms import TRANSFORMS
from kdlab.addresses import identity, upstream
from kdlab.experiment import Experiment, from_dump, load_experiment
from kdlab.figures import FIGURES
from kdlab.planning import RULES, Plan
from kdlab.preset_files import read_preset
from kdlab.texts import TEXTS
from kdlab.vectors import VECTORS

ROOT = Path(__file__).parent.parent
PRESETS = [*sorted((ROOT / "config").glob("[!cp]*.yaml")), ROOT / "config/paper.yaml"]


@pytest.fixture
def values():
    return read_preset(ROOT / "tests/tiny.yaml")


@pytest.fixture
def tiny(values):
    return Experiment("tiny", values)


def at(values: dict, path: str) -> dict:
    """The section that holds the last part of a path."""
    for part in path.split(".")[:-1]:
        values = values[int(part) if isinstance(values, list) else part]
    return values


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_preset_is_valid_and_named_by_its_file(path):
    experiment = load_experiment(path)
    assert experiment.name == path.stem
    assert experiment.models() or experiment.preset.reconstructions


def test_an_experiment_survives_being_written_down(tiny):
    again = from_dump(tiny.dump())
    assert again.name == "tiny"
    assert [run.address for run in again.models()] == [run.address for run in tiny.models()]


def test_equal_settings_have_one_address_whatever_they_are_called(values, tiny):
    values["methods"]["other"] = {**values["methods"]["linear-linear"], "label": "Other"}
    values["codes"]["other"] = {"extends": "linear"}
    values["methods"]["other"]["codes"] = "other"
    renamed = Experiment("renamed", values)
    assert renamed.model("small", "other", 1) == tiny.model("small", "linear-linear", 1)


@pytest.mark.parametrize(
    ("path", "value", "moves"),
    [
        ("models.small.decay", 0.4, ("conventional", "linear-linear", "random-linear")),
        ("codes.linear.epochs", 4, ("linear-linear",)),
        ("codes.plain.epochs", 4, ("refined-linear",)),
        ("embeddings.lstm.fit.epochs", 3, ("lstm-lstm",)),
        ("embeddings.low-rank.rank", 3, ("low-rank",)),
        ("text.seed", 2, ("conventional", "linear-linear", "random-linear", "lstm-lstm")),
        ("methods.low-rank.label", "Another", ()),
        ("compute", {"threads": 2}, ()),
    ],
)
def test_an_address_moves_with_what_it_is_of(values, tiny, path, value, moves):
    before = {m: tiny.model("small", m, 1).address for m in tiny.preset.methods}
    at(values, path)[path.rpartition(".")[2]] = value
    changed = Experiment("tiny", values)
    after = {m: changed.model("small", m, 1).address for m in before}
    assert {m for m in before if before[m] != after[m]} >= set(moves)
    if not moves:
        assert before == after


@pytest.mark.parametrize(
    "module",
    ["kdlab.clustering", "kdcore.learners.straight_through", "kdcore.transforms.linear"],
)
def test_the_address_of_a_clustering_moves_with_each_version_that_it_rests_on(
    tiny, monkeypatch, module
):
    before = {run.address for run in tiny.clustering()}
    monkeypatch.setattr(f"{module}.NUMERICS", 99)
    assert len(before) == 2 and before.isdisjoint(run.address for run in tiny.clustering())


def test_a_default_that_is_written_out_changes_no_address(values, tiny):
    values["models"]["small"]["learning_rate"] = 1.0
    values["codes"]["linear"]["code_rate"] = 0.1
    again = Experiment("tiny", values)
    assert [r.address for r in again.models()] == [r.address for r in tiny.models()]


@pytest.mark.parametrize("kinds", [EMBEDDINGS, LEARNERS, TEXTS, TRANSFORMS, VECTORS])
def test_settings_of_every_kind_have_an_address(kinds):
    for name in kinds.names():
        example = getattr(kinds.load(name), "EXAMPLE", {})
        assert fingerprint(identity(kinds.parse({"kind": name, **example})))


def test_a_tier_of_an_embedding_is_part_of_its_address(values):
    tiers = [{"words": 9, "D": 2}, {"D": 1}]
    values["embeddings"]["tiers"] = {
        "kind": "tiers", "transform": {"kind": "linear"}, "tiers": tiers,
    }  # fmt: skip
    values["methods"]["random-linear"]["embedding"] = "tiers"
    before = Experiment("tiny", values).model("small", "random-linear", 1)
    assert before.spec["embedding"]["tiers"] == tiers
    values["embeddings"]["tiers"]["tiers"] = [{"words": 10, "D": 2}, {"D": 1}]
    assert Experiment("tiny", values).model("small", "random-linear", 1) != before


def test_the_users_own_text_is_part_of_an_address(values, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values["text"] = {"kind": "folder", "folder": "mine"}
    (tmp_path / "mine").mkdir()
    found = []
    for word in ("cat", "dog"):
        for split in ("train", "valid", "test"):
            (tmp_path / f"mine/{split}.txt").write_text(f"a {word}\n")
        found.append(Experiment("tiny", values).text.address)
    (tmp_path / "mine").rename(tmp_path / "moved")
    values["text"]["folder"] = "./moved/"
    found.append(Experiment("tiny", values).text.address)
    assert found[0] != found[1] == found[2]


def test_a_model_can_train_an_embedding_otherwise(tiny):
    own = tiny.model("dropping", "linear-linear", 1).settings["embedding"]
    others = tiny.model("small", "linear-linear", 1).settings["embedding"]
    assert own["fit"] and not others["fit"]
    assert own["transform"]["code_dim"] == others["transform"]["code_dim"]


def test_codes_come_from_the_conventional_model_of_the_same_seed(tiny):
    run = tiny.model("small", "linear-linear", 3)
    source = run.inputs["codes"].inputs["vectors"].inputs["model"]
    assert source == tiny.model("small", "conventional", 3)


def test_another_models_vectors_can_be_named(values):
    values["models"]["dropping"]["vectors"] = {"model": "small"}
    run = Experiment("tiny", values).model("dropping", "linear-linear", 1)
    assert run.inputs["codes"].inputs["vectors"].inputs["model"].names["model"] == "small"


def test_a_method_can_take_its_codes_from_other_vectors_than_the_models(values):
    values["models"]["dropping"]["vectors"] = {"model": "small"}
    values["methods"]["linear-linear"]["vectors"] = {"model": "large", "seed": 2}
    experiment = Experiment("tiny", values)
    for model in ("small", "dropping"):
        vectors = experiment.model(model, "linear-linear", 1).inputs["codes"].inputs["vectors"]
        assert vectors.inputs["model"] == experiment.model("large", "conventional", 2)


def test_a_sweep_varies_one_setting_and_holds_the_others(tiny):
    points = tiny.sweep("figure3")
    assert [(p.swept, p.values) for p in points] == [
        ("codes.K", {"codes.K": 2, "codes.D": 2}), ("codes.K", {"codes.K": 4, "codes.D": 2}),
        ("codes.D", {"codes.K": 4, "codes.D": 1}), ("codes.D", {"codes.K": 4, "codes.D": 2}),
    ]  # fmt: skip
    # Where nothing is otherwise, it is the table's own model.
    assert points[1].run == points[3].run == tiny.model("small", "linear-linear", 1)


def test_a_sweep_holds_what_its_model_trains_otherwise(values):
    vary = {"embedding.gradient_scale": [0.1, 1.0], "embedding.dropout": [0.0, 0.2]}
    values["sweeps"]["steps"] = {"model": "dropping", "method": "linear-linear", "vary": vary}
    experiment = Experiment("tiny", values)
    assert experiment.held("steps")["embedding.gradient_scale"] == 0.1
    dropped = experiment.sweep("steps")[-1]
    assert dropped.run.settings["embedding"]["gradient_scale"] == 0.1
    assert dropped.values == {"embedding.gradient_scale": 0.1, "embedding.dropout": 0.2}


def test_a_sweep_over_refined_codes_varies_where_they_start(values):
    values["sweeps"]["figure3"]["method"] = "refined-linear"
    run = Experiment("tiny", values).sweep("figure3")[0].run
    assert run.inputs["codes"].inputs["start"].settings["learner"]["K"] == 2


def test_what_is_needed_first_comes_first(tiny):
    runs = upstream(tiny.models())
    places = {run: place for place, run in enumerate(runs)}
    assert len(places) == len(runs)
    assert all(places[i] < places[run] for run in runs for i in run.inputs.values())


def test_entries_extend_others_key_by_key(values):
    assert values["models"]["large"]["extends"] == "small"
    large = Experiment("tiny", values).preset.models["large"]
    assert (large.hidden, large.epochs) == (10, 2)


def test_a_preset_extends_another(tmp_path):
    (tmp_path / "base.yaml").write_text((ROOT / "tests/tiny.yaml").read_text())
    (tmp_path / "mine.yaml").write_text(
        "extends: base\nmodels: {small: {epochs: 3}}\nfigures: [figure2]\n"
    )
    mine = load_experiment(tmp_path / "mine.yaml")
    assert mine.name == "mine" and mine.preset.models["small"].epochs == 3
    assert list(mine.preset.figures) == ["figure2"]
    (tmp_path / "base.yaml").write_text("extends: mine\n")
    with pytest.raises(KDError, match=r"goes in a circle: mine\.yaml → base\.yaml → mine\.yaml"):
        load_experiment(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("base", "middle", "mine", "at_fault"),
    [
        ("batch_size: 0", "batch_size: 2", "batch_size: 3", None),
        ("batch_size: 0", "layers: 1", "layers: 2", "base"),
        ("batch_size: 2", "batch_size: 0", "layers: 2", "middle"),
        ("batch_size: 2", "layers: 2", "batch_size: 0", "mine"),
        ("batch_size: -1", "layers: 2", "batch_size: 0", "mine"),
    ],
)
def test_an_error_names_the_file_that_has_it(tmp_path, base, middle, mine, at_fault):
    tiny = yaml.safe_load((ROOT / "tests/tiny.yaml").read_text())
    tiny["models"]["dropping"] |= yaml.safe_load(base)
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(tiny))
    for name, extended, text in [("middle", "base", middle), ("mine", "middle", mine)]:
        path = tmp_path / f"{name}.yaml"
        path.write_text(f"extends: {extended}\nmodels: {{dropping: {{{text}}}}}\n")
    values = yaml.safe_load(path.read_text())
    for load in (load_experiment, lambda file: Plan.of(file, values)):
        if at_fault is None:
            load(path)
            continue
        with pytest.raises(KDError) as caught:
            load(path)
        expected = tmp_path / f"{at_fault}.yaml"
        assert str(caught.value).startswith(
            f"{expected}: models.dropping.batch_size must be above 0"
        )


def test_a_method_may_have_other_seeds_in_another_model(values):
    rows = [
        {"method": "conventional", "seeds": 3, "models": ["small"]},
        {"method": "conventional", "models": ["dropping"]},
    ]
    values["tables"]["table1"]["rows"] = rows
    runs = Experiment("tiny", values).table("table1")
    found = [(run.names["model"], run.names["seed"]) for run in runs]
    assert sorted(found) == [("dropping", 1), ("small", 1), ("small", 2), ("small", 3)]


WRONG = [
    ("codes.random.kind", "rndom", "codes.random: learner kind 'rndom' is unknown; did you mean"),
    ("embeddings.low-rank.rank", 0, "embeddings.low-rank.rank must be at least 1, got 0"),
    ("embeddings.low-rank.rnk", 1, "embeddings.low-rank: key 'rnk' is unknown; did you mean 'ra"),
    ("embeddings.low-rank.kind", "low_rnk", "did you mean 'low_rank'?"),
    ("models.small.dropout", 1.2, "models.small.dropout must be below 1, got 1.2"),
    ("models.small.epochs", "ten", "models.small.epochs must be an integer, got 'ten'"),
    ("models.large.extends", "smal", "models.large.extends: entry of models 'smal' is unknown"),
    ("models.small.extends", "large", "models.small: extends goes in a circle: small → large"),
    ("methods.low-rank.embedding", "lowrank", "methods.low-rank.embedding: entry of embeddings 'l"),
    ("methods.linear-linear.codes", "liner", "methods.linear-linear.codes: entry of codes 'liner'"),
    ("methods.conventional.codes", "linear", "methods.conventional has codes 'linear', and an emb"),
    ("methods.random-linear.codes", None, "methods.random-linear has no codes, and an embedding o"),
    ("tables.table1.models", ["smal"], "tables.table1.models: entry of models 'smal' is unknown"),
    ("tables.table1.rows.0", "convent", "tables.table1.rows: entry of methods 'convent' is unkno"),
    ("sweeps.rank.vary", {"embedding.rnk": [1]}, "setting 'embedding.rnk' is unknown; did you"),
    ("sweeps.figure3.vary", {"codes.k": [2]}, "setting 'codes.k' is unknown; did you mean"),
    ("figures", ["figur2"], "figure kind 'figur2' is unknown; did you mean 'figure2'?"),
    ("table2.codes", "refined", "codes.refined counts words, and these vectors are not of the te"),
    ("claims.random", ["none"], "claims: entry of methods 'none' is unknown"),
    ("compute", {"bfloat16": ["huge"]}, "compute.bfloat16: entry of models 'huge' is unknown"),
    ("colour", "red", "key 'colour' is unknown"),
    ("methods.low-rank.style", {"color": "purple"}, "methods.low-rank.style.color must be #rrggbb"),
    ("methods.linear-linear.vectors", {"model": "smal"}, "vectors.model: model 'smal'"),
    ("methods.linear-linear.vectors", {"kid": "x"}, "linear.vectors: key 'kid'"),
    ("methods.low-rank.vectors", {"model": "small"}, "low-rank.vectors: an embedding"),
    ("tables.table1.models", ["small", "small"], "tables.table1: each model must stand once, got"),
    ("tables.table1.rows.1", "conventional", "tables.table1: each method must stand once for a"),
    ("tables.table1.rows", [{"method": "low-rank", "models": ["small"]}], "no row of the model"),
    ("vectors", {"kind": "model", "method": "random-linear"}, "vectors.method is 'random-linear'"),
    ("vectors", {"kind": "model", "method": "low-rank"}, "must be one with a full table, got 'low"),
    ("table2.vectors.method", "tabel", "table2.vectors.method: method 'tabel' is unknown"),
    ("table2.vectors.model", "smal", "table2.vectors.model: model 'smal' is unknown; did you mean"),
    ("reconstructions.own.forms", [], "reconstructions.own.forms"),
    ("codes.refined.start", "refined", "codes.refined: start goes in a circle: refined → refined"),
    ("codes.plain", {"kind": "refine", "start": "refined"}, "goes in a circle: plain → refined →"),
    ("models.small", 5, "models.small must be a section of keys and values, got 5"),
    ("codes.lstm.extends", ["linear"], "codes.lstm.extends: entry of codes ['linear'] is unknown"),
    ("models.small.init_scale", float("inf"), "models.small.init_scale must be finite, got inf"),
    ("models.small.embeddings", {"linear": {"dropuot": 0}}, "models.small.embeddings.linear: key "),
    ("methods.Big", {"embedding": "low-rank"}, "methods: a name must match ^[a-z0-9]"),
    ("published", "maybe", "published must be true or false, got 'maybe'"),
    ("figures", [3], "figures.0 must be a kind or a section, got 3"),
    ("figures", ["curves", {"name": "curves", "kind": "figure2"}], "got 'curves' twice"),
    ("reconstructions.own.ratios", [0], "reconstructions.own.ratios.0 must be above 1, got 0"),
    ("sweeps.rank.vary", {"embedding.rank": []}, "sweeps.rank.vary.embedding.rank must have at"),
    ("sweeps.rank.vary", {"embedding.rank": ["x"]}, "vary.embedding.rank.0 must be a number, got"),
    ("sweeps.rank.vary", {"embedding.rank": [0]}, "sweeps.rank.vary, embedding.rank = 0: embeddi"),
    ("sweeps.rank.vary", {"embedding.rank": [9]}, "rank must be at most 8, the size of a vector"),
    ("embeddings.linear", {"kind": "tiers", "transform": {"kind": "linear"}, "tiers": [{"D": 3}]},
     "with the model 'small': the largest D of tiers must be that of the codes, 2, got 3"),
    ("embeddings.linear", {"kind": "rounded", "bits": 4, "of": {"kind": "kd", "transform":
     {"kind": "product", "groups": 3}}}, "groups must divide the D = 2 positions, got 3"),
    ("codes.refined.start", "plan", "codes.refined.start: entry of codes 'plan' is unknown; did"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "message"), WRONG, ids=[f"{path}={value}" for path, value, _ in WRONG]
)
def test_what_is_wrong_is_one_line(values, path, value, message):
    if path == "table2.codes":
        values["table2"]["vectors"] = {"kind": "glove", "dim": 50, "words": 100}
    last = path.rpartition(".")[2]
    section = at(values, path)
    section[int(last) if isinstance(section, list) else last] = value
    with pytest.raises(KDError) as caught:
        Experiment("tiny", values)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_codes_that_a_method_has_not_are_not_varied(tiny):
    with pytest.raises(KDError, match=r"methods\.low-rank has no codes to vary"):
        tiny.model("small", "low-rank", 1, {"codes.K": 2})


WORDS = {"title": "Words", "ratios": [2]}


def test_word_vectors_need_no_text_and_no_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = {**WORDS, "vectors": {"kind": "file", "path": "my.vec"}}
    experiment = Experiment("words", {"reconstructions": {"words": words}})
    assert experiment.models() == [] and len(experiment.reconstructions("words")) == 5
    again = from_dump(experiment.dump())
    assert again.reconstructions("words") == experiment.reconstructions("words")


@pytest.mark.parametrize("section", ["text", "models", "embeddings", "methods"])
def test_language_models_need_all_of_their_sections(values, section):
    for name in ("tables", "sweeps", "claims", "figures"):
        values.pop(name)
    if section == "models":
        for name in ("clustering", "table2", "reconstructions"):
            values.pop(name)
    Experiment("tiny", values)
    del values[section]
    with pytest.raises(KDError, match=f"^{section} is missing$"):
        Experiment("tiny", values)


def test_vectors_of_a_model_need_models():
    words = {**WORDS, "vectors": {"kind": "model"}}
    with pytest.raises(KDError, match=r"words.vectors.model: model None is unknown; there are: no"):
        Experiment("words", {"reconstructions": {"words": words}})


@pytest.mark.parametrize("table", ["table1", "other"])
def test_two_methods_that_are_the_same_thing_are_refused(values, table):
    values["methods"]["again"] = {**values["methods"]["low-rank"], "label": "Again"}
    values["tables"]["table1"]["rows"] += ["low-rank"]
    values["tables"]["other"] = {**values["tables"]["table1"], "rows": ["conventional"]}
    values["tables"][table]["rows"] += ["again"]
    told = (
        f"tables.{table}: 'low-rank' with the model 'small' and 'again' with the model 'small' are"
    )
    with pytest.raises(KDError, match=told):
        Experiment("tiny", values)


def test_two_models_that_are_the_same_thing_are_refused(values):
    values["models"]["twin"] = {"extends": "small"}
    values["tables"]["table1"]["models"] = ["small", "twin"]
    with pytest.raises(
        KDError, match="'conventional' with the model 'twin' are the same: leave one"
    ):
        Experiment("tiny", values)


def test_vectors_of_a_model_are_asked_for_where_they_are_needed(values):
    """A preset of other methods has no full table."""
    alone = {
        **{key: values[key] for key in ("text", "models", "embeddings")},
        "methods": {"low-rank": values["methods"]["low-rank"]},
        "tables": {"table1": {"title": "Rivals", "models": ["small"], "rows": ["low-rank"]}},
    }
    assert len(Experiment("alone", alone).models()) == 1


def test_a_figure_can_extend_another(values):
    values["figures"] = {
        "first": {"kind": "curves", "tables": ["table1"]},
        "second": {"extends": "first", "tables": None},
    }
    figures = Experiment("tiny", values).preset.figures
    assert figures["second"].kind == "curves" and figures["second"].tables is None


def test_a_key_twice_names_the_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("models:\n  small:\n    epochs: 2\n    epochs: 7\n")
    with pytest.raises(KDError, match=r"mine\.yaml: the key 'epochs' stands twice .* line 3"):
        load_experiment(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "not YAML"), ("- a", "must be a mapping"), (None, "No such file")],
)
def test_a_file_that_is_no_preset_is_one_line(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(KDError) as caught:
        load_experiment(path)
    assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)


def test_numbers_may_be_written_as_text(values):
    small = values["models"]["small"]
    small |= {"epochs": "2", "decay": "1/2", "learning_rate": "1e0"}
    values["codes"]["linear"]["K"] = "4"
    values["sweeps"]["figure3"]["vary"] = {"codes.K": ["2", "3"]}
    values["embeddings"]["linear"]["transform"] |= {"normalise": "true", "code_dim": "null"}
    preset = Experiment("tiny", values).preset
    found = preset.models["small"]
    assert (found.epochs, found.decay, found.learning_rate) == (2, 0.5, 1.0)
    assert preset.codes["linear"].K == 4 and preset.sweeps["figure3"].vary == {"codes.K": [2, 3]}
    transform = preset.embeddings["linear"].transform
    assert (transform.normalise, transform.code_dim) == (True, None)


def test_a_preset_with_another_kind_keeps_what_both_kinds_have(tmp_path):
    (tmp_path / "base.yaml").write_text((ROOT / "tests/tiny.yaml").read_text())
    (tmp_path / "mine.yaml").write_text(
        "extends: base\ntext: {kind: folder, folder: mine}\n"
        "embeddings: {linear: {transform: {kind: lstm}}}\nclustering: null\nfigures: [figure2]\n"
    )
    mine = load_experiment(tmp_path / "mine.yaml").preset
    assert mine.text.model_dump() == {"kind": "folder", "folder": "mine"}
    transform = mine.embeddings["linear"].transform
    assert (transform.kind, transform.code_dim, mine.clustering) == ("lstm", 6, None)


def mine(folder: Path, text: str, change: dict | None = None) -> Plan:
    """The plan of a preset that extends the tiny one, as Snakemake asks for it."""
    (folder / "base.yaml").write_text((ROOT / "tests/tiny.yaml").read_text())
    path = folder / "mine.yaml"
    path.write_text(f"extends: base\n{text}")
    return Plan.of(path, yaml.safe_load(path.read_text()) | (change or {}))


def test_results_of_other_settings_are_told(tmp_path):
    plan, file = mine(tmp_path, ""), tmp_path / "settings.json"
    assert plan.notice(tmp_path) is None
    write_json(file, plan.experiment.dump())
    assert plan.notice(tmp_path) is None
    write_json(file, plan.experiment.dump() | {"name": "another"})
    assert "has results of other settings" in plan.notice(tmp_path)
    file.write_text(file.read_text()[:50])
    assert plan.notice(tmp_path) == f"{file} is damaged: delete it and run again"


def test_what_a_preset_takes_away_stays_away_in_snakemake(tmp_path):
    text = "sweeps: {rank: null}\nmethods: {random-linear: {style: null}}\nclustering: null\n"
    preset = mine(tmp_path, f"{text}figures: null\n").preset
    assert (list(preset.sweeps), preset.clustering, preset.figures) == (["figure3"], None, {})
    assert preset.methods["random-linear"].style.color == "grey"


def test_the_command_line_goes_before_the_file(tmp_path):
    told = {
        "clustering": None,
        "compute": {"threads": 2},
        "vectors": {"kind": "model", "seed": 3},
        "models": {"small": {"decay": "1/8"}},
    }
    text = "compute: {device: cuda}\npartial: true\nfigures: [figure2]\n"
    preset = mine(tmp_path, text, told).preset
    assert preset.clustering is None and preset.partial
    assert (preset.compute.threads, preset.vectors.seed) == (2, 3)
    assert preset.models["small"].decay == 0.125


def test_a_key_of_a_merged_section_may_be_replaced_and_one_of_its_own_may_not(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\n")
    assert read_preset(path)["b"] == {"x": 3, "y": 2}
    path.write_text("a: &a {x: 1}\nb: {<<: *a, x: 3, x: 4}\n")
    with pytest.raises(KDError, match="the key 'x' stands twice in the section at line 2"):
        read_preset(path)


def test_a_file_of_vectors_must_be_there_whoever_has_it(tmp_path):
    vectors = "vectors: {kind: file, path: absent.vec}"
    for text in (
        f"{vectors}\n",
        f"models: {{small: {{{vectors}}}}}\n",
        f"methods: {{linear-linear: {{{vectors}}}}}\n",
        f"table2: {{{vectors}}}\n",
        f"reconstructions: {{own: {{{vectors}}}}}\n",
    ):
        with pytest.raises(KDError, match=r"absent\.vec: no such file, which the configuration"):
            mine(tmp_path, text)


def test_a_file_of_ones_own_is_read_once_until_it_changes(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr("kdlab.experiment.sha256", lambda path: read.append(path) or "0" * 64)
    file = tmp_path / "my.vec"
    for times in (1, 2):
        file.write_text("a 1\n" * times)
        assert mine(tmp_path, f"vectors: {{kind: file, path: {file}}}\n").runs
        assert read == [file] * times


@pytest.mark.parametrize("name", ["claims", "measurements", "table1_small", "codes_large"])
def test_a_table_has_no_name_of_another_target(tmp_path, name):
    table = f"{name}: {{title: A table, models: [small], rows: [conventional]}}"
    with pytest.raises(KDError, match=f"tables.{name}: '{name}' is a target of its own"):
        mine(tmp_path, f"tables: {{{table}}}\n")


def test_every_rule_has_a_name_that_tables_may_not_have():
    files = [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]
    text = "\n".join(file.read_text() for file in files if file.name != "compress.smk")
    named = re.findall(r"^ *(?:use rule \w+ as|rule) (\w+)(?: with)?:", text, re.M)
    assert set(named) - {"compressed"} == RULES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clustering: null", "figures.figure3 needs figure3_clustering.csv, which comes from clus"),
        ("table2: null", "figures.figure1 needs table2.csv, which comes from table2, and there is"),
        (
            "reconstructions: null",
            "figures.reconstruction needs reconstruction.csv, which comes fr",
        ),
        (
            "figures: {run_times: {kind: run_times}, again: {kind: run_times}}",
            "figures.again makes run_times.csv, and so does figures.run_times: give one of them a",
        ),
        (
            "tables: {errors: {title: A table, models: [small], rows: [conventional]}}",
            "figures.errors makes errors.csv, and so does tables.errors",
        ),
        (
            "tables: {table1: {paper: {small: larg}}}",
            "tables.table1.paper.small: paper's model 'larg' is unknown; did you mean 'large'",
        ),
    ],
)
def test_what_no_result_or_two_are_made_of_is_refused_before_any_work(tmp_path, text, message):
    with pytest.raises(KDError, match=f"mine.yaml: {re.escape(message)}"):
        mine(tmp_path, f"{text}\n")


def test_a_figure_may_need_a_file_of_an_earlier_result_only(tmp_path, monkeypatch):
    needs = property(lambda settings: frozenset({"tabel1.csv"}))
    monkeypatch.setattr(FIGURES.load("figure2").Settings, "needs", needs)
    message = "figures.figure2: file of results 'tabel1.csv' is unknown; did you mean 'table1.csv'"
    with pytest.raises(KDError, match=message):
        mine(tmp_path, "figures: [figure2]\n")


def test_codes_of_a_models_words_are_of_the_text_and_those_of_other_vectors_are_not(tmp_path):
    file = tmp_path / "my.vec"
    file.write_text("a 1\n")
    vectors = f"vectors: {{kind: file, path: {file}}}"
    experiment = mine(tmp_path, f"{vectors}\ntable2: {{{vectors}, codes: linear}}\n").experiment
    codes = experiment.model("small", "linear-linear", 1).inputs["codes"]
    assert codes.names["of_text"] and not experiment.table2()[1].names["of_text"]


def test_vectors_may_be_of_a_model_of_seed_0(tmp_path):
    vectors = mine(tmp_path, "vectors: {kind: model, seed: 0}\n").experiment.vectors("small", 2)
    assert vectors.inputs["model"].names["seed"] == 0


def test_every_published_run_is_at_the_address_that_a_preset_computes():
    runs = set()
    for preset in map(load_experiment, PRESETS):
        tables = [
            run for name in preset.preset.reconstructions for run in preset.reconstructions(name)
        ]
        runs |= {run.address for run in upstream([*preset.models(), *tables])}
    folders = [path for path in (ROOT / "measurements").iterdir() if path.is_dir()]
    assert {folder.name for folder in folders} <= runs
    for folder in folders:
        if (folder / "measurement.json").exists():
            measured = read_json(folder / "measurement.json")
            assert measured["address"] == fingerprint(measured["spec"]) == folder.name
