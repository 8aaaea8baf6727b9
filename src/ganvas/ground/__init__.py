"""What everything stands on: errors, files, settings and registries, randomness, devices. It knows no model."""
