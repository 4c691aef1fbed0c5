"""Self-supervised methods: a module each, named as --base takes it."""
