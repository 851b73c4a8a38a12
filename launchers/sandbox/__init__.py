"""The wall between a job and its machine.

levels       how strong a wall is, and what each does not protect against
view         what one program may see and use
walls        how a program is put behind the wall of a level
status       whether a wall let every program begin
bwrap, landlock, confine, seccomp, calls, interpreter, programs   how that is done
finding      what trying a level gave
preflight    which levels this machine really has, and what would give the next better one
environment  the process environment: an allow-list at every level
"""
