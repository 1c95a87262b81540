"""Verdicts in, text for people and other tools out: terminal pages, JUnit files, printable text."""
