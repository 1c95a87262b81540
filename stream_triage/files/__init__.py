"""What lies behind a path: which files are logs of which runs, and their text, however it is packed.

`listing` finds the files, `naming` tells run and source from a name, `unpack` and `archives` open what is packed,
`plaintext` tells text from binary, `tail` and `follow` wait for files that still grow.
"""
