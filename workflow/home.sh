# Part of .venv/bin/activate: where the home cannot be written, caches are in the environment.
if ! test -w "${HOME:-/nonexistent}"; then
    export XDG_CACHE_HOME="${XDG_CACHE_HOME:-$VIRTUAL_ENV/cache}"
    export MPLCONFIGDIR="${MPLCONFIGDIR:-$VIRTUAL_ENV/cache/matplotlib}"
fi
