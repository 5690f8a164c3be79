"""Programs of this folder are what ranks run, and not collected."""

collect_ignore = ["bits.py", "command.py", "moves.py", "one_fault.py"]
collect_ignore += ["signalled_run.py"]
