"""Runs the steps of a test program: one line a step, with what it has to say below."""

import time
import traceback

import lab


def run(name, steps):
    """How many steps passed and how many failed; after a failure, whatever it was, the others still run."""
    passed, failures = 0, []
    for title, step in steps:
        began = time.monotonic()
        try:
            lines = list(step() or [])
        except Exception as failure:
            failures.append(f"{name} {title}: FAILED after {time.monotonic() - began:.1f} s: {failure}")
            print(failures[-1], flush=True)
            if not isinstance(failure, lab.Failed):
                traceback.print_exc()
            continue
        passed += 1
        print(f"{name} {title}: ok ({time.monotonic() - began:.1f} s)", flush=True)
        for line in lines:
            for part in line.splitlines():
                print(f"    {part}", flush=True)
    with open(lab.ROOT / "build" / "test-counts", "a") as counts:
        counts.write(f"{passed} {len(failures)}\n")
    for failure in failures:  # once more: who reads the end of a long output sees them
        print(failure, flush=True)
    return passed, len(failures)
