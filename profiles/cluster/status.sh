#!/bin/sh
# What became of job $1: running, success or failed. A job that squeue has forgotten is over; the
# scheduler keeps the rest for a few minutes (MinJobAge). While it does not answer, nothing is known
# and the job counts as running.
told=$(squeue --noheader --states=all --format=%T --jobs="$1" 2>&1) || case "$told" in
  *"Invalid job id"*) told= ;;
  *) told=RUNNING ;;
esac
case "$told" in
  COMPLETED) echo success ;;
  PENDING|CONFIGURING|RUNNING|COMPLETING|SUSPENDED) echo running ;;
  *) echo failed ;;
esac
