"""Paths of the command line in; the log files of runs and their text out, however the text is packed.

`listing` lists the files, `naming` derives run and source from a name, `unpack` decompresses, `archives` reads archives,
`kinds` recognises what is no log, `plaintext` tells text from binary data, `tail` and `follow` read files that still grow.
"""
