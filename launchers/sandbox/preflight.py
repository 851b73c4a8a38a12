"""Which levels this machine really has: each is tried with the arguments that a job would have.

Switches of the kernel are not read to guess whether a level works, only to say why it did not.
"""

import os
import shlex
import stat
import subprocess
import sys
import tempfile

from launchers.sandbox.finding import Finding
from launchers.sandbox.interpreter import find_interpreter
from launchers.sandbox.levels import LEVELS
from launchers.sandbox.programs import find_program
from launchers.sandbox.view import ENV, OUT, View, WallError
from launchers.sandbox.walls import WALLS

TRY_SECONDS = 30.0
PROOF = "import os, sys; open(sys.argv[1] + '/proof', 'w').write(os.getcwd())"
"""What is run: an interpreter that reaches its first line and leaves a result."""


def examine(python: str = sys.executable) -> list[Finding]:
    """Tries every level, weakest first.

    Args:
        python: interpreter that jobs would run with.
    """
    return [_examine(level, python) for level in LEVELS]


def _examine(level: str, python: str) -> Finding:
    if level == "none":
        return Finding(level, True, "needs nothing and protects nothing", "")
    try:
        private = private_package(python) if level == "bwrap" and os.geteuid() == 0 else None
        if private:
            packages, name = private
            reason = f"as root a job is another user, who may not read {packages}/{name}"
            return Finding(level, False, reason, f"chmod -R o+rX {shlex.quote(packages)}")
        said = _try(level, python)
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    if said is None:
        return Finding(
            level,
            True,
            "an interpreter ran behind it as training does, and its result came out",
            "",
        )
    return Finding(level, False, said, remedy(level, said))


def private_package(python: str) -> tuple[str, str] | None:
    """The first part of an installed package that not everybody may read, None where there is none.

    Installing with umask 077 makes them private: a folder, or a module of one file.

    Args:
        python: whose packages are meant.

    Returns:
        The folder of packages, and the path below it.
    """
    for packages in find_interpreter(python).packages:
        for folder, _, files in os.walk(packages):
            inside = files if folder == packages else ()
            for path in (folder, *(os.path.join(folder, name) for name in inside)):
                wanted = stat.S_IROTH | (stat.S_IXOTH if path == folder else 0)
                if os.lstat(path).st_mode & wanted != wanted:
                    return packages, os.path.relpath(path, packages)
    return None


def _try(level: str, python: str) -> str | None:
    """What went wrong, or None.

    Raises:
        OSError: a part of the wall is missing.
        subprocess.TimeoutExpired: it hung.
    """
    with tempfile.TemporaryDirectory(prefix="varve-wall-") as folder:
        view, wall = trial_view(folder, python, out_bytes=1 << 20), WALLS[level]
        wall.prepare(view)
        out, here = wall.path(view, OUT), wall.path(view, ENV)
        command = wall.command(view, [python, "-I", "-S", "-c", PROOF, out])
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, env={}
        ) as process:
            try:
                opened = wall.open_out(view, process.pid)
                _, said = process.communicate(timeout=TRY_SECONDS)
                proof = _read(opened, "proof")
            except WallError as error:
                said, proof = process.communicate(timeout=TRY_SECONDS)[1] or b"", None
                said = said or str(error).encode()
            finally:
                process.kill()
    if process.returncode == 0 and proof == here:
        return None
    words = said.decode(errors="replace").strip()
    return words or f"ended with code {process.returncode} and left {proof!r}, expected {here!r}"


def _read(folder: int, name: str) -> str | None:
    """A small file in a folder, whose descriptor is closed."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
    except OSError:
        return None
    finally:
        os.close(folder)
    with open(descriptor, encoding="utf-8") as file:
        return file.read()


def trial_view(folder: str, python: str, *, out_bytes: int) -> View:
    """A view of empty folders that are made here.

    Args:
        folder: empty.
        python: interpreter that a job would run with.
        out_bytes: of training; 0 is a view like that of scoring.
    """
    os.chmod(folder, 0o755)
    for name in ("env", "data", "home", "tmp", OUT):
        os.mkdir(os.path.join(folder, name))
        os.chmod(os.path.join(folder, name), 0o755)
    return View(
        python=python,
        folder=os.path.join(folder, "env"),
        readable={"data": os.path.join(folder, "data")},
        work=folder if out_bytes else None,
        wall=os.path.join(folder, "wall"),
        lock=None,
        masked=(),
        out_bytes=out_bytes,
        scratch_bytes=1 << 20,
        processes=64,
        gpus=(),
        environment={},
    )


def remedy(level: str, said: str) -> str:
    """What would make a level work, judged from what it said and from the kernel's switches."""
    if level == "landlock":
        return (
            "a kernel of 6.12 or newer with Landlock among its security modules (lsm=landlock,...)"
        )
    if said.startswith(("bwrap:", "prlimit:", "setpriv:")):
        for name in ("bwrap", "prlimit", "setpriv"):
            if find_program(name) is None:
                return _install("bubblewrap" if name == "bwrap" else "util-linux")
    if _switch("kernel/unprivileged_userns_clone") == "0":
        return "sudo sysctl -w kernel.unprivileged_userns_clone=1"
    if _switch("user/max_user_namespaces") == "0":
        return "sudo sysctl -w user.max_user_namespaces=15000"
    if _switch("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or, to allow "
            "bubblewrap alone, an AppArmor profile for it with the rule `userns,`"
        )
    if "mount proc" in said:
        return "docker run --security-opt systempaths=unconfined ... (this container masks /proc)"
    if "ermission denied" in said and "exec" in said:
        return "an interpreter whose folders every user may enter (not below a home of mode 0700)"
    return (
        "a machine or virtual machine; in a container: docker run --cap-add SYS_ADMIN "
        "--security-opt seccomp=unconfined --security-opt apparmor=unconfined ..."
    )


def _install(package: str) -> str:
    """The command that installs a package with the manager that this machine has."""
    managers = {
        "apt-get": f"sudo apt-get install -y {package}",
        "dnf": f"sudo dnf install -y {package}",
        "zypper": f"sudo zypper install -y {package}",
        "pacman": f"sudo pacman -S --noconfirm {package}",
        "apk": f"sudo apk add {package}",
    }
    for manager, command in managers.items():
        if find_program(manager):
            return command
    return f"install the package {package}"


def _switch(name: str) -> str | None:
    try:
        with open(f"/proc/sys/{name}", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return None
