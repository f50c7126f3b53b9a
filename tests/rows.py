"""Rows of results as `measure` makes them, without measuring."""

import numpy as np


def row(estimator="score", latent_dim=2, num_samples=1, group="all", **values):
    """A row whose variance is latent_dim^2 / num_samples."""
    variance = latent_dim**2 / num_samples
    base = {
        "estimator": estimator,
        "problem": "quadratic",
        "point": "init",
        "latent_dim": latent_dim,
        "num_samples": num_samples,
        "seed": 0,
        "device": "cpu",
        "dtype": "float32",
        "group": group,
        "replicates": 1000,
        "gradient_norm": 1.0,
        "variance": variance,
        "variance_low": 0.9 * variance,
        "variance_high": 1.1 * variance,
        "bias": 0.0,
        "bias_low": 0.0,
        "bias_high": 0.1,
        "bias_p": 0.5,
        "bias_detectable": 0.2,
        "variance_source": "sampled",
        "seconds": 1e-6,
        "seconds_low": 0.9e-6,
        "evaluations": num_samples,
        "relative_seconds": 2.0,
        "relative_seconds_low": 1.9,
        "relative_seconds_high": 2.1,
        "seconds_high": 1.1e-6,
        "work_variance": variance * num_samples,
        "work_variance_low": 0.9 * variance * num_samples,
        "work_variance_high": 1.1 * variance * num_samples,
        "batch_variances": list(variance * np.random.default_rng(latent_dim).gamma(50, 0.02, 64)),
        "work_variance_time": variance * 1e-6,
        "work_variance_time_low": 0.8 * variance * 1e-6,
        "work_variance_time_high": 1.2 * variance * 1e-6,
        "status": "ok",
        "reason": "",
        "oracle": False,
        "verdict": "no bias found",
        "key": f"{estimator}{latent_dim}{num_samples}",
    }
    return base | values


def gaussian(estimator, latent_dim, num_samples=1, scale=1.0, seed=0, **values):
    """A row whose variance is scale x D, known to 2 %, with batches of its own."""
    variance = scale * latent_dim
    batches = variance * np.random.default_rng(seed + latent_dim).gamma(2000, 1 / 2000, 64)
    ends = {"variance": variance, "variance_low": 0.98 * variance, "variance_high": 1.02 * variance}
    work = {f"work_{name}": value * num_samples for name, value in ends.items()}
    timed = {name.replace("variance", "work_variance_time"): value * 1e-6 for name, value in ends.items()}
    made = row(estimator, latent_dim, num_samples, **ends, **work, **timed, batch_variances=list(batches))
    return made | {"key": f"{estimator}{latent_dim}{num_samples}{values.get('point', '')}"} | values
