"""What a preset asks Snakemake for: its runs by address, where files are, what results are of."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kdcore.errors import KDError
from kdcore.files import fingerprint, read_json, sha256
from kdcore.kinds import unknown
from kdlab import claims, paper
from kdlab.addresses import Run, upstream
from kdlab.experiment import Experiment
from kdlab.own import check_there, check_watched, own_files
from kdlab.preset import Preset
from kdlab.preset_files import checked
from kdlab.tables import of_paper
from kdlab.texts import PTB_TOKENS

# The file that is read of what a run starts from, by role.
FILES = {
    "text": "corpus.safetensors",
    "model": "model.safetensors",
    "vectors": "vectors.safetensors",
    "codes": "codes.safetensors",
    "start": "codes.safetensors",
}
# Results of sections that have one result each.
RESULTS = {
    "clustering": ["figure3_clustering.csv"],
    "table2": ["table2.csv", "table2.md", "table2_similarity.csv"],
    "reconstructions": ["reconstruction.csv"],
}
# Names of rules, which no table, sweep or figure may have.
RULES = {
    "all", "claims", "cluster", "clustering_table", "codes", "data", "make_codes", "measurements",
    "models", "read_text", "read_vectors", "reconstruct", "reconstruction_table", "report",
    "retrain_model", "retrained", "settings", "table2", "train_model", "vectors",
}  # fmt: skip


@dataclass
class Plan:
    """An experiment and all runs that can be asked of it.

    Attributes:
        experiment: the checked preset.
        marks: mark of the result that a file belongs to, by the file's name; see `made`.
    """

    experiment: Experiment
    marks: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def of(
        file: str | Path, config: Mapping[str, Any] | None = None, check_files: bool = True
    ) -> "Plan":
        """The plan of a preset's file.

        Args:
            config: the file's values as Snakemake has them, with changes from its command line.
            check_files: whether the user's own files must be there.

        Raises:
            KDError: one line that begins with the file that is at fault.
        """
        file = Path(file)

        def check(values: dict[str, Any]) -> "Plan":
            plan = Plan(Experiment(file.stem, values))
            plan._check_names()
            plan._check_results()
            plan._check_paper()
            files = own_files(plan.preset, plan.runs.values())
            check_watched(files)
            if check_files:
                check_there(files)
            return plan

        return checked(file, check, config)

    @property
    def preset(self) -> Preset:
        """The preset's settings."""
        return self.experiment.preset

    def notice(self, results: str | Path) -> str | None:
        """A line on results that are there and were made with other settings, if so."""
        file = Path(results, "settings.json")
        try:
            if not file.exists() or read_json(file) == self.experiment.dump():
                return None
        except KDError:
            return f"{file} is damaged: delete it and run again"
        return (
            f"{results} has results of other settings, those in its settings.json: "
            "what is made now takes their place"
        )

    def _check_names(self) -> None:
        """Whether each target has a name of its own; a table and its figure may share one."""
        preset = self.preset
        parts = {f"{table}_{model}" for table in preset.tables for model in preset.models}
        taken = RULES | parts | {f"codes_{model}" for model in preset.models}
        for section in ("tables", "sweeps", "figures"):
            for name in getattr(preset, section):
                if name in taken:
                    raise KDError(
                        f"{section}.{name}: {name!r} is a target of its own, name it anew"
                    )

    def _check_results(self) -> None:
        """Whether one entry makes each file of results, and an earlier one what a figure needs."""
        made: dict[str, str] = {}
        for where, needed, files in self.results():
            for file in needed:
                if file not in made:
                    section = next((name for name, of in RESULTS.items() if file in of), None)
                    raise KDError(
                        f"{where} needs {file}, which comes from {section}, and there is none: "
                        "leave the figure out"
                        if section
                        else f"{where}: " + unknown("file of results", file, list(made))
                    )
            for file in files:
                if file in made:
                    raise KDError(
                        f"{where} makes {file}, and so does {made[file]}: give one of them a "
                        "preset of its own"
                    )
                made[file] = where

    def _check_paper(self) -> None:
        """Whether the paper has the models beside which its numbers are to stand."""
        beside = {name: table for name, table in self.preset.tables.items() if table.paper}
        printed = paper.table1() if beside else {}
        for name, table in beside.items():
            for model in table.paper:
                of_paper(name, table, model, printed)

    def results(self) -> Iterator[tuple[str, list[str], list[str]]]:
        """What makes results, in the order of rules/results.smk: the files it needs and makes."""
        preset = self.preset
        yield "measurements", [], ["measurements.csv", "metrics.json"]
        for name, table in preset.tables.items():
            parts = [name, *(f"{name}_{model}" for model in preset.models if table.rows_of(model))]
            files = [f"{part}.{kind}" for part in parts for kind in ("csv", "md", "tex")]
            yield f"tables.{name}", [], files
        for name in preset.sweeps:
            yield f"sweeps.{name}", [], [f"{name}_sweep.csv"]
        for section, files in RESULTS.items():
            if getattr(preset, section):
                yield section, [], files
        for name, figure in preset.figures.items():
            needed = ["table2.csv" if need == "words" else need for need in sorted(figure.needs)]
            files = [f"{name}.png", f"{name}.pdf", *figure.table_files]
            yield f"figures.{name}", [file for file in needed if "." in file], files
        if preset.claims:
            yield "claims", [], ["claims.csv", "claims.md"]
        yield "report", [], ["report.html", "settings.json"]

    @property
    def tokens(self) -> int:
        """Training tokens of the text, about; 0 without one."""
        return self.preset.text.tokens if self.preset.text else 0

    @cached_property
    def runs(self) -> dict[str, Run]:
        """All runs by address: of tables with every model, sweeps, Table 2, and the others."""
        experiment = self.experiment
        wanted = [experiment.text] if self.preset.text else []
        wanted += [*experiment.models(), *experiment.clustering()]
        for name in self.preset.tables:
            wanted += experiment.table(name, list(self.preset.models))
        if self.preset.table2:
            wanted += experiment.table2()
        for name in self.preset.reconstructions:
            wanted += experiment.reconstructions(name)
        return {run.address: run for run in upstream(wanted)}

    def find(self, run: Run, name: str) -> str:
        """Where a file of a run is to be read, or will be."""
        return run.find(name, self.preset.published)

    def measured(self, runs: Iterable[Run]) -> list[Run]:
        """The runs that a result is made of: all, or with `partial` those that are measured."""
        return [
            run
            for run in runs
            if not self.preset.partial or run.exists("measurement.json", self.preset.published)
        ]

    def needed(self, runs: Iterable[Run]) -> dict[Run, str]:
        """What has to be there for models to be measured, each with the file that is used.

        What is published, and what only published runs start from, is not among it.
        """
        found: dict[Run, str] = {}

        def visit(run: Run, name: str) -> None:
            if self.find(run, name) == run.path(name) and run not in found:
                found[run] = name
                for role, source in run.inputs.items():
                    visit(source, FILES[role])

        for run, name in _last_files(runs).items():
            visit(run, name)
        return found

    def models_of(self, target: str) -> list[Run]:
        """The language models that a target of the Snakefile needs, measured or not.

        Raises:
            KDError: there is no such target.
        """
        ends = self._ends_of(target)
        wanted = dict.fromkeys([*self.needed(ends), *ends])
        return [run for run in wanted if run.stage in ("models", "retrained")]

    def to_train(self, target: str) -> list[Run]:
        """The language models that a target trains.

        One that is measured is among them where its weights are asked for and are not here.

        Raises:
            KDError: there is no such target.
        """
        found: dict[Run, None] = {}

        def visit(run: Run, name: str) -> None:
            if run not in found and not Path(self.find(run, name)).exists():
                found[run] = None
                for role, source in run.inputs.items():
                    visit(source, FILES[role])

        for run, name in self._ends_of(target).items():
            visit(run, name)
        return [run for run in found if run.stage in ("models", "retrained")]

    def _ends_of(self, target: str) -> dict[Run, str]:
        ends = self._ends()
        if target not in ends:
            raise KDError(unknown("target", target, list(ends)))
        return ends[target]

    def _ends(self) -> dict[str, dict[Run, str]]:
        """What a target asks for: runs, each with its file. rules/targets.smk names targets."""
        experiment, preset = self.experiment, self.preset
        models = experiment.models()
        compressed = [
            run for name in preset.reconstructions for run in experiment.reconstructions(name)
        ]
        words = list(experiment.table2()) if preset.table2 else []
        # What is made of which runs.
        of_need = {
            "measurements.csv": models,
            "curves": [run for name in preset.tables for run in experiment.table(name)],
            "words": words,
            "table2.csv": words,
            "reconstruction.csv": compressed,
        }
        ends = {name: models for name in ("all", "measurements", "report")}
        codes: dict[str, list[Run]] = {f"codes_{model}": [] for model in preset.models}
        for name in preset.sweeps:
            ends[name] = of_need[f"{name}_sweep.csv"] = [p.run for p in experiment.sweep(name)]
        for name, table in preset.tables.items():
            ends[name] = of_need[f"{name}.csv"] = experiment.table(name)
            for model in preset.models:
                runs = experiment.table(name, [model])
                codes[f"codes_{model}"] += [r.inputs["codes"] for r in runs if "codes" in r.inputs]
                if table.rows_of(model):
                    ends[f"{name}_{model}"] = of_need[f"{name}_{model}.csv"] = runs
        for name, figure in preset.figures.items():
            shown = [run for need in sorted(figure.needs) for run in of_need.get(need, [])]
            ends[name] = [*ends.get(name, []), *shown]
            of_need |= dict.fromkeys(figure.table_files, shown)
        if preset.claims:
            judged = [run for need in claims.needs(experiment) for run in of_need.get(need, [])]
            ends["claims"] = judged
        if preset.table2:
            ends["table2"] = words
        found = {name: _last_files(runs) for name, runs in {**ends, **codes}.items()}
        # Of a stage, all that is needed and not published.
        needed = self.needed([*self.measured(models), *self.measured(compressed)])
        beside = {
            "models": [run for run in models if run.stage == "models"],
            "vectors": words[:1],
            "codes": [*words, *compressed],
            "retrained": [run for run in models if run.stage == "retrained"],
        }
        for stage, runs in beside.items():
            here = {run: file for run, file in needed.items() if run.stage == stage}
            found[stage] = {**_last_files(runs), **here}
        return {**found, "data": {}}

    def compressions_of(self, target: str) -> list[Run]:
        """The tables of word vectors that a target compresses and that were not measured yet."""
        preset = self.preset
        shown = [name for name, f in preset.figures.items() if "reconstruction.csv" in f.needs]
        if target not in ("all", "codes", *shown):
            return []
        runs = [run for n in preset.reconstructions for run in self.experiment.reconstructions(n)]
        return [run for run in runs if not run.exists("measurement.json", preset.published)]

    def made(
        self,
        name: str,
        files: Iterable[str],
        *,
        runs: Iterable[Run] = (),
        after: Iterable[str] = (),
        modules: Iterable[str] = (),
        sources: Iterable[str] = (),
    ) -> str:
        """Declare a result and name its mark: a file whose name says of what it was made.

        Results are not at an address themselves: the mark beside them is, and where it is missing
        they are made again. So results that came with a clone, or of other settings, are never
        taken for current ones.

        Args:
            name: of the result.
            files: in the folder of results.
            runs: of what it is made.
            after: files of other results that it is made of.
            modules: Python modules that make it.
            sources: other files of the project that it is made with or from: scripts, templates.
        """
        address = fingerprint(
            [
                name,
                self.experiment.dump(),
                sorted(run.address for run in runs),
                sorted({self.marks[file] for file in after}),
                [_source(module) for module in sorted(set(modules))],
                [sha256(file) for file in sorted(set(sources))],
            ]
        )
        mark = f"results/{self.experiment.name}/.made/{name}@{address}"
        self.marks |= dict.fromkeys(files, mark)
        return mark


def _last_files(runs: Iterable[Run]) -> dict[Run, str]:
    """Runs, each with the file that a result is made of."""
    files = {stage: FILES[stage] for stage in ("vectors", "codes")}
    return {run: files.get(run.stage, "measurement.json") for run in runs}


def _source(module: str) -> str:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise KDError(f"module {module} must be a file")
    return sha256(spec.origin)


def minutes(run: Run, tokens: int, gpu: int) -> int:
    """Run time to ask a cluster for: twice what one core of a 2024 server takes, at least 30."""
    model = run.settings["model"]
    cost = model["epochs"] * (model["hidden"] / 200) ** 1.7 * (0.02 if gpu else 1)
    cost *= tokens / PTB_TOKENS
    # The slowest of the codes' embeddings, composed by an LSTM, take 1.6 times as long as a table.
    return max(30, int((6.4 if run.stage == "retrained" else 4) * cost))


def megabytes(run: Run, gpu: int) -> int:
    """Memory to ask a cluster for: Python, a model over 10,000 words four times, a GPU's driver."""
    model = run.settings["model"]
    numbers = 20_000 * model["hidden"] + 8 * model["layers"] * model["hidden"] ** 2
    return int(2000 + 16 * numbers // 10**6 + 4000 * gpu)
