"""Parts of scripts by themselves."""

import fcntl
import json
import logging
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from small_experiment import small_experiment

from kdcore import Codes, KDError
from kdcore.files import fingerprint
from kdcore.vectors import WordVectors
from kdlab.continued import NOTICE, log
from kdlab.corpus import SPLITS, Corpus
from kdlab.measurements import read_measurements
from kdlab.planning import Plan
from kdlab.texts import PTB_TOKENS, TEXTS

ROOT = Path(__file__).parent.parent


@pytest.fixture
def planning(monkeypatch):
    """The script that says what a target would compute."""
    monkeypatch.syspath_prepend(ROOT / "workflow/scripts")
    return import_module("plan")


@pytest.fixture
def paper(tmp_path, monkeypatch) -> Plan:
    """The paper's preset where nothing has been measured yet."""
    monkeypatch.chdir(tmp_path)
    return Plan.of(ROOT / "config/paper.yaml")


@pytest.mark.parametrize(
    ("target", "count"),
    [
        ("table1", 11 + 7),
        ("table1_large", 7),
        ("table1_medium", 7),
        ("figure3", 9 + 11 + 7),  # of table 1 it has the conventional line
        ("codes_large", 1),  # no row with codes has a second seed
        ("frontier", 93),  # its table; the models that codes are learned from are rows of it
        ("table2", 0),
        ("figure2", 0),
        ("data", 0),
    ],
)
def test_a_plan_is_of_its_target(paper, target, count):
    runs = paper.models_of(target)
    assert len(runs) == len(set(runs)) == count
    assert all(run.stage in ("models", "retrained") for run in runs)


def test_a_plan_of_all_has_every_model(paper):
    assert set(paper.models_of("all")) >= set(paper.experiment.models())


@pytest.mark.parametrize(
    ("target", "count"),
    [("all", 15), ("codes", 15), ("reconstruction", 15), ("table1", 0), ("figure2", 0)],
)
def test_a_plan_counts_the_word_vectors_to_compress(paper, target, count):
    found = paper.compressions_of(target)
    assert len(found) == count
    for run in found[:1]:
        Path("measurements", run.address).mkdir(parents=True)
        Path("measurements", run.address, "measurement.json").touch()
        assert paper.compressions_of(target) == found[1:]


def test_a_plan_trains_a_measured_model_whose_weights_are_asked_for(paper):
    conventional, *coded = paper.experiment.table("table1", ["large-20"])
    Path("measurements", conventional.address).mkdir(parents=True)
    Path("measurements", conventional.address, "measurement.json").touch()
    assert set(paper.to_train("table1_large-20")) == {conventional, *coded}
    vectors = coded[-1].inputs["codes"].inputs["vectors"]
    Path(vectors.folder).mkdir(parents=True)
    Path(vectors.path("vectors.safetensors")).touch()
    assert set(paper.to_train("table1_large-20")) == set(coded)
    assert paper.to_train("codes_large-20") == []


def test_codes_need_no_baseline(paper):
    labels = {run.names["method"] for run in paper.to_train("codes")}
    assert labels == {"conventional"} and set(paper.to_train("vectors")) == set(
        paper.to_train("codes")
    )


@pytest.mark.parametrize("target", ["measurements", "report", "vectors"])
def test_targets_of_all_presets_can_be_planned(paper, target):
    assert paper.to_train(target)


@pytest.mark.parametrize("target", ["table2", "figure1", "code_space", "reconstruction"])
def test_a_plan_of_words_has_the_model_that_they_come_from(tmp_path, monkeypatch, target):
    monkeypatch.chdir(tmp_path)
    plan = Plan(small_experiment())
    assert plan.models_of(target) == [plan.experiment.model("first", "full", 1)]


def test_a_plan_of_no_target_names_the_nearest(paper):
    with pytest.raises(KDError, match="target 'tabel1' is unknown; did you mean 'table1'"):
        paper.models_of("tabel1")


def test_cores_are_a_number_or_all(planning):
    assert planning.count("3") == 3 and planning.count("all") >= 1
    with pytest.raises(KDError, match="cores must be a number above 0 or all, got 'two'"):
        planning.count("two")
    done = subprocess.run(
        ["make", "-o", ".venv/.ready", "plan", "CORES=two"], cwd=ROOT, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode != 0 and "Traceback" not in done.stdout + done.stderr
    assert "error: cores must be a number above 0 or all, got 'two'\n" in done.stderr


def test_a_text_of_ones_own_is_as_long_as_its_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = TEXTS.parse({"kind": "folder", "folder": "mytext"})
    assert own.tokens == TEXTS.parse({"kind": "ptb"}).tokens == PTB_TOKENS
    (tmp_path / "mytext").mkdir()
    (tmp_path / "mytext/train.txt").write_bytes(b"a word\n" * 1000)
    assert own.tokens == pytest.approx(7000 / 5.488, rel=1e-3)


@pytest.mark.parametrize(
    ("place", "remedy"),
    [
        ("runs/codes/1/", "; delete it and run again"),
        ("measurements/1/", "; git checkout -- {} brings it back"),
        ("elsewhere/", ""),
    ],
)
@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("codes.safetensors", "cut", "damaged or not"),
        ("measurement.json", '{"valid_ppl": 1', "not valid JSON"),
        ("measurement.json", "{}", "must be a measurement, with valid_ppl"),
    ],
)
def test_a_damaged_file_of_ours_is_told_with_its_remedy(
    tmp_path, monkeypatch, planning, caplog, place, remedy, name, content, told
):
    monkeypatch.chdir(tmp_path)
    path = Path(place, name)
    path.parent.mkdir(parents=True)
    path.write_text(content)
    script = import_module("_script")

    def main() -> None:
        """Read it."""
        if path.suffix == ".json":
            read_measurements(small_experiment(), [path])
        else:
            Codes.load(path)

    monkeypatch.setattr(sys, "argv", ["main"])
    with pytest.raises(SystemExit):
        script.run(main)
    (line,) = caplog.messages
    assert line.startswith(f"error: {path}: {told}") and line.endswith(remedy.format(path))
    assert ("delete" in line or "checkout" in line) == bool(remedy)


