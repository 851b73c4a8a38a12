"""The supervisor of one job: it travels with the job and imports nothing of the launching side.

supervise    the job as a whole: its steps in order, and a result whatever happens
checks       what is looked at before the first step: the list itself, the tree, the machine
running      a Run and its Harvest
taking       what comes into out/: harvested, or kept by an earlier job
grading      a Grade, with or without a server
job          what the steps share, and how a program of theirs is run
views, commands    what a program may see, and the words that it is started with
program, spawn, limits, interrupts    one program from its start to its end or a limit
harvest, formats, evaluation    files that a program left, none of which is trusted
account, failures, log, machine    what the result is made of
"""
