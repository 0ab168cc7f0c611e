"""From a folder of records to two tables, runs and evaluations. Every oddity in a record becomes a finding.

May import: the engine.
"""