def test_vectors_of_other_words_than_the_text_are_refused(tmp_path, monkeypatch):
    """Else each word would get the code of another one."""
    monkeypatch.syspath_prepend(ROOT / "workflow/scripts")
    read_inputs = import_module("codes").read_inputs
    corpus, vectors = tmp_path / "corpus", tmp_path / "vectors"
    Corpus.from_lines({split: ["a b a"] for split in SPLITS}).save(corpus)
    for words, wrong in (
        (("a", "<eos>", "b"), None),
        (("a", "b", "<eos>"), "in row 1 '<eos>', got 'b'"),
        (("a", "<eos>"), "in row 2 'b', got no word"),
    ):
        WordVectors(words, torch.ones(len(words), 2)).save(vectors)
        if wrong is None:
            assert read_inputs(corpus, vectors, None).counts.tolist() == [2, 1, 1]
            continue
        with pytest.raises(KDError, match=f"the words of .* in their order.*: {wrong}"):
            read_inputs(corpus, vectors, None)


def test_codes_another_process_has_learned_meanwhile_are_kept(tmp_path, monkeypatch, caplog):
    monkeypatch.syspath_prepend(ROOT / "workflow/scripts")
    script = import_module("codes")
    monkeypatch.setattr(script._script, "start_log", lambda path: None)
    monkeypatch.setattr(script, "asked_to_stop", lambda: lambda: False)
    WordVectors(("a", "b", "c"), torch.randn(3, 2)).save(tmp_path / "vectors")
    outputs = {name: tmp_path / name for name in ("codes", "decoder", "history", "error")}
    settings = json.dumps({"learner": {"kind": "random", "K": 2, "D": 3}, "seed": 1})

    def learn() -> bytes:
        script.main(settings, "a", scratch=tmp_path, vectors=tmp_path / "vectors", **outputs)
        return outputs["codes"].read_bytes()

    assert learn() != b"theirs"
    outputs["codes"].write_bytes(b"theirs")
    with open(tmp_path / f".{fingerprint(['a', 1, 'cpu'])}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # The other process ends once this one has said that it waits.
        ended = logging.Handler(NOTICE)
        monkeypatch.setattr(ended, "emit", lambda record: fcntl.flock(lock, fcntl.LOCK_UN))
        monkeypatch.setattr(log, "handlers", [ended])
        caplog.set_level(NOTICE, log.name)
        assert learn() == b"theirs"


@pytest.mark.slow
def test_code_learning_stops_when_asked_to_and_continues(tmp_path):
    torch.manual_seed(0)
    vectors = WordVectors(tuple(f"word{i}" for i in range(2000)), torch.randn(2000, 32))
    vectors.save(tmp_path / "vectors.safetensors")
    learner = {
        "kind": "straight_through", "K": 16, "D": 6, "transform": {"kind": "lstm"},
        "epochs": 60, "batch_size": 50,
    }  # fmt: skip

    def start(name: str) -> subprocess.Popen:
        outputs = {"codes": "safetensors", "decoder": "safetensors", "history": "csv",
                   "error": "json"}  # fmt: skip
        files = [f"--{kind}={tmp_path}/{name}/{kind}.{end}" for kind, end in outputs.items()]
        return subprocess.Popen(
            [
                sys.executable, str(ROOT / "workflow/scripts/codes.py"),
                f"--vectors={tmp_path}/vectors.safetensors", "--address=a",
                f"--settings={json.dumps({'learner': learner, 'seed': 1})}",
                f"--scratch={tmp_path}/{name}/scratch", *files,
            ],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    whole, broken = start("whole"), start("broken")
    assert "epoch 1," in broken.stderr.readline()
    broken.terminate()
    stopped = broken.communicate(timeout=120)[1]
    assert broken.returncode == 1 and "stopped; the same command continues" in stopped
    again = start("broken")
    continued = again.communicate(timeout=300)[1]
    assert again.returncode == 0 and "continuing from a checkpoint" in continued
    assert whole.communicate(timeout=300) and whole.returncode == 0
    for name in ("codes.safetensors", "decoder.safetensors", "history.csv", "error.json"):
        first, second = ((tmp_path / run / name).read_bytes() for run in ("whole", "broken"))
        assert first == second
    assert not list((tmp_path / "broken/scratch").glob("[!.]*.safetensors"))
