"""The runs that a preset asks for: what is computed from what, each at its address."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kdcore.compressing import NUMERICS as COMPRESSION_NUMERICS
from kdcore.embeddings import EMBEDDINGS
from kdcore.embeddings.table import Settings as FullTable
from kdcore.errors import KDError
from kdcore.files import sha256
from kdcore.kinds import KindSettings, unknown
from kdcore.learners import LEARNERS
from kdcore.transforms import TRANSFORMS
from kdlab import clustering
from kdlab.addresses import Run, identity
from kdlab.preset import Preset, Row, start_of
from kdlab.preset_files import checked, merged, with_entries_extended
from kdlab.vectors import VECTORS, OfModel, VectorSettings

# Version of what training a language model computes; golden traces guard it.
TRAINING_NUMERICS = 1


@dataclass(frozen=True)
class Point:
    """A model of a sweep: the varied setting, all varied settings' values, and its run."""

    swept: str
    values: dict[str, Any]
    seed: int
    run: Run


class Experiment:
    """A checked preset with a name, and the runs that it asks for.

    Args:
        name: of the preset; results go to results/<name>/.
        values: the preset as its file has it, with `extends` resolved.

    Raises:
        KDError: one line for the first thing that is wrong.
    """

    def __init__(self, name: str, values: Mapping[str, Any]):
        self.name = name
        self.raw = with_entries_extended(values)
        try:
            self.preset = Preset.model_validate(self.raw)
        except ValidationError as error:
            raise KDError.of_settings(error, "") from None
        self._check_runs()

    # Single runs.

    @cached_property
    def text(self) -> Run:
        """The index of the text.

        Raises:
            KDError: the preset has none.
        """
        settings = self.preset.text
        if settings is None:
            raise KDError("text is missing")
        content = {split: _content(path) for split, path in settings.files.items()}
        return Run(
            "texts", f"Text: {settings.kind}", settings.model_dump(),
            {
                **identity(settings, settings.places),
                **({"content": content} if content else {}),
            },
        )  # fmt: skip

    def model(
        self, model: str, method: str, seed: int, vary: Mapping[str, Any] | None = None
    ) -> Run:
        """The language model with an embedding.

        Args:
            vary: settings that are otherwise, as `codes.<setting>` or `embedding.<setting>`.

        Raises:
            KDError: the method's parts do not belong together.
        """
        vary = vary or {}
        chosen, entry = self.preset.methods[method], self.preset.models[model]
        where = f"methods.{method}"
        embedding = self._embedding(model, chosen.embedding, vary)
        inputs = {"text": self.text}
        if ("codes" in embedding.needs) != (chosen.codes is not None):
            has = f"has codes {chosen.codes!r}" if chosen.codes else "has no codes"
            takes = "needs codes" if "codes" in embedding.needs else "takes none"
            raise KDError(f"{where} {has}, and an embedding of kind {embedding.kind!r} {takes}")
        if chosen.codes is not None:
            inputs["codes"] = self._codes(
                chosen.codes, lambda: self.vectors(model, seed, method), seed, vary
            )
        elif any(path.startswith("codes.") for path in vary):
            raise KDError(f"{where} has no codes to vary")
        try:
            embedding.check_shape(entry.hidden, _positions(inputs.get("codes")))
        except KDError as error:
            raise KDError(f"{where} with the model {model!r}: {error}") from None
        if chosen.vectors and not {"codes", "vectors"} & set(embedding.needs):
            raise KDError(f"{where}.vectors: an embedding of kind {embedding.kind!r} takes none")
        if "vectors" in embedding.needs:
            inputs["vectors"] = self.vectors(model, seed, method)
        title = f"{model}, {chosen.label}, seed {seed}"
        if vary:
            title += "".join(f", {path.partition('.')[2]} = {v}" for path, v in vary.items())
        settings = entry.settings
        return Run(
            "retrained" if chosen.codes else "models",
            title,
            {
                "model": settings.model_dump(),
                "embedding": embedding.model_dump(),
                "seed": seed,
            },
            {
                "model": {"numerics": TRAINING_NUMERICS, **identity(settings)},
                "embedding": identity(embedding),
                "seed": seed,
            },
            inputs,
            {"model": model, "method": method, "seed": seed},
        )

    def _embedding(self, model: str, name: str, vary: Mapping[str, Any]) -> KindSettings:
        """An entry of `embeddings` as a language model trains it."""
        own = self.preset.models[model].embeddings.get(name, {})
        raw = _varied(merged(self.raw["embeddings"][name], own), vary, "embedding.")
        where = f"embeddings.{name}"
        return EMBEDDINGS.parse(raw, f"models.{model}.{where}" if own else where)

    def _codes(
        self,
        name: str,
        vectors: Callable[[], Run],
        seed: int,
        vary: Mapping[str, Any],
        of_text: bool = True,
    ) -> Run:
        """Codes by a learner; `of_text` says whether the vectors are of the text's words."""
        raw = self.raw["codes"][name]
        learner = LEARNERS.parse(raw, f"codes.{name}")
        fields = type(learner).model_fields
        own = {p: v for p, v in vary.items() if p.partition(".")[2].partition(".")[0] in fields}
        learner = LEARNERS.parse(_varied(raw, own, "codes."), f"codes.{name}")
        inputs: dict[str, Run] = {}
        if "counts" in learner.needs and not of_text:
            raise KDError(f"codes.{name} counts words, and these vectors are not of the text")
        if "vectors" in learner.needs or not of_text:
            inputs["vectors"] = vectors()
        if "counts" in learner.needs or not inputs:
            inputs["text"] = self.text
        rest = {path: v for path, v in vary.items() if path not in own}
        if (start := start_of(learner)) is not None:
            inputs["start"] = self._codes(start, vectors, seed, rest, of_text)
        return Run(
            "codes",
            f"codes {name}, seed {seed}" + "".join(f", {p} = {v}" for p, v in vary.items()),
            {"learner": learner.model_dump(), "seed": seed},
            {"learner": identity(learner, frozenset({"start"})), "seed": seed},
            inputs,
            {"codes": name, "seed": seed, "of_text": of_text},
        )

    def vectors(self, model: str, seed: int, method: str | None = None) -> Run:
        """The pretrained vectors that codes for a language model are learned from."""
        raw, where = self.preset.vectors.model_dump(), "vectors"
        if own := self.preset.models[model].vectors:
            raw, where = merged(raw, own), f"models.{model}.vectors"
        of_method = self.preset.methods[method].vectors if method else None
        if of_method:
            raw, where = merged(raw, of_method), f"methods.{method}.vectors"
        return self._vectors(VECTORS.parse(raw, where), model, seed, where)

    def _vectors(
        self, settings: VectorSettings, model: str | None, seed: int, where: str = "vectors"
    ) -> Run:
        inputs: dict[str, Run] = {}
        content = [_content(path) for path in settings.files]
        spec = {
            **identity(settings, settings.places),
            **({"content": content} if content else {}),
        }
        if isinstance(settings, OfModel):
            source = settings.model or model
            seed = seed if settings.seed is None else settings.seed
            if source not in self.preset.models:
                raise KDError(
                    f"{where}.model: " + unknown("model", source, list(self.preset.models))
                )
            if settings.method not in self.preset.methods:
                known = list(self.preset.methods)
                raise KDError(f"{where}.method: " + unknown("method", settings.method, known))
            settings = settings.changed(model=source, seed=seed)
            spec = {"kind": settings.kind, "numerics": settings.module.NUMERICS}
            method = self.preset.methods[settings.method]
            embedding = self.preset.embeddings[method.embedding]
            if method.codes or "vectors" in embedding.needs:
                raise KDError(
                    f"{where}.method is {settings.method!r}, which is itself made from vectors"
                )
            if not isinstance(embedding, FullTable):
                raise KDError(
                    f"{where}.method must be one with a full table, got {settings.method!r} with "
                    f"an embedding of kind {embedding.kind!r}"
                )
            inputs["model"] = self.model(source, settings.method, seed)
            inputs["text"] = self.text
        title = f"vectors: {settings.title}"
        return Run("vectors", title, settings.model_dump(), spec, inputs)

    # What tables and figures are made of.

    def row(self, model: str, row: Row) -> list[Run]:
        """The runs of a row of a table, seed by seed."""
        return [self.model(model, row.method, seed) for seed in range(1, row.seeds + 1)]

    def table(self, name: str, models: list[str] | None = None) -> list[Run]:
        """The runs of a table, row by row."""
        table = self.preset.tables[name]
        return [
            run
            for model in (table.models if models is None else models)
            for row in table.rows_of(model)
            for run in self.row(model, row)
        ]

    def sweep(self, name: str) -> list[Point]:
        """The runs of a sweep, setting by setting."""
        sweep = self.preset.sweeps[name]
        held, points = self.held(name), []
        for path, varied in sweep.vary.items():
            for value in varied:
                for seed in range(1, sweep.seeds + 1):
                    try:
                        run = self.model(sweep.model, sweep.method, seed, {path: value})
                    except KDError as error:
                        raise KDError(f"sweeps.{name}.vary, {path} = {value}: {error}") from None
                    points.append(Point(path, {**held, path: value}, seed, run))
        return points

    def held(self, name: str) -> dict[str, Any]:
        """The values of a sweep's settings while they are not varied.

        Raises:
            KDError: the sweep varies something that its method has not.
        """
        sweep = self.preset.sweeps[name]
        method = self.preset.methods[sweep.method]
        entries = {
            "embedding": [self._embedding(sweep.model, method.embedding, {})],
            "codes": self.preset.codes_from(method.codes) if method.codes else [],
        }
        found: dict[str, Any] = {}
        for section, settings in entries.items():
            for entry in settings:
                for key, value in _flat(entry.model_dump()).items():
                    found.setdefault(f"{section}.{key}", value)
        for path in sweep.vary:
            if path not in found:
                raise KDError(f"sweeps.{name}.vary: " + unknown("setting", path, list(found)))
        return {path: found[path] for path in sweep.vary}

    def table2(self) -> tuple[Run, Run]:
        """The vectors and the codes of Table 2."""
        chosen = self.preset.table2
        if chosen is None:
            raise KDError("table2 is missing")
        of_text = isinstance(chosen.vectors, OfModel)
        vectors = self._vectors(chosen.vectors, None, 1, "table2.vectors")
        return vectors, self._codes(chosen.codes, lambda: vectors, 1, {}, of_text)

    def reconstructions(self, name: str) -> list[Run]:
        """Word vectors in each form and size, size by size."""
        chosen = self.preset.reconstructions[name]
        vectors = self._vectors(chosen.vectors, None, 1, f"reconstructions.{name}.vectors")
        pairs = chosen.similarity
        return [
            Run(
                "reconstructions",
                f"{chosen.title}, {form}, {ratio:g} times smaller",
                {
                    "form": form,
                    "ratio": ratio,
                    "seed": chosen.seed,
                    **({"similarity": pairs.model_dump()} if pairs else {}),
                },
                {
                    "numerics": COMPRESSION_NUMERICS,
                    "form": form,
                    "ratio": ratio,
                    "seed": chosen.seed,
                    **({"similarity": pairs.sha256} if pairs else {}),
                },
                {"vectors": vectors},
                {"table": name, "form": form, "asked_ratio": ratio},
            )
            for ratio in chosen.ratios
            for form in chosen.forms
        ]

    def clustering(self) -> list[Run]:
        """The clustering experiment of Figure 3, seed by seed."""
        settings = self.preset.clustering
        if settings is None:
            return []
        # Every arm learns codes by this learner with this transform.
        numerics = {
            "clustering": clustering.NUMERICS,
            "straight_through": LEARNERS.load("straight_through").NUMERICS,
            "linear": TRANSFORMS.load("linear").NUMERICS,
        }
        return [
            Run(
                "clustering", f"clustering, seed {seed}",
                {**settings.model_dump(), "seed": seed},
                {"numerics": numerics, **identity(settings, frozenset({"seeds"})), "seed": seed},
            )
            for seed in range(1, settings.seeds + 1)
        ]  # fmt: skip

    def models(self) -> list[Run]:
        """Every language model of the tables and sweeps, once."""
        runs = [run for name in self.preset.tables for run in self.table(name)]
        runs += [point.run for name in self.preset.sweeps for point in self.sweep(name)]
        return list(dict.fromkeys(runs))

    def _check_runs(self) -> None:
        """Resolve all; what tables call by two names must not be the same thing."""
        seen: dict[Run, str] = {}
        for name, table in self.preset.tables.items():
            for model in table.models:
                for row in table.rows_of(model):
                    this = f"{row.method!r} with the model {model!r}"
                    other = seen.setdefault(self.model(model, row.method, 1), this)
                    if other != this:
                        raise KDError(
                            f"tables.{name}: {other} and {this} are the same: leave one out"
                        )
        for name in self.preset.sweeps:
            self.sweep(name)
        if self.preset.table2:
            self.table2()
        for name in self.preset.reconstructions:
            self.reconstructions(name)

    def dump(self) -> dict[str, Any]:
        """All settings that can have to do with a result, JSON-like, with the name."""
        inert = {"data_mirror", "partial", "published", "compute"}
        return {"name": self.name, **self.preset.model_dump(mode="json", exclude=inert)}


