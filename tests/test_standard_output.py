"""What C code prints does not reach standard output; what Python prints around it does."""

import subprocess
import sys

CODE = """
import ctypes
from bumpfit.standard_output import captured
libc = ctypes.CDLL(None)
print("before")
with captured() as said:
    libc.puts(b"banner")
    assert said() == "banner\\n"
libc.puts(b"after")
"""


def test_only_the_banner_is_caught() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["before", "after"]
