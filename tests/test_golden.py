"""Golden traces: a kind whose results move has to raise its NUMERICS."""

import pytest
from golden.store import COMMAND, FOLDER, differences, numerics, stored
from golden.traces import TRACES, kinds

PIN = """\
{name}: a default has changed and {version}.{constant} = {number} has not. An address leaves \
defaults out, so other results would have the old address. Keep the default, or raise {constant} \
and renew this with `{command} {name}`. A setting that is new, at a default that changes no \
result, is only to be stored by the same command.
{lines}"""
MOVED = """\
{name}: {version} computes something else than its {constant} = {number} did: if that is meant, \
raise {constant}{others} and renew the trace with `{command} {name}`.
{lines}"""


@pytest.mark.parametrize("name", TRACES)
def test_trace(name):
    trace, group = TRACES[name], name.partition("/")[0]
    entry = stored(group).get(name)
    assert entry, f"{name} has no stored trace: store it with `{COMMAND} {name}`"
    versions = numerics(trace.kinds)
    assert versions == entry["numerics"], (
        f"{name} was stored with {entry['numerics']}, now there is {versions}: renew it with "
        f"`{COMMAND} {name}`"
    )
    lines = list(differences(entry["values"], trace.compute(), trace.tolerance))
    if lines:
        version, _, constant = (trace.kinds or ("the format of files",))[0].rpartition(".")
        text = PIN if group == "settings" else MOVED
        pytest.fail(
            text.format(
                name=name,
                version=version,
                constant=constant,
                number=versions.get(f"{version}.{constant}"),
                others=f" (or {', '.join(trace.kinds[1:])})" if trace.kinds[1:] else "",
                command=COMMAND,
                lines="\n".join(lines),
            ),
            pytrace=False,
        )


def test_no_trace_is_left_over():
    """A stored trace that nothing computes guards nothing."""
    found = {name for path in FOLDER.glob("*.json") for name in stored(path.stem)}
    assert found <= set(TRACES), f"delete {sorted(found - set(TRACES))} from {FOLDER}"


def test_every_kind_has_a_trace():
    """Of each learner, transform and embedding something is computed."""
    traced = {kind for name, of in TRACES.items() if "settings/" not in name for kind in of.kinds}
    for folder in kinds():
        if folder.package.startswith("kdcore."):
            for name in folder.names():
                assert f"{folder.package}.{name}.NUMERICS" in traced, (
                    f"kind {name!r} of {folder.package} has no golden trace: add one to "
                    "tests/golden/traces.py"
                )
