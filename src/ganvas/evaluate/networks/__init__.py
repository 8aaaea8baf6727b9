"""Networks by whose features images are compared, and classifiers that judge them."""
