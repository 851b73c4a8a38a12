"""Starts the supervisor of one job: `python -I -S launchers RUN`.

With `--nursery FD` it starts the process that forks supervisors for a launcher instead.

Works from any copy of this folder that is still called `launchers`: isolated mode (-I) keeps the
process environment and the working folder from deciding what is imported.
"""

import os
import sys

if __name__ == "__main__":
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if sys.argv[1] == "--nursery":
        from launchers.nursery import serve

        sys.exit(serve(int(sys.argv[2])))
    from launchers.supervisor.supervise import main

    sys.exit(main(sys.argv[1:]))
