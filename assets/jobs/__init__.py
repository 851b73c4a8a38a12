"""One pool for the jobs of every stage: training runs, audits, smoke runs.

job      one job as a stage wants it            spec     what the launcher is told about it
pool     intent, submission, polling, ends      flights  the jobs that the launcher has
rules    what whoever makes a pool may choose   events   what is recorded of each job
smoke    a patched tree run for a few seconds
"""
