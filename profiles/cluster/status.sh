#!/bin/sh
# What became of job $1: running, success or failed. A job that squeue has forgotten is over; the
# scheduler keeps the rest for a few minutes (MinJobAge).
state=$(squeue --noheader --states=all --format=%T --jobs="$1" 2>/dev/null)
case "$state" in
  COMPLETED) echo success ;;
  PENDING|CONFIGURING|RUNNING|COMPLETING|SUSPENDED) echo running ;;
  *) echo failed ;;
esac
