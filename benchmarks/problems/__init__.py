"""Problems: objectives E_q[f(z)] with their exact gradients and the points at which to measure."""
