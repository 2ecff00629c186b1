"""A Slurm of one machine: programs named sbatch, srun, sacct and scancel, for the PATH."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

SBATCH = """
import os, re, subprocess, sys
text = open(sys.argv[1]).read()
size = re.search(r"--array=0-(\\d+)%", text)
names = [f"77_{i}" for i in range(int(size[1]) + 1)] if size else ["77"]
for i, name in enumerate(names):
    ids = {"SLURM_JOB_ID": str(100 + i), "SLURM_PROCID": "0"}
    if size:
        ids |= {"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": str(i)}
    else:
        ids["SLURM_JOB_ID"] = name
    with open(os.path.join(PLACE, name), "w") as file:
        started = subprocess.Popen(
            ["bash", sys.argv[1]], env=os.environ | ids, start_new_session=True, stdin=-3,
            stdout=-3, stderr=-3,
        )
        file.write(str(started.pid))
with open(os.path.join(PLACE, "script"), "w") as file:
    file.write(text)
print("Submitted batch job 77")
"""
SRUN = """
import os, sys
words = sys.argv[1:]
while words[0].startswith("-"):
    words = words[1 if words[0] == "--unbuffered" else 2:]
os.execvp(words[0], words)
"""
SACCT = """
import os
print("JobID|State|NodeList")
for name in os.listdir(PLACE):
    if name.startswith("77"):
        try:
            os.kill(int(open(os.path.join(PLACE, name)).read()), 0)
            print(f"{name}|RUNNING|here")
        except (OSError, ValueError):
            print(f"{name}|NODE_FAIL|here")
"""
SCANCEL = """
import os, signal
for name in os.listdir(PLACE):
    if name.startswith("77"):
        try:
            os.killpg(int(open(os.path.join(PLACE, name)).read()), signal.SIGKILL)
        except OSError:
            pass
"""
PROGRAMS = {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT, "scancel": SCANCEL}


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the programs into a folder of the PATH; where they keep the script and the processes."""
    place = folder / "slurm"
    (folder / "bin").mkdir()
    place.mkdir()
    for name, code in PROGRAMS.items():
        program = folder / "bin" / name
        program.write_text(f"#!{sys.executable}\nPLACE = {str(place)!r}\n{code}")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return place
