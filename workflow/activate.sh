# Part of .venv/bin/activate.

# Where the home cannot be written, caches are in the environment.
if ! test -w "${HOME:-/nonexistent}"; then
    export XDG_CACHE_HOME="${XDG_CACHE_HOME:-$VIRTUAL_ENV/cache}"
    export MPLCONFIGDIR="${MPLCONFIGDIR:-$VIRTUAL_ENV/cache/matplotlib}"
fi

# What Snakemake meets with a traceback, in a line: a folder that cannot be written, and a target
# among the words of an option that takes every word up to the next option.
snakemake() (
    if ! test -w .; then
        echo "error: $PWD cannot be written, and Snakemake writes to the folder it runs in" >&2
        exit 2
    fi
    option=
    for word; do
        case $word in
        --configfile | --configfiles | --config | -C | --resources | --res | --set-threads)
            option=$word
            continue
            ;;
        -*) option= ;;
        esac
        case $option:$word in
        --configfile*) if test -f "$word"; then continue; else wanted="a file"; fi ;;
        :* | *=*) continue ;;
        *) wanted="NAME=VALUE" ;;
        esac
        echo "error: $option: $word must be $wanted; the option takes every word up to the next" \
            "one, so write -- before a target: snakemake $option ... -- all" >&2
        exit 2
    done
    command snakemake "$@"
)
