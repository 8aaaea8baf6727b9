"""A package, so that pytest ends its fixtures with it: Chromium's event loop must not run beside other tests."""
