"""Snakemake's records of what made each file, kept beside the files.

Snakemake notes in .snakemake/metadata with which parameters and inputs each file was made. A tool
that exchanges files (DVC, rsync, an archive) leaves those notes behind, and Snakemake then takes
one file for another. So every folder of a run carries the records of its own files: they travel
together, and `restore` puts them back when the folder has been exchanged.

A run that begins marks its folders, so that a killed one, whose records are only in
.snakemake/metadata, can be told from an exchanged folder.
"""

import json
import platform
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import defaultdict
from contextlib import suppress
from pathlib import Path, PurePosixPath

from kdcore.files import read_json, sha256, write_json, write_text

METADATA = Path(".snakemake/metadata")
LOCKS = Path(".snakemake/locks")
# Where the run is that holds them.
HOST = Path(".snakemake/host")
# Of every folder's records: the SHA-256 that .snakemake/metadata agrees with.
AGREED = Path(".snakemake/records.json")
NAME = "records.json"
# Folders of a preset that DVC knows: each has records, so that it is there whatever a preset has.
STAGES = ("baseline", "embedding", "codes", "clustering", "table2", "retrained", "ablations",
          "report")  # fmt: skip
# A file name cannot be longer; longer ones are folders of pieces that begin with @.
PIECE = 254


def restore(preset: str) -> None:
    """Take over the records of folders that were exchanged since the last run.

    Not while another run holds Snakemake's lock: its records are its own.
    """
    if any(LOCKS.glob("*")):
        return
    agreed = _agreed()
    exchanged = [file for file in _files(preset) if agreed.get(str(file)) != sha256(file)]
    here = _gather() if exchanged else {}
    for file in exchanged:
        records = read_json(file)["records"]
        for output in here.get(file, {}).keys() - records.keys():
            _place(output).unlink(missing_ok=True)
        for output, record in records.items():
            write_text(_place(output), json.dumps(record))
        agreed[str(file)] = sha256(file)
        write_json(AGREED, agreed)


def begin(preset: str) -> None:
    """Mark the folders of a run that begins, and note on which machine it is."""
    write_text(HOST, platform.node() + "\n")
    agreed = _agreed()
    for file in _files(preset):
        write_json(file, {**read_json(file), "running": uuid.uuid4().hex})
        agreed[str(file)] = sha256(file)
    write_json(AGREED, agreed)


def keep(preset: str) -> None:
    """Write the records of every folder of a run that has ended."""
    HOST.unlink(missing_ok=True)
    agreed = _agreed()
    found = _gather()
    of_run = {Path("data", preset, NAME), *(Path("runs", preset, name, NAME) for name in STAGES)}
    for file in {*of_run, *_files(preset), *(f for f in found if f.parts[1] == preset)}:
        write_json(file, {"records": dict(sorted(found.get(file, {}).items()))})
        agreed[str(file)] = sha256(file)
    write_json(AGREED, agreed)


def settle() -> None:
    """Write the records of runs that were killed; only when no run is going on."""
    agreed = _agreed()
    killed = {
        file.parts[1]
        for file in _files("*")
        if "running" in read_json(file) and agreed.get(str(file)) == sha256(file)
    }
    for preset in sorted(killed):
        keep(preset)
    for report in Path("runs").glob("*/report"):
        for folder in (report.parent / name for name in STAGES):
            # One that is there has outputs, whose records are in .snakemake/metadata.
            if not folder.exists():
                write_json(folder / NAME, {"records": {}})


def host_of_run() -> str:
    """The machine of the run that is going on or was killed; empty if none is known."""
    return HOST.read_text(encoding="utf-8").strip() if HOST.exists() else ""


def _agreed() -> dict[str, str]:
    return read_json(AGREED) if AGREED.exists() else {}


def _files(preset: str) -> list[Path]:
    return sorted(
        [*Path("data").glob(f"{preset}/{NAME}"), *Path("runs").glob(f"{preset}/*/{NAME}")]
    )


def _home(output: str) -> Path | None:
    """The file that holds an output's record."""
    match PurePosixPath(output).parts:
        case ("results", preset, _, *_):
            return Path("runs", preset, "report", NAME)
        case ("runs", preset, folder, _, *_):
            return Path("runs", preset, folder, NAME)
        case ("data", preset, _, *_):
            return Path("data", preset, NAME)
    return None


def _place(output: str) -> Path:
    code = urlsafe_b64encode(output.encode()).decode()
    pieces = [code[i : i + PIECE] for i in range(0, len(code), PIECE)]
    return METADATA.joinpath(*("@" + piece for piece in pieces[:-1]), pieces[-1])


def _gather() -> dict[Path, dict[str, dict]]:
    """Records of files that exist, by the file that is to hold them."""
    found: dict[Path, dict[str, dict]] = defaultdict(dict)
    for path in METADATA.rglob("*"):
        if path.is_dir():
            continue
        code = "".join(part.removeprefix("@") for part in path.relative_to(METADATA).parts)
        output = urlsafe_b64decode(code).decode()
        home = None if Path(output).is_absolute() else _home(output)
        if home and Path(output).exists():
            # One that a kill cut off counts as absent, as for Snakemake.
            with suppress(json.JSONDecodeError):
                found[home][output] = json.loads(path.read_text(encoding="utf-8"))
    return found
