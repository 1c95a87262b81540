"""Paths of the command line in; the log files of runs and their text out, however the text is packed.

`listing` lists the files, `naming` derives run and source from a name, `unpack` decompresses, `archives` reads archives,
`kinds` recognises what is no log, `plaintext` tells text from binary data, `run_events` makes the events of a run and
`content` the digest of its text, `tail` and `follow` read files that still grow.
"""
