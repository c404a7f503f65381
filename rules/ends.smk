# What a run says and does when it ends.

from kdlab.unlock import forget_host


onsuccess:
    if workflow.execution_settings.lock:
        forget_host()
    print(PROGRESS.made(), file=sys.stderr)


onerror:
    if workflow.execution_settings.lock:
        forget_host()
    print(PROGRESS.how_to_go_on(), file=sys.stderr)
