"""`repdiag audit`: which samples a person should look at, and why."""
