"""The harness: problems, measuring, statistics, reports."""
