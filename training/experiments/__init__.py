"""Comparisons and measurements that do not make bundles."""
