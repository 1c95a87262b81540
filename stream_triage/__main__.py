"""`python -m stream_triage` is `stream-triage`."""

from stream_triage.cli import main

if __name__ == "__main__":
    main()
