"""Monte Carlo gradient estimators: functions (problem, params, num_samples) -> gradient, (R, P) -> (R, P)."""
