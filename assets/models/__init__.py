"""Who proposes ideas and writes patches.

requests     what is asked and what comes back; start here
roles        the models of a campaign, made from its settings
language     a language model, asked through providers/ with prompts/
proposals, thoughts    reading its answers
catalog      known ideas from a file
recorded, recordings   a campaign repeated from its own answers
"""
