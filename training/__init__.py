"""Trains model bundles from labelled runs and evaluates them. Training imports the product; the product never imports it."""
