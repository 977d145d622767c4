"""Runs a command and prints, as JSON, what it cost: `measured.py SECONDS GIB COMMAND...`.

The command is ended when it takes longer or more memory. Memory is the resident memory of the process, at its highest (`ru_maxrss`). Its standard output is
part of the answer, and so is the last line of its standard error where it failed.
"""

import json
import os
import subprocess
import sys
import tempfile
import time


def resident_kb(pid):
    try:
        with open(f"/proc/{pid}/status") as status:
            return next((int(line.split()[1]) for line in status if line.startswith("VmRSS:")), 0)
    except (FileNotFoundError, ProcessLookupError):
        return 0


def main():
    seconds, gib, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        start = time.monotonic()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
        problem = None
        while True:
            # Not through `Popen`, which would throw away what the process used.
            pid, status, used = os.wait4(child.pid, os.WNOHANG)
            if pid:
                break
            if problem is None and time.monotonic() - start > seconds:
                problem = f"it took longer than {seconds} s"
                child.kill()
            elif problem is None and resident_kb(child.pid) > gib << 20:
                problem = f"it took more than {gib} GiB"
                child.kill()
            time.sleep(0.02)
        millis = round((time.monotonic() - start) * 1000)
        child.returncode = os.waitstatus_to_exitcode(status)
        texts = []
        for stream in (stdout, stderr):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
        if problem is None and child.returncode:
            said = [line for line in texts[1].splitlines() if line.strip()]
            problem = said[-1][:300] if said else f"exit status {child.returncode}"
    cpu_millis = round((used.ru_utime + used.ru_stime) * 1000)
    print(json.dumps({"millis": millis, "cpu_millis": cpu_millis, "peak_kb": used.ru_maxrss, "problem": problem, "stdout": texts[0]}))


if __name__ == "__main__":
    main()
