"""The regression gate: what got worse between two sides, and two revisions measured side by side."""
