"""A gate on checkpoint quality: rules on a report, each decided with its own uncertainty."""