def load_experiment(path: str | Path) -> Experiment:
    """A preset from its file, YAML.

    Its name is the file's. `extends` in it names another preset of the same folder, whose entries
    it takes over.

    Raises:
        KDError: one line that begins with the name of the file at fault.
    """
    path = Path(path)
    return checked(path, lambda values: Experiment(path.stem, values))


def from_dump(values: Mapping[str, Any]) -> Experiment:
    """An experiment from what `Experiment.dump` gave."""
    return Experiment(values["name"], {k: v for k, v in values.items() if k != "name"})


def _varied(raw: Mapping[str, Any], vary: Mapping[str, Any], section: str) -> dict[str, Any]:
    """An entry with some settings otherwise; `section` begins the paths that are meant."""
    found = dict(raw)
    for path, value in vary.items():
        if path.startswith(section):
            over: Any = value
            for part in reversed(path.removeprefix(section).split(".")):
                over = {part: over}
            found = merged(found, over)
    return found


def _positions(codes: Run | None) -> int | None:
    """Indices in a code of these codes, or of those that they start from."""
    while codes is not None and "D" not in codes.settings["learner"]:
        codes = codes.inputs.get("start")
    return int(codes.settings["learner"]["D"]) if codes else None


def _content(path: Path) -> str:
    if not path.is_file():
        return "absent"
    state = path.stat()
    return _hashed(path, (state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size))


@cache
def _hashed(path: Path, state: tuple[int, ...]) -> str:
    """The SHA-256 of a file in a state: many runs may start from one, which may be large."""
    return sha256(path)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their path."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
