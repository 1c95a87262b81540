"""`python -m stream_triage` runs the command `stream-triage`."""

from stream_triage.cli import main

if __name__ == "__main__":
    main()
