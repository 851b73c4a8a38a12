"""Whether Python can read a patched tree, asked in a process that may crash or hang on it.

Nesting can overflow the parser's stack, and some sources take minutes to parse: that must cost the
patch and not the search. The code is compiled, never run.
"""

import json
import subprocess
import sys
from collections.abc import Mapping

from assets.errors import PatchError

COMPILE_SECONDS = 30.0
"""Many times what a file of the largest size takes."""
MEMORY_BYTES = 4 << 30
COMPILER = """
import json, sys, warnings
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except (ImportError, OSError, ValueError):
    pass
warnings.simplefilter("ignore")
for path, text in json.load(sys.stdin).items():
    try:
        compile(text.encode("latin-1"), path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, OverflowError) as error:
        said = str(error)
    except (RecursionError, MemoryError) as error:
        said = f"{type(error).__name__} {error}: nested too deeply, or too large"
    else:
        continue
    print(json.dumps([path, said]))
    break
"""


def check_syntax(files: Mapping[str, bytes]) -> None:
    """Compile every Python file without running it.

    Raises:
        PatchError: naming file, line and what Python says.
    """
    sources = {p: c.decode("latin-1") for p, c in files.items() if p.endswith(".py")}
    if not sources:
        return
    refused = _ask_compiler(sources)
    if refused is not None:
        path, said = refused
        raise PatchError(f"{path}: does not compile: {said}")


def _ask_compiler(sources: Mapping[str, str]) -> tuple[str, str] | None:
    """The first file that does not compile, with the reason.

    Args:
        sources: path -> its bytes, one character each.
    """
    names = ", ".join(sorted(sources))
    command = [sys.executable, "-I", "-S", "-c", COMPILER, str(MEMORY_BYTES)]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(sources).encode(),
            capture_output=True,
            timeout=COMPILE_SECONDS,
            env={},
        )
    except subprocess.TimeoutExpired:
        return names, f"Python was still reading after {COMPILE_SECONDS:g} s"
    if done.returncode < 0:
        return names, f"Python was ended by signal {-done.returncode} while reading"
    if done.returncode != 0:
        return names, f"Python ended with code {done.returncode} while reading"
    if not done.stdout:
        return None
    path, said = json.loads(done.stdout)
    return path, said
